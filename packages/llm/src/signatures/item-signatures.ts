import { createRandom, hashJson, isSparse, type Matrix, type SparseMatrix } from "@prismrec/core/base";
import { unitRows } from "@prismrec/core/interests";
import type { ClustererReport } from "../clusterers/definition.js";

/** What is known of each item by itself: the ground of clusterers, joins of them and features of items. */
export interface ItemSignatures {
  /** [N, f] row i belongs to dense id i + 1; only directions count. A zero row says nothing is known. */
  readonly matrix: Matrix | SparseMatrix;
  /** [f] what each column means, in words; empty where columns have no names. */
  readonly columns: readonly string[];
  /** Whether the names of the columns say what an item is about, rather than repeat its title. */
  readonly describes: boolean;
  /** Content hash of all that decides the rows. */
  readonly fingerprint: string;
  /** Cosine below which two items are never of one cluster, however rare it is to be so much alike. */
  readonly leastCosine: number;
  /** Items that were not read (absent: none). */
  readonly unread?: Unread;
  readonly report: Omit<ClustererReport, "name" | "unread" | "budgetSpent" | "threshold" | "seconds">;
}

export interface Unread {
  /** Their rows, rising. */
  readonly rows: readonly number[];
  /** Those of them that go by their categories. */
  readonly byCategory: readonly number[];
  /** Whether the budget was spent before them; else nothing is said of them. */
  readonly isBudgetSpent: boolean;
}

/** The twin of a signature that says nothing of its items: rows handed out anew among them, drawn by `seed`. */
export function shuffledSignatures(signatures: ItemSignatures, seed: number): ItemSignatures {
  const { matrix, fingerprint, unread } = signatures;
  const order = createRandom(seed, "shuffled-signatures").shuffle(
    Uint32Array.from({ length: matrix.rows }, (_, i) => i),
  );
  const moved = (rows: readonly number[]): number[] => {
    const wanted = new Set(rows);
    return Array.from(order.keys()).filter((to) => wanted.has(order[to]!));
  };
  return {
    ...signatures,
    matrix: takeRows(matrix, order),
    ...(unread === undefined
      ? {}
      : { unread: { ...unread, rows: moved(unread.rows), byCategory: moved(unread.byCategory) } }),
    fingerprint: hashJson(["shuffled-signatures-1", seed, fingerprint]),
  };
}

/** The rows named by `from`, in that order. */
export function takeRows(matrix: Matrix | SparseMatrix, from: ArrayLike<number>): Matrix | SparseMatrix {
  const order = Array.from(from);
  const rows = order.length;
  if (!isSparse(matrix)) {
    const { data, cols } = matrix;
    const taken = new Float32Array(rows * cols);
    order.forEach((row, to) => {
      taken.set(data.subarray(row * cols, (row + 1) * cols), to * cols);
    });
    return { data: taken, rows, cols };
  }
  const indptr = new Uint32Array(rows + 1);
  order.forEach((row, to) => {
    indptr[to + 1] = indptr[to]! + matrix.indptr[row + 1]! - matrix.indptr[row]!;
  });
  const indices = new Uint32Array(indptr[rows]!);
  const values = new Float32Array(indptr[rows]!);
  order.forEach((row, to) => {
    indices.set(matrix.indices.subarray(matrix.indptr[row], matrix.indptr[row + 1]), indptr[to]!);
    values.set(matrix.values.subarray(matrix.indptr[row], matrix.indptr[row + 1]), indptr[to]!);
  });
  return { indptr, indices, values, rows, cols: matrix.cols };
}

/**
 * Several signatures side by side, each of unit length, so that the cosine of two items that all of them know is the mean of
 * their cosines. Clusters are named by what describes them, where anything does.
 */
export function joinSignatures(members: readonly ItemSignatures[]): ItemSignatures {
  const parts = members.map(({ matrix }) => sparse(unitRows(matrix)));
  const rows = parts[0]!.rows;
  const starts = parts.map((_, m) => parts.slice(0, m).reduce((sum, { cols }) => sum + cols, 0));
  const cols = parts.reduce((sum, part) => sum + part.cols, 0);
  const entries = parts.reduce((sum, { values }) => sum + values.length, 0);
  const indptr = new Uint32Array(rows + 1);
  const indices = new Uint32Array(entries);
  const values = new Float32Array(entries);
  let at = 0;
  for (let r = 0; r < rows; r++) {
    parts.forEach((part, m) => {
      for (let e = part.indptr[r]!; e < part.indptr[r + 1]!; e++) {
        indices[at] = starts[m]! + part.indices[e]!;
        values[at++] = part.values[e]!;
      }
    });
    indptr[r + 1] = at;
  }
  const anyDescribes = members.some(({ describes }) => describes);
  const named = members.map(({ describes, columns }) => (anyDescribes ? describes : columns.length > 0));
  const columns = members.flatMap(({ columns }, m) =>
    named[m]! ? columns : new Array<string>(parts[m]!.cols).fill(""),
  );
  return {
    matrix: unitRows({ indptr, indices, values, rows, cols }),
    columns: named.includes(true) ? columns : [],
    describes: anyDescribes,
    fingerprint: hashJson(["joined-signatures-1", ...members.map(({ fingerprint }) => fingerprint)]),
    leastCosine: members.reduce((sum, { leastCosine }) => sum + leastCosine, 0) / members.length,
    unread: {
      rows: union(members.map(({ unread }) => unread?.rows ?? [])),
      byCategory: union(members.map(({ unread }) => unread?.byCategory ?? [])),
      isBudgetSpent: members.some(({ unread }) => unread?.isBudgetSpent === true),
    },
    report: Object.assign({}, ...members.map(({ report }) => report)),
  };
}

function union(lists: readonly (readonly number[])[]): number[] {
  return [...new Set(lists.flat())].sort((a, b) => a - b);
}

function sparse(matrix: Matrix | SparseMatrix): SparseMatrix {
  if (isSparse(matrix)) return matrix;
  const { data, rows, cols } = matrix;
  const indptr = new Uint32Array(rows + 1);
  const indices: number[] = [];
  const values: number[] = [];
  for (let r = 0; r < rows; r++) {
    for (let k = 0; k < cols; k++) {
      const value = data[r * cols + k]!;
      if (value !== 0) {
        indices.push(k);
        values.push(value);
      }
    }
    indptr[r + 1] = indices.length;
  }
  return { indptr, indices: Uint32Array.from(indices), values: Float32Array.from(values), rows, cols };
}
