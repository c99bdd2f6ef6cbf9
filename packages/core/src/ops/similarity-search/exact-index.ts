import type { NativeBinding, SimilarityIndexHandle, SimilaritySearchResult } from "@prismrec/native";
import { yieldToEventLoop } from "../../base/abort.js";
import { replaceFile } from "../../base/atomic-file.js";
import { checkCsr, checkLength, checkMatrix } from "../../base/check-matrix.js";
import { PrismrecError } from "../../base/errors.js";
import { isSparse, type Matrix, type SparseMatrix } from "../../base/matrix.js";
import type { RunOptions } from "../../base/run-options.js";
import { variantFor } from "../device.js";
import { callNative, native, nativeUnavailableHint, runNative } from "../native.js";
import { type ReferenceItems, referenceItems, searchReference } from "./reference.js";
import type { ExactIndexOptions, SimilarityLists, SimilarityMetric, SimilarityQuery } from "./types.js";

const NO_OFFSETS = Float32Array.of();
const MAX_INTERESTS = 65535;

/** One list of a result as views into it, no copy. */
export interface SimilarityRow {
  readonly ids: Uint32Array;
  readonly scores: Float32Array;
  readonly interests: Uint16Array;
}

/** What a search gives back: flat lists, and `row(q)` to read one of them. */
export interface SimilarityResult extends SimilarityLists {
  row(query: number): SimilarityRow;
}

type Backing =
  | { readonly kind: "native"; readonly binding: NativeBinding; readonly handle: SimilarityIndexHandle }
  | { readonly kind: "typescript"; readonly items: ReferenceItems };

/**
 * Exact top-k search over N vectors by inner product or cosine. Owns a copy of the vectors (`bytes`: N * d * 4, with
 * the 8-bit copy of a large index N * d * 5, outside the JavaScript heap where the addon is there): dispose it when done. Same input, same bits, whatever the number of
 * threads.
 */
export class ExactIndex implements Disposable {
  /** N */
  readonly size: number;
  /** d */
  readonly dim: number;
  readonly metric: SimilarityMetric;
  /** Of the index's own copies; where it was opened from a file, the file's. */
  readonly bytes: number;
  #backing: Backing | undefined;

  private constructor(backing: Backing) {
    const { rows, cols, metric, bytes } =
      backing.kind === "native" ? backing.binding.similarityIndexInfo(backing.handle) : referenceInfo(backing.items);
    this.size = rows;
    this.dim = cols;
    this.metric = metric;
    this.bytes = bytes;
    this.#backing = backing;
  }

  /**
   * Copies [N, d] vectors, N >= 1, d >= 1, and their bias into an index.
   *
   * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT (no items), NON_FINITE, OUT_OF_MEMORY
   */
  static async build(items: Matrix, options: ExactIndexOptions & RunOptions = {}): Promise<ExactIndex> {
    const metric = checkItems(items, options);
    const binding = options.variant === "typescript" ? undefined : native();
    if (binding === undefined) {
      await yieldToEventLoop(options.signal);
      return new ExactIndex({ kind: "typescript", items: checkedItems(items, options.bias, metric) });
    }
    const handle = await runNative(options.signal, (cancel) =>
      binding.similarityIndexBuild({ ...buildArguments(items, options.bias, metric), ...cancelArgument(cancel) }),
    );
    return new ExactIndex({ kind: "native", binding, handle });
  }

  /** `build` on the calling thread, for worker threads and small catalogs. */
  static buildSync(items: Matrix, options: ExactIndexOptions = {}): ExactIndex {
    const metric = checkItems(items, options);
    const binding = options.variant === "typescript" ? undefined : native();
    if (binding === undefined) {
      return new ExactIndex({ kind: "typescript", items: checkedItems(items, options.bias, metric) });
    }
    const handle = callNative(() => binding.similarityIndexBuildSync(buildArguments(items, options.bias, metric)));
    return new ExactIndex({ kind: "native", binding, handle });
  }

  /**
   * Opens what `save` has written, and checks all of it: an index that opens answers as the one that was saved.
   *
   * @param run `mapped`: the file is mapped instead of read, so that several processes share its pages. It must then not
   *   be changed while the index is open; one that is cut short ends the process (replacing it by `save` is no change).
   * @throws PrismrecError FILE_NOT_FOUND, IO, OUT_OF_MEMORY, DATA_FORMAT (foreign, truncated, damaged, another version),
   *   NATIVE_NOT_FOUND. An aborted signal rejects with its reason.
   */
  static async open(path: string, run: RunOptions & { readonly mapped?: boolean } = {}): Promise<ExactIndex> {
    const binding = native();
    if (binding === undefined) throw needsAddon("opened");
    const { mapped = false } = run;
    const handle = await runNative(run.signal, (cancel) =>
      binding.similarityIndexOpen({ path, mapped, ...cancelArgument(cancel) }),
    );
    return new ExactIndex({ kind: "native", binding, handle });
  }

  /**
   * Writes the index to a file for `open`, of `bytes` bytes: the old file or the new one, never a part.
   *
   * @throws PrismrecError DISK_FULL, IO, NATIVE_NOT_FOUND (the TypeScript reference has no file form), DISPOSED. An
   *   aborted signal rejects with its reason, and the old file stands.
   */
  async save(path: string, run: RunOptions = {}): Promise<void> {
    const backing = this.#use();
    if (backing.kind === "typescript") throw needsAddon("saved");
    const { binding, handle } = backing;
    try {
      await replaceFile(path, async (temporary) => {
        await runNative(run.signal, (cancel) =>
          binding.similarityIndexSave({ index: handle, path: temporary, ...cancelArgument(cancel) }),
        );
      });
    } catch (error) {
      run.signal?.throwIfAborted();
      throw error;
    }
  }

  /**
   * The k best items of each query. A search under way when the index is disposed of still ends well.
   *
   * @throws PrismrecError SHAPE_MISMATCH, INVALID_ARGUMENT (k outside 1..N, an excluded row outside the index, two
   *   additive scores of one query and item, additive scores on a GPU), NON_FINITE (also where scores could overflow
   *   float32), DISPOSED. An aborted signal rejects with its reason.
   */
  async search(query: SimilarityQuery, run: RunOptions = {}): Promise<SimilarityResult> {
    const backing = this.#use();
    const rows = checkQuery(this, query);
    if (backing.kind === "typescript") {
      variantFor(query);
      await yieldToEventLoop(run.signal);
      return readable(searchChecked(backing.items, query));
    }
    const lists = await runNative(run.signal, (cancel) =>
      backing.binding.similaritySearch({
        ...searchArguments(backing.handle, this.size, query, rows),
        ...cancelArgument(cancel),
      }),
    );
    return readable(fromNative(query.k, lists));
  }

  /** `search` on the calling thread, for worker threads. */
  searchSync(query: SimilarityQuery): SimilarityResult {
    const backing = this.#use();
    const rows = checkQuery(this, query);
    if (backing.kind === "typescript") {
      variantFor(query);
      return readable(searchChecked(backing.items, query));
    }
    const lists = callNative(() =>
      backing.binding.similaritySearchSync(searchArguments(backing.handle, this.size, query, rows)),
    );
    return readable(fromNative(query.k, lists));
  }

  get disposed(): boolean {
    return this.#backing === undefined;
  }

  /** Gives the memory back now; a second call does nothing. */
  dispose(): void {
    if (this.#backing?.kind === "native") this.#backing.binding.similarityIndexRelease(this.#backing.handle);
    this.#backing = undefined;
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #use(): Backing {
    if (this.#backing !== undefined) return this.#backing;
    throw new PrismrecError("DISPOSED", "this index has been disposed of", {
      expected: "an index that is still open",
      received: "one that was disposed of",
      hint: "Build a new one, or dispose of it later.",
    });
  }
}

function readable(lists: SimilarityLists): SimilarityResult {
  return {
    ...lists,
    row(query) {
      const count = lists.counts[query];
      if (count === undefined) {
        throw new PrismrecError("INVALID_ARGUMENT", `there is no list of query ${query}`, {
          expected: `0 to ${lists.counts.length - 1}`,
          received: String(query),
        });
      }
      const [from, to] = [query * lists.k, query * lists.k + count];
      return {
        ids: lists.ids.subarray(from, to),
        scores: lists.scores.subarray(from, to),
        interests: lists.interests.subarray(from, to),
      };
    },
  };
}

function fromNative(k: number, { read, scored, ...lists }: SimilaritySearchResult): SimilarityLists {
  return { k, ...lists, touched: { read, scored } };
}

function referenceInfo({ items, bias, metric }: ReferenceItems) {
  return { rows: items.rows, cols: items.cols, metric, bytes: items.data.byteLength + (bias?.byteLength ?? 0) };
}

function needsAddon(what: string): PrismrecError {
  return new PrismrecError("NATIVE_NOT_FOUND", `an index can only be ${what} with the addon`, {
    hint: `Build the index from the items, or get the addon. ${nativeUnavailableHint() ?? ""}`.trim(),
  });
}

/** Bits as the addon reads them: the same array, or a copy of bytes as whole words. */
function filterWords(filter: Uint32Array | Uint8Array, size: number): Uint32Array {
  if (filter instanceof Uint32Array) return filter;
  const words = new Uint32Array(Math.ceil(size / 32));
  for (let i = 0; i < filter.length; i++) words[i >> 2]! |= filter[i]! << ((i & 3) * 8);
  return words;
}

function buildArguments(items: Matrix, bias: Float32Array | undefined, metric: SimilarityMetric) {
  return { items: items.data, rows: items.rows, cols: items.cols, metric, ...(bias === undefined ? {} : { bias }) };
}

function searchArguments(index: SimilarityIndexHandle, size: number, query: SimilarityQuery, rows: number) {
  const { exclude, filter, offsets, additive, device } = query;
  const variant = additive !== undefined && device === "auto" ? query.variant : variantFor(query);
  return {
    index,
    queries: query.queries.data,
    queryCount: rows,
    interestsPerQuery: query.interestsPerQuery ?? 1,
    k: query.k,
    readout: query.readout ?? "max",
    ...(offsets === undefined ? {} : { offsets }),
    ...(exclude === undefined ? {} : { excludeIndptr: exclude.indptr, excludeIndices: exclude.indices }),
    ...(filter === undefined ? {} : { filter: filterWords(filter, size) }),
    ...(additive === undefined ? {} : additiveArguments(additive)),
    ...(variant === undefined ? {} : { variant }),
  };
}

function additiveArguments(additive: Matrix | SparseMatrix) {
  if (!isSparse(additive)) return { additive: additive.data };
  return { additive: additive.values, additiveIndptr: additive.indptr, additiveIndices: additive.indices };
}

function cancelArgument(cancel: Int32Array | undefined): { readonly cancel?: Int32Array } {
  return cancel === undefined ? {} : { cancel };
}

function checkItems(items: Matrix, options: ExactIndexOptions): SimilarityMetric {
  checkMatrix("items", items);
  if (items.rows < 1 || items.cols < 1) {
    throw new PrismrecError("INVALID_ARGUMENT", "an index needs at least one item of at least one dimension", {
      expected: "items of shape [N >= 1, d >= 1]",
      received: `[${items.rows}, ${items.cols}]`,
    });
  }
  if (options.bias !== undefined) checkLength("bias", options.bias.length, items.rows);
  const { metric = "dot" } = options;
  if (metric !== "dot" && metric !== "cosine") {
    throw new PrismrecError("INVALID_ARGUMENT", "unknown metric", {
      expected: '"dot" or "cosine"',
      received: String(metric),
    });
  }
  return metric;
}

function checkQuery(index: ExactIndex, query: SimilarityQuery): number {
  const { queries, k, interestsPerQuery = 1, readout = "max", offsets, exclude, filter, additive } = query;
  checkMatrix("queries", queries);
  if (queries.cols !== index.dim) {
    throw new PrismrecError("SHAPE_MISMATCH", "queries and items must share one dimension", {
      expected: `${index.dim} columns`,
      received: `${queries.cols} columns`,
    });
  }
  if (!Number.isInteger(interestsPerQuery) || interestsPerQuery < 1 || interestsPerQuery > MAX_INTERESTS) {
    throw new PrismrecError("INVALID_ARGUMENT", "interestsPerQuery must be a positive whole number", {
      expected: `1 to ${MAX_INTERESTS}`,
      received: String(interestsPerQuery),
    });
  }
  if (queries.rows % interestsPerQuery !== 0) {
    throw new PrismrecError("SHAPE_MISMATCH", "queries must hold interestsPerQuery rows for each query", {
      expected: `a multiple of ${interestsPerQuery} rows`,
      received: `${queries.rows} rows`,
    });
  }
  if (!Number.isInteger(k) || k < 1 || k > index.size) {
    throw new PrismrecError("INVALID_ARGUMENT", "k must be a whole number of items of the index", {
      expected: `1 to ${index.size}`,
      received: String(k),
    });
  }
  if (readout !== "max" && readout !== "log-sum-exp") {
    throw new PrismrecError("INVALID_ARGUMENT", "unknown readout", {
      expected: '"max" or "log-sum-exp"',
      received: String(readout),
    });
  }
  if (offsets !== undefined) checkLength("offsets", offsets.length, queries.rows);
  if (filter !== undefined) {
    if (!(filter instanceof Uint32Array || filter instanceof Uint8Array)) {
      throw new PrismrecError("INVALID_ARGUMENT", "filter must be an array of bits", {
        expected: "Uint32Array or Uint8Array",
        received: typeof filter,
      });
    }
    checkLength("filter", filter.length, Math.ceil(index.size / (filter.BYTES_PER_ELEMENT * 8)));
  }
  const rows = queries.rows / interestsPerQuery;
  if (exclude !== undefined) checkCsr("exclude", exclude, rows, index.size);
  if (additive !== undefined) {
    checkAdditive(additive, rows, index.size);
    if (query.device === "cuda" || query.variant === "cuda") {
      throw new PrismrecError("INVALID_ARGUMENT", "additive scores are not added on a GPU", {
        expected: 'device "cpu" or "auto", which then is the processor',
        received: '"cuda"',
      });
    }
  }
  return rows;
}

function checkAdditive(additive: Matrix | SparseMatrix, rows: number, cols: number): void {
  if (isSparse(additive)) {
    checkCsr("additive", additive, rows, cols);
    if (additive.values !== undefined) return;
    throw new PrismrecError("INVALID_ARGUMENT", "additive has no values", {
      expected: "a value for each entry",
      received: "indices alone",
    });
  }
  checkMatrix("additive", additive);
  if (additive.rows === rows && additive.cols === cols) return;
  throw new PrismrecError("SHAPE_MISMATCH", "additive has the wrong shape", {
    expected: `${rows} x ${cols}`,
    received: `${additive.rows} x ${additive.cols}`,
  });
}

function checkedItems(items: Matrix, bias: Float32Array | undefined, metric: SimilarityMetric): ReferenceItems {
  requireFinite("items", items.data);
  if (bias !== undefined) requireFinite("bias", bias);
  return referenceItems(items, bias?.slice(), metric);
}

function searchChecked(index: ReferenceItems, query: SimilarityQuery): SimilarityLists {
  const { queries, offsets = NO_OFFSETS, additive, interestsPerQuery = 1 } = query;
  for (let row = 0; row < offsets.length; row++) {
    if (Number.isFinite(offsets[row]!) || offsets[row] === Number.NEGATIVE_INFINITY) continue;
    throw new PrismrecError("NON_FINITE", `offsets[${row}] is neither finite nor -Infinity`, {
      expected: "finite numbers, -Infinity for an absent interest",
      received: String(offsets[row]),
    });
  }
  for (let row = 0; row < queries.rows; row++) {
    if (offsets[row] === Number.NEGATIVE_INFINITY) continue;
    requireFinite("queries", queries.data, row * queries.cols, (row + 1) * queries.cols);
  }
  if (additive !== undefined) requireAddable(additive);
  requireNoOverflow(index, query, interestsPerQuery);
  return searchReference(index, query);
}

/** |<q, e>| <= |q| |e|, for partial sums too: within float32's range nothing can overflow on the way. */
function requireNoOverflow(index: ReferenceItems, query: SimilarityQuery, interests: number): void {
  const { queries, offsets, additive } = query;
  const cosine = index.metric === "cosine";
  let offset = 0;
  for (const value of offsets ?? NO_OFFSETS) if (Number.isFinite(value)) offset = Math.max(offset, Math.abs(value));
  const bias = largestMagnitude(index.bias ?? NO_OFFSETS);
  const added = additive === undefined ? 0 : largestMagnitude(numbersOf(additive)[1]);
  const norms = cosine ? 1 : largestNorm(queries, offsets) * largestNorm(index.items, undefined);
  const bound = norms + offset + bias + added + Math.log(interests);
  if (bound < MAX_SCORE) return;
  throw new PrismrecError("NON_FINITE", "scores could overflow float32", {
    expected: `largest query norm * largest item norm + offset + bias + additive below ${MAX_SCORE.toExponential(1)}`,
    received: bound.toExponential(1),
    hint: "Scale the vectors down.",
  });
}

const MAX_SCORE = 3e38;

function largestMagnitude(numbers: Float32Array): number {
  let largest = 0;
  for (const value of numbers) largest = Math.max(largest, Math.abs(value));
  return largest;
}

function largestNorm(matrix: Matrix, offsets: Float32Array | undefined): number {
  let largest = 0;
  for (let row = 0; row < matrix.rows; row++) {
    if (offsets?.[row] === Number.NEGATIVE_INFINITY) continue;
    let sum = 0;
    for (let x = row * matrix.cols; x < (row + 1) * matrix.cols; x++) sum += matrix.data[x]! ** 2;
    largest = Math.max(largest, sum);
  }
  return Math.sqrt(largest);
}

/** The numbers of additive scores, and what an error calls them. */
function numbersOf(additive: Matrix | SparseMatrix): [string, Float32Array] {
  return isSparse(additive) ? ["additive.values", additive.values] : ["additive.data", additive.data];
}

function requireAddable(additive: Matrix | SparseMatrix): void {
  requireFinite(...numbersOf(additive));
  if (!isSparse(additive)) return;
  const { indptr, indices, rows, cols } = additive;
  const lastRow = new Int32Array(cols).fill(-1);
  for (let row = 0; row < rows; row++) {
    for (let e = indptr[row]!; e < indptr[row + 1]!; e++) {
      if (lastRow[indices[e]!] === row) {
        throw new PrismrecError("INVALID_ARGUMENT", `additive has two entries of one column in row ${row}`, {
          expected: "each column once",
          received: `column ${indices[e]} twice`,
        });
      }
      lastRow[indices[e]!] = row;
    }
  }
}

function requireFinite(name: string, data: Float32Array, from = 0, to = data.length): void {
  for (let i = from; i < to; i++) {
    if (Number.isFinite(data[i]!)) continue;
    throw new PrismrecError("NON_FINITE", `${name}[${i}] is not finite`, {
      expected: "finite numbers",
      received: String(data[i]),
    });
  }
}
