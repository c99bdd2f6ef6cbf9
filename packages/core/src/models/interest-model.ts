import { PrismrecError } from "../errors/errors.js";
import type { Matrix } from "../matrix/matrix.js";
import { yieldToEventLoop } from "../runtime/abort.js";
import { tf } from "../tensor/tfjs.js";
import type { ParameterSet } from "./layers/parameters.js";
import { withScope } from "./layers/scope.js";
import { gatherEmbedded, packHistories } from "./layers/sequence-batch.js";
import type { History, InterestBatch, MultiInterestModel, Ranking, RankOptions } from "./model.js";
import type { InterestNetwork } from "./network.js";
import { rankInterests } from "./rank-interests.js";

/** What the last batch of a forward pass showed, for `evaluate`'s diagnostics. */
export interface InterestDiagnostics {
  /** [B * M * K] share of each cluster in each interest (aligned fusions only), zero for absent clusters. */
  readonly assignment?: Float32Array;
  /** [B * K * d] (`fusion: "gate"` only) */
  readonly gate?: Float32Array;
}

const BATCH = 128;

/** A trained network with its item vectors: everything that serving needs. */
export class InterestModel implements MultiInterestModel {
  readonly name: string;
  readonly dim: number;
  readonly maxHistory: number;
  readonly itemCount: number;
  readonly readout: "max" | "log-sum-exp";
  readonly #items: Matrix;
  readonly #bias: Float32Array | undefined;

  /**
   * @param items [N, d] effective item vectors, row i belongs to dense id i + 1
   * @param bias [N]
   * @throws PrismrecError SHAPE_MISMATCH
   */
  constructor(
    readonly network: InterestNetwork,
    readonly parameters: ParameterSet,
    items: Matrix,
    bias?: Float32Array,
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

  /** `interests` together with what the alignment did. */
  inspect(histories: readonly History[]): { interests: InterestBatch; diagnostics: InterestDiagnostics } {
    const batch = packHistories(histories, this.maxHistory, this.network.maxClusters);
    const { size, length } = batch;
    const read = withScope(() => {
      const rows = gatherEmbedded(batch, this.#items.data, this.dim);
      const embedded = tf.tensor(rows, [size, length, this.dim], "float32") as tf.Tensor3D;
      const output = this.network.forward(this.parameters.tensors(), embedded, batch);
      // Copies: a tensor's memory is the backend's, and it goes with the scope.
      return {
        present: output.present,
        collaborative: output.collaborative,
        vectors: output.vectors.dataSync<"float32">().slice(),
        offsets: output.offsets?.dataSync<"float32">().slice(),
        attention: output.attention.dataSync<"float32">().slice(),
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
    const attention = new Float32Array(read.attention.length);
    for (let row = 0; row < size * count; row++) {
      const newest = batch.lengths[Math.floor(row / count)]! - 1;
      for (let t = 0; t <= newest; t++) attention[row * length + newest - t] = read.attention[row * length + t]!;
    }
    return {
      interests: {
        count,
        vectors: { data: read.vectors, rows: size * count, cols: this.dim },
        offsets,
        clusters,
        attention,
      },
      diagnostics: {
        ...(read.assignment === undefined ? {} : { assignment: read.assignment }),
        ...(read.gate === undefined ? {} : { gate: read.gate }),
      },
    };
  }

  async rank(histories: readonly History[], options: RankOptions): Promise<Ranking> {
    const k = Math.min(options.k, this.itemCount);
    const rows = histories.length;
    const ranking = {
      k,
      ids: new Uint32Array(rows * k),
      scores: new Float32Array(rows * k),
      counts: new Uint32Array(rows),
      interests: new Uint16Array(rows * k),
    };
    for (let start = 0; start < rows; start += BATCH) {
      await yieldToEventLoop(options.signal);
      const part = histories.slice(start, start + BATCH);
      const found = await rankInterests(this, part, start, { ...options, k });
      ranking.ids.set(found.ids, start * k);
      ranking.scores.set(found.scores, start * k);
      ranking.counts.set(found.counts, start);
      ranking.interests.set(found.interests, start * k);
    }
    return ranking;
  }
}
