import { createHash } from "node:crypto";
import { PrismrecError } from "../base/errors.js";
import { isSparse, type Matrix, type SparseMatrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { Catalog } from "../data/types.js";
import { averageLinkage } from "./average-linkage.js";
import { partitionEach } from "./partition-each.js";
import type { ClustererState, PortableClusterer } from "./portable.js";
import type { Partition, PartitionRequest } from "./types.js";

export interface SignatureClustererOptions {
  readonly name: string;
  /** Content hash of all that decides the signatures. */
  readonly fingerprint: string;
  readonly catalog: Catalog;
  /** [N, f], row i belongs to dense id i + 1. Rows are used up to their length; a zero row says nothing is known. */
  readonly signatures: Matrix | SparseMatrix;
  /** [f] what each column means, in words, "" for one that names nothing; empty where no column has a name (embeddings). */
  readonly facets: readonly string[];
  /** As in `averageLinkage`; default `silhouette`. */
  readonly threshold?: number | "silhouette";
  readonly minSilhouette?: number;
  /** How many facets name a cluster (default 2). */
  readonly labelFacets?: number;
}

/**
 * Partitions by what is known of each item alone: average linkage on the cosine of the items' signatures; a cluster is
 * named by the facets with the highest mean (or, without facets, by the title nearest its centre).
 * Cost: nothing per user but arithmetic, so histories never seen before are free.
 */
export class SignatureClusterer implements PortableClusterer {
  readonly name: string;
  readonly fingerprint: string;
  readonly catalog: Catalog;
  /** [N, f], rows of unit length or zero. */
  readonly signatures: Matrix | SparseMatrix;
  readonly facets: readonly string[];
  /** What `fingerprint` is made of, beside the options: what is stored, so that opening makes the same of it. */
  readonly #source: string;
  readonly #threshold: number | "silhouette";
  readonly #minSilhouette: number;
  readonly #labelFacets: number;

  constructor(options: SignatureClustererOptions) {
    const { catalog, signatures, facets } = options;
    const { rows, cols } = signatures;
    const filled = isSparse(signatures)
      ? signatures.indptr.length === rows + 1
      : signatures.data.length === rows * cols;
    if (rows !== catalog.size || !filled) {
      throw new PrismrecError("SHAPE_MISMATCH", "the signatures do not cover the catalog", {
        expected: `${catalog.size} rows of ${cols}`,
        received: `${rows} rows${filled ? "" : ", not all of them filled"}`,
      });
    }
    if (facets.length !== 0 && facets.length !== cols) {
      throw new PrismrecError("SHAPE_MISMATCH", "every column of the signatures needs its facet", {
        expected: `${cols} facets or none`,
        received: `${facets.length} facets`,
      });
    }
    this.name = options.name;
    this.catalog = catalog;
    this.facets = facets;
    this.signatures = unitRows(signatures);
    this.#source = options.fingerprint;
    this.#threshold = options.threshold ?? "silhouette";
    this.#minSilhouette = options.minSilhouette ?? 0;
    this.#labelFacets = options.labelFacets ?? 2;
    this.fingerprint = createHash("sha256")
      .update(JSON.stringify([options.fingerprint, this.#threshold, this.#minSilhouette, this.#labelFacets]))
      .digest("hex");
  }

  partition(requests: readonly PartitionRequest[], options: RunOptions = {}): Promise<Partition[]> {
    return partitionEach(requests, options, (request) => this.#partitionOne(request));
  }

  state(): ClustererState {
    return {
      kind: "signatures",
      name: this.name,
      fingerprint: this.#source,
      facets: this.facets,
      itemIds: this.catalog.items.slice(1).map((item) => item.id),
      signatures: this.signatures,
      threshold: this.#threshold,
      minSilhouette: this.#minSilhouette,
      labelFacets: this.#labelFacets,
    };
  }

  #partitionOne({ key, items, maxClusters }: PartitionRequest): Partition {
    const { rows } = this.signatures;
    for (const id of items) {
      if (id < 1 || id > rows) {
        throw new PrismrecError("UNKNOWN_ITEM", `the request ${key} holds an item outside the catalog`, {
          expected: `dense ids 1..${rows}`,
          received: String(id),
        });
      }
    }
    const { vectors, columns } = rowsOf(this.signatures, items);
    const assign = averageLinkage(vectors, {
      maxClusters,
      threshold: this.#threshold,
      minSilhouette: this.#minSilhouette,
    });
    return { key, assign, labels: this.#labels(items, vectors, columns, assign) };
  }

  #labels(items: Uint32Array, vectors: Matrix, columns: ColumnOf, assign: Int16Array): string[] {
    const { cols } = vectors;
    const clusters = assign.reduce((most, c) => Math.max(most, c + 1), 0);
    const sums = Array.from({ length: clusters }, () => new Float64Array(cols));
    assign.forEach((c, i) => {
      const sum = sums[c]!;
      for (let k = 0; k < cols; k++) sum[k] = sum[k]! + vectors.data[i * cols + k]!;
    });
    return sums.map((sum, cluster) =>
      this.facets.length > 0
        ? this.#facetLabel(sum, columns)
        : this.#centralTitle(cluster, sum, items, vectors, assign),
    );
  }

  #facetLabel(sum: Float64Array, columns: ColumnOf): string {
    const words = Array.from(sum.keys())
      .filter((k) => sum[k]! > 0 && this.facets[columns(k)] !== "")
      .sort((a, b) => sum[b]! - sum[a]! || a - b)
      .slice(0, this.#labelFacets);
    return words.length === 0 ? "mixed" : words.map((k) => this.facets[columns(k)]!).join(", ");
  }

  #centralTitle(cluster: number, sum: Float64Array, items: Uint32Array, vectors: Matrix, assign: Int16Array): string {
    const { cols, data } = vectors;
    let best = 0;
    let bestDot = -Infinity;
    assign.forEach((c, i) => {
      if (c !== cluster) return;
      let dot = 0;
      for (let k = 0; k < cols; k++) dot += data[i * cols + k]! * sum[k]!;
      if (dot > bestDot) {
        bestDot = dot;
        best = items[i]!;
      }
    });
    return this.catalog.items[best]!.title;
  }
}

/** A row is of unit length where its squared norm is within this of 1: scaling it again would only round it again. */
const UNIT_TOLERANCE = 1e-6;

/** Rows scaled to unit length; applied to its own result it gives the same bits. */
export function unitRows<M extends Matrix | SparseMatrix>(matrix: M): M;
export function unitRows(matrix: Matrix | SparseMatrix): Matrix | SparseMatrix {
  const { rows, cols } = matrix;
  const values = isSparse(matrix) ? matrix.values : matrix.data;
  const unit = new Float32Array(values.length);
  for (let i = 0; i < rows; i++) {
    const start = isSparse(matrix) ? matrix.indptr[i]! : i * cols;
    const end = isSparse(matrix) ? matrix.indptr[i + 1]! : start + cols;
    let sum = 0;
    for (let k = start; k < end; k++) sum += values[k]! ** 2;
    const scale = Math.abs(sum - 1) <= UNIT_TOLERANCE ? 1 : sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let k = start; k < end; k++) unit[k] = values[k]! * scale;
  }
  return isSparse(matrix) ? { ...matrix, values: unit } : { data: unit, rows, cols };
}

/** The signature's column of a gathered one. */
type ColumnOf = (gathered: number) => number;

/** The items' rows, dense: of sparse signatures only the columns that one of them has an entry in, in their order. */
function rowsOf(signatures: Matrix | SparseMatrix, items: Uint32Array): { vectors: Matrix; columns: ColumnOf } {
  if (!isSparse(signatures)) {
    const { data, cols } = signatures;
    const vectors = { data: new Float32Array(items.length * cols), rows: items.length, cols };
    items.forEach((id, i) => {
      vectors.data.set(data.subarray((id - 1) * cols, id * cols), i * cols);
    });
    return { vectors, columns: (k) => k };
  }
  const { indptr, indices, values } = signatures;
  const used = new Set<number>();
  for (const id of items) for (let e = indptr[id - 1]!; e < indptr[id]!; e++) used.add(indices[e]!);
  const columns = Uint32Array.from(used).sort();
  const placeOf = new Map(Array.from(columns, (column, place) => [column, place]));
  const cols = columns.length;
  const vectors = { data: new Float32Array(items.length * cols), rows: items.length, cols };
  items.forEach((id, i) => {
    for (let e = indptr[id - 1]!; e < indptr[id]!; e++) vectors.data[i * cols + placeOf.get(indices[e]!)!] = values[e]!;
  });
  return { vectors, columns: (k) => columns[k]! };
}
