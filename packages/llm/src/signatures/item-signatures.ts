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
  readonly report: Omit<ClustererReport, "name">;
}

/** The twin of a signature that says nothing of its items: rows handed out anew among them, drawn by `seed`. */
export function shuffledSignatures(signatures: ItemSignatures, seed: number): ItemSignatures {
  const { matrix, fingerprint } = signatures;
  const order = createRandom(seed, "shuffled-signatures").shuffle(
    Uint32Array.from({ length: matrix.rows }, (_, i) => i),
  );
  return {
    ...signatures,
    matrix: isSparse(matrix) ? takeSparse(matrix, order) : takeWhole(matrix, order),
    fingerprint: hashJson(["shuffled-signatures-1", seed, fingerprint]),
  };
}

function takeWhole({ data, rows, cols }: Matrix, order: Uint32Array): Matrix {
  const taken = new Float32Array(data.length);
  order.forEach((from, to) => {
    taken.set(data.subarray(from * cols, (from + 1) * cols), to * cols);
  });
  return { data: taken, rows, cols };
}

function takeSparse(matrix: SparseMatrix, order: Uint32Array): SparseMatrix {
  const indptr = new Uint32Array(matrix.rows + 1);
  const indices = new Uint32Array(matrix.indices.length);
  const values = new Float32Array(matrix.values.length);
  let at = 0;
  order.forEach((from, to) => {
    const start = matrix.indptr[from]!;
    const end = matrix.indptr[from + 1]!;
    indices.set(matrix.indices.subarray(start, end), at);
    values.set(matrix.values.subarray(start, end), at);
    at += end - start;
    indptr[to + 1] = at;
  });
  return { ...matrix, indptr, indices, values };
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
    report: Object.assign({}, ...members.map(({ report }) => report)),
  };
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
