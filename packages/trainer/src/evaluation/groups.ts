import { type Dataset, type EvaluationPart, evaluationCases } from "@prismrec/core/data";
import { type Ranking, rankingMetrics } from "@prismrec/core/metrics";
import { mean } from "./mean.js";

/** Share of the training events that the items of the head hold between them. */
const HEAD_SHARE = 0.8;

/** How well a model does for some of the users, or by some of what they took. */
export interface GroupMetrics {
  /** Users that the group says something about. */
  readonly users: number;
  /** Mean over these users of each metric, a fraction. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** What a group asks of each user of a part: of those who took nothing of it, nothing. */
interface Group {
  readonly name: string;
  /** [users] dense ids */
  readonly targets: readonly Uint32Array[];
}

/**
 * The groups of a part:
 *
 * - `head items`, `tail items`: what users took next among the items that hold 80 % of the training events between them
 *   (somebody who took one several times counts once), and outside of these;
 * - `cold items`: what no training user has taken, a part of the tail;
 * - `short`, `medium` and `long histories`: thirds of the users by how many events their history has (users of one length
 *   stay together, and where all of them would be in one group there is none).
 *
 * @param targets [users] what each took next
 */
function groupsOf(
  targets: readonly Uint32Array[],
  { catalog }: Dataset,
  { historyEnds }: EvaluationPart,
): readonly Group[] {
  const head = headSize(catalog.popularity);
  const { popularity } = catalog;
  const items: [string, (item: number) => boolean][] = [
    ["head items", (item) => item <= head],
    ["tail items", (item) => item > head],
    ["cold items", (item) => popularity[item] === 0],
  ];
  const groups: Group[] = items.map(([name, has]) => ({ name, targets: targets.map((own) => own.filter(has)) }));
  const ascending = historyEnds.slice().sort();
  const [short, long] = [1, 2].map((third) => ascending[Math.floor((third * ascending.length) / 3)] ?? 0) as [
    number,
    number,
  ];
  const lengths: [string, (length: number) => boolean][] = [
    ["short histories", (length) => length < short],
    ["medium histories", (length) => length >= short && length < long],
    ["long histories", (length) => length >= long],
  ];
  const distinct = lengths.filter(([, has]) => historyEnds.some((length) => has(length)));
  for (const [name, has] of distinct.length > 1 ? distinct : []) {
    groups.push({ name, targets: targets.map((own, row) => (has(historyEnds[row]!) ? own : new Uint32Array(0))) });
  }
  return groups;
}

/** [users] the names of the groups that each user of a part counts in, as `groupMetrics` has them. */
export function userGroups(dataset: Dataset, part: "valid" | "test"): string[][] {
  const targets = evaluationCases(dataset, part).map((one) => one.targets);
  const groups = groupsOf(targets, dataset, dataset.split[part]);
  return targets.map((_, row) => groups.filter((group) => group.targets[row]!.length > 0).map(({ name }) => name));
}

/** Metrics by group (see `groupsOf`), for a part that has been ranked. */
export function groupMetrics(
  ranking: Ranking,
  targets: readonly Uint32Array[],
  dataset: Dataset,
  part: EvaluationPart,
  names: readonly string[],
): Record<string, GroupMetrics> {
  return Object.fromEntries(
    groupsOf(targets, dataset, part).flatMap(({ name, targets: wanted }) => {
      const rows = Array.from(wanted.keys()).filter((row) => wanted[row]!.length > 0);
      if (rows.length === 0) return [];
      const judged = rankingMetrics(
        rowsOf(ranking, rows),
        rows.map((row) => wanted[row]!),
        names,
      );
      const metrics = Object.entries(judged).map(([metric, values]) => [metric, mean(values)]);
      return [[name, { users: rows.length, metrics: Object.fromEntries(metrics) }]];
    }),
  );
}

/** How many of the most popular items hold the head's share of all training events; dense ids descend by popularity. */
function headSize(popularity: Uint32Array): number {
  const total = popularity.reduce((sum, count) => sum + count, 0);
  let held = 0;
  for (let item = 1; item < popularity.length; item++) {
    if (held >= HEAD_SHARE * total) return item - 1;
    held += popularity[item]!;
  }
  return popularity.length - 1;
}

function rowsOf({ k, ids, scores, counts }: Ranking, rows: readonly number[]): Ranking {
  const picked = {
    k,
    ids: new Uint32Array(rows.length * k),
    scores: new Float32Array(rows.length * k),
    counts: Uint32Array.from(rows, (row) => counts[row]!),
  };
  for (const [i, row] of rows.entries()) {
    picked.ids.set(ids.subarray(row * k, (row + 1) * k), i * k);
    picked.scores.set(scores.subarray(row * k, (row + 1) * k), i * k);
  }
  return picked;
}
