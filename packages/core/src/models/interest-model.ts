import { PrismrecError } from "../base/errors.js";
import type { Matrix } from "../base/matrix.js";
import type { RunOptions } from "../base/run-options.js";
import type { History } from "../data/history.js";
import type { Ranking } from "../metrics/ranking.js";
import type { ParameterSet } from "../nn/layers/parameters.js";
import { withScope } from "../nn/layers/scope.js";
import { gatherEmbedded, packHistories } from "../nn/layers/sequence-batch.js";
import type { InterestNetwork } from "../nn/network.js";
import { modelBackend, type TensorBackendName, withBackend } from "../nn/tensor/backend.js";
import { checkHistories } from "./check-rank.js";
import { InterestSearch } from "./interest-search.js";
import type { InterestBatch, InterestRankOptions, MultiInterestModel } from "./model.js";
import { openModelIndex, saveModelIndex } from "./model-index.js";

/** What the last batch of a forward pass showed, for `evaluate`'s diagnostics. */
export interface InterestDiagnostics {
  /** [B * M * K] share of each cluster in each interest (aligned fusions only), zero for absent clusters. */
  readonly assignment?: Float32Array;
  /** [B * K * d] (`fusion: "gate"` only) */
  readonly gate?: Float32Array;
}

/** A trained network with its item vectors: everything that serving needs. */
export class InterestModel implements MultiInterestModel, Disposable {
  readonly name: string;
  readonly dim: number;
  readonly maxHistory: number;
  readonly itemCount: number;
  readonly readout: "max" | "log-sum-exp";
  readonly #items: Matrix;
  readonly #bias: Float32Array | undefined;
  readonly #search = new InterestSearch(this);

  /**
   * @param items [N, d] effective item vectors, row i belongs to dense id i + 1
   * @param bias [N]
   * @param backend where every forward pass runs, whichever backend tfjs has current (see `useTensorBackend`)
   * @throws PrismrecError SHAPE_MISMATCH
   */
  constructor(
    readonly network: InterestNetwork,
    readonly parameters: ParameterSet,
    items: Matrix,
    bias?: Float32Array,
    readonly backend: TensorBackendName = modelBackend(),
  ) {
    if (items.cols !== network.dim || (bias !== undefined && bias.length !== items.rows)) {
      throw new PrismrecError("SHAPE_MISMATCH", "item vectors or bias do not fit the model", {
        expected: `[N, ${network.dim}] and [N]`,
        received: `[${items.rows}, ${items.cols}] and [${bias?.length ?? 0}]`,
      });
    }
    this.name = network.name;
    this.dim = network.dim;
    this.maxHistory = network.maxHistory;
    this.itemCount = items.rows;
    this.readout = network.readout;
    this.#items = items;
    this.#bias = bias;
  }

  itemVectors(): Matrix {
    return this.#items;
  }

  itemBias(): Float32Array | undefined {
    return this.#bias;
  }

  interests(histories: readonly History[]): InterestBatch {
    return this.inspect(histories).interests;
  }

  /**
   * `interests` together with what the alignment did.
   *
   * @throws PrismrecError UNKNOWN_ITEM, SHAPE_MISMATCH
   */
  inspect(histories: readonly History[]): { interests: InterestBatch; diagnostics: InterestDiagnostics } {
    checkHistories(this.itemCount, histories);
    const batch = packHistories(histories, this.maxHistory, this.network.maxClusters, this.network);
    const { size, length } = batch;
    const read = this.#scoped(() => {
      const embedded = gatherEmbedded(batch, this.#items);
      const output = this.network.forward(this.parameters.tensors(), embedded, batch);
      // Copies: a tensor's memory is the backend's, and it goes with the scope.
      return {
        present: output.present,
        collaborative: output.collaborative,
        vectors: output.vectors.dataSync<"float32">().slice(),
        offsets: output.offsets?.dataSync<"float32">().slice(),
        attention: output.attention?.dataSync<"float32">().slice(),
        assignment: output.alignment?.assignment.dataSync<"float32">().slice(),
        gate: output.alignment?.gate?.dataSync<"float32">().slice(),
      };
    });
    const count = size === 0 ? 0 : read.present.length / size;
    const offsets = new Float32Array(size * count);
    const clusters = new Int16Array(size * count);
    for (let i = 0; i < offsets.length; i++) {
      offsets[i] = read.present[i] === 0 ? -Infinity : (read.offsets?.[i] ?? 0);
      clusters[i] = i % count < read.collaborative ? -1 : (i % count) - read.collaborative;
    }
    let attention: Float32Array | undefined;
    if (read.attention !== undefined) {
      attention = new Float32Array(read.attention.length);
      for (let row = 0; row < size * count; row++) {
        const newest = batch.lengths[Math.floor(row / count)]! - 1;
        for (let t = 0; t <= newest; t++) attention[row * length + newest - t] = read.attention[row * length + t]!;
      }
    }
    return {
      interests: {
        count,
        vectors: { data: read.vectors, rows: size * count, cols: this.dim },
        offsets,
        clusters,
        ...(attention === undefined ? {} : { attention }),
      },
      diagnostics: {
        ...(read.assignment === undefined ? {} : { assignment: read.assignment }),
        ...(read.gate === undefined ? {} : { gate: read.gate }),
      },
    };
  }

  /**
   * Exact lists by the model's readout with item bias and prior, the winning interest beside each hit. The first call
   * builds the index that `saveIndex` keeps and `openIndex` takes over.
   *
   * @throws PrismrecError INVALID_ARGUMENT, UNKNOWN_ITEM, SHAPE_MISMATCH (also for `interests` of other histories),
   *   NON_FINITE
   */
  rank(histories: readonly History[], options: InterestRankOptions): Promise<Ranking> {
    return this.#search.rank(histories, options);
  }

  /**
   * Writes the search index to a folder for `openIndex`, building it where no `rank` has.
   *
   * @throws PrismrecError DISK_FULL, IO, NATIVE_NOT_FOUND, NON_FINITE, OUT_OF_MEMORY
   */
  async saveIndex(dir: string, { signal }: RunOptions = {}): Promise<void> {
    await saveModelIndex(dir, await this.#search.index(signal), this);
  }

  /**
   * Takes over an index that `saveIndex` wrote, in place of one built from the vectors. The model owns it until `dispose`.
   *
   * @throws PrismrecError CHECKPOINT_INCOMPATIBLE for the index of other vectors, FILE_NOT_FOUND, DATA_FORMAT, IO,
   *   NATIVE_NOT_FOUND; the model is as before then
   */
  async openIndex(dir: string, run: RunOptions = {}): Promise<void> {
    this.#search.adopt(await openModelIndex(dir, this, run));
  }

  /** Gives the memory of the search index back; the next `rank` builds it anew. */
  dispose(): void {
    this.#search[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  #scoped<T>(body: () => T): T {
    return withBackend(this.backend, () => withScope(body));
  }
}
