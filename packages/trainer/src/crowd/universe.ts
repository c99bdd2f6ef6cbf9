import { type CsrMatrix, PrismrecError } from "@prismrec/core/base";
import type { Clique } from "./cliques.js";
import type { CrowdConfig } from "./config.js";
import type { MergedBehaviour } from "./synthesize.js";
import type { TrainingUsers } from "./training-users.js";

/** What a selection of synthesized users is to cover, as a max cover problem. */
export interface CoverUniverse {
  readonly sets: CsrMatrix;
  readonly weights: Float32Array;
}

/** Pairs are many: beyond this a problem would take gigabytes. */
const MAX_ENTRIES = 2 ** 27;

export function coverUniverse(
  kind: CrowdConfig["universe"],
  users: TrainingUsers,
  cliques: readonly Clique[],
  behaviours: readonly MergedBehaviour[],
): CoverUniverse {
  if (kind === "pairs") return pairUniverse(users, behaviours);
  if (kind === "users") {
    return {
      sets: csr(
        cliques.map(({ members }) => members),
        users.sets.rows,
      ),
      weights: Float32Array.from({ length: users.sets.rows }, (_, u) =>
        Math.log1p(users.sets.indptr[u + 1]! - users.sets.indptr[u]!),
      ),
    };
  }
  return {
    sets: csr(
      behaviours.map(({ items }) => items),
      users.itemUsers.length,
    ),
    weights: Float32Array.from(users.itemUsers, (count) => Math.log1p(count)),
  };
}

/** Pairs of items that at least two training users hold, weighing log(1 + users). */
function pairUniverse({ sets }: TrainingUsers, behaviours: readonly MergedBehaviour[]): CoverUniverse {
  const pairsOf = (count: number) => (count * (count - 1)) / 2;
  let held = 0;
  for (let u = 0; u < sets.rows; u++) held += pairsOf(sets.indptr[u + 1]! - sets.indptr[u]!);
  const wanted = behaviours.reduce((sum, { items }) => sum + pairsOf(items.length), 0);
  if (held > MAX_ENTRIES || wanted > MAX_ENTRIES) {
    throw new PrismrecError("CONFIG_INVALID", "there are too many item pairs to cover", {
      expected: `at most ${MAX_ENTRIES} pairs in histories and in synthesized users`,
      received: `${held} and ${wanted}`,
      hint: 'Choose universe "items", or fewer maxItems.',
    });
  }
  const keys = new Float64Array(held);
  let at = 0;
  const eachPair = (items: Uint32Array, use: (key: number) => void) => {
    const sorted = items.slice().sort();
    for (let a = 0; a < sorted.length; a++) {
      for (let b = a + 1; b < sorted.length; b++) use(sorted[a]! * sets.cols + sorted[b]!);
    }
  };
  for (let u = 0; u < sets.rows; u++) {
    eachPair(sets.indices.subarray(sets.indptr[u]!, sets.indptr[u + 1]!), (key) => {
      keys[at++] = key;
    });
  }
  keys.sort();
  const elementOf = new Map<number, number>();
  const weights: number[] = [];
  for (let from = 0, to = 0; from < keys.length; from = to) {
    while (to < keys.length && keys[to] === keys[from]) to++;
    if (to - from < 2) continue;
    elementOf.set(keys[from]!, weights.length);
    weights.push(Math.log1p(to - from));
  }
  const rows = behaviours.map(({ items }) => {
    const elements: number[] = [];
    eachPair(items, (key) => {
      const element = elementOf.get(key);
      if (element !== undefined) elements.push(element);
    });
    return Uint32Array.from(elements);
  });
  return { sets: csr(rows, weights.length), weights: Float32Array.from(weights) };
}

function csr(rows: readonly Uint32Array[], cols: number): CsrMatrix {
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, r) => {
    indptr[r + 1] = indptr[r]! + row.length;
  });
  const indices = new Uint32Array(indptr[rows.length]!);
  rows.forEach((row, r) => {
    indices.set(row, indptr[r]!);
  });
  return { indptr, indices, rows: rows.length, cols };
}
