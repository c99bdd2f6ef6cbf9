import { rm } from "node:fs/promises";
import { join } from "node:path";
import { hashJson, isPrismrecError, type Matrix, PrismrecError, sha256, yieldToEventLoop } from "@prismrec/core/base";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { Partitions, PartitionTable } from "@prismrec/core/interests";
import { createNetwork, type InterestModel, saveModel } from "@prismrec/core/models";
import {
  type Checkpoint,
  catalogFingerprint,
  listCheckpoints,
  readCheckpoint,
  type StoredTensor,
  writeCheckpoint,
} from "@prismrec/core/nn";
import { z } from "zod";
import { learnsFromPositions, type TrainConfig } from "../config.js";
import { cutoffsWithin } from "../evaluation/cutoffs.js";
import { evaluate } from "../evaluation/evaluate.js";
import { checkNoLeakage } from "../evaluation/leakage.js";
import { readsBaskets } from "./batches/epoch-order.js";
import type { EpochRecord, TrainEvent } from "./events.js";
import { popularityBias, randomItems, svdItems } from "./initial-items.js";
import { Learner, type LearnerStep } from "./learner.js";
import { type TrainingSequences, trainingSequences } from "./sequences.js";
import type { Trainable } from "./trainable.js";
import { featureMap, formerRows, mapped, NO_FORMER, type WarmStart, warmStartFingerprint } from "./warm-start.js";

export interface TrainInput {
  readonly dataset: Dataset;
  /** Semantic clusters of every user's visible events; absent: no semantic side. */
  readonly partitions?: Partitions;
  /** Synthesized users with their clusters; absent: no crowd contrast. */
  readonly crowd?: CrowdSet;
  /** [items, t] given vectors of the items (of their texts, for instance), for the towers that map them. */
  readonly itemVectors?: Matrix;
  /**
   * A former training to go on from. Its parameters and the vectors of the items that it knew are where this one starts; a new
   * item starts as it would without, mapped to where the former training put items like it. Nothing that it learned from may be
   * asked for in `dataset` (`learnedTargets`).
   */
  readonly warmStart?: WarmStart;
}

export interface TrainOptions {
  /** Folder of the run: `checkpoints/<step>` while it trains, `model` at the end. */
  readonly dir: string;
  /** Go on from the newest checkpoint in `dir`, where there is one; default true. */
  readonly resume?: boolean;
  /** An abort finishes the step, writes a checkpoint and resolves with `stoppedBy: "signal"`. */
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: TrainEvent) => void;
  /** Most epochs of this call: it resolves with `stoppedBy: "pause"` after them, and another call goes on. */
  readonly pauseAfter?: number;
}

export interface TrainResult {
  /** The best model on validation so far. */
  readonly model: InterestModel;
  readonly stoppedBy: "patience" | "epochs" | "signal" | "pause";
  readonly bestEpoch: number;
  readonly curve: readonly EpochRecord[];
  readonly steps: number;
  /** Where losses and validation ran. */
  readonly device: "cpu" | "cuda";
  /** Validation metrics of a warm start before its first step. */
  readonly start?: Readonly<Record<string, number>>;
}

const KEPT_CHECKPOINTS = 2;

const epochSchema = z.object({
  epoch: z.int(),
  step: z.int(),
  loss: z.number(),
  parts: z.record(z.string(), z.number()),
  metrics: z.record(z.string(), z.number()),
  gradientNorm: z.number(),
  best: z.boolean(),
});

/** Where a run stands; with the tensors all that it takes to go on bit for bit. */
const progressSchema = z.object({
  inputs: z.string(),
  dataset: z.string(),
  catalog: z.string(),
  /** Epoch in progress, counted from 1, and its steps done. */
  epoch: z.int(),
  done: z.int(),
  step: z.int(),
  lossSum: z.number(),
  partSums: z.record(z.string(), z.number()),
  gradientNorm: z.number(),
  bestEpoch: z.int(),
  bestValue: z.number(),
  curve: z.array(epochSchema),
  start: z.record(z.string(), z.number()).optional(),
});

type Progress = z.infer<typeof progressSchema>;

/**
 * Trains a network until validation recall + ndcg, at the largest cut-off that the catalog allows (50 by default), has
 * not improved for `patience` epochs, and stores the best model in `<dir>/model` (see `loadModel`). A checkpoint after
 * every epoch, and on abort, holds everything: a resumed run gives the same bytes as one that was never stopped. Where
 * nobody is held out for validation (`productionDataset`) it trains for `stopping.epochs` and keeps the last. A warm start is
 * judged before its first step: where no epoch is better, the best epoch is 0 and the model is what it started from.
 *
 * @throws PrismrecError LEAKAGE; DEVICE_UNAVAILABLE where the configuration asks for a GPU and none can be used;
 *   TRAINING_DIVERGED at the first loss or gradient that is not finite (the checkpoint before it stays);
 *   CHECKPOINT_INCOMPATIBLE where `dir` holds a run of another dataset or configuration; DATA_FORMAT for a checkpoint
 *   that is cut short
 */
export async function train(input: TrainInput, config: TrainConfig, options: TrainOptions): Promise<TrainResult> {
  const { dataset } = input;
  checkNoLeakage(dataset, input.partitions, input.crowd);
  const found = await listCheckpoints(checkpointsOf(options));
  const goesOn = found.length > 0 && options.resume !== false;
  const run = new TrainingRun(input, config, options, goesOn);
  if (!(await run.resume(found))) await run.warmStart();
  return run.loop();
}

class TrainingRun {
  readonly #input: TrainInput;
  readonly #config: TrainConfig;
  readonly #options: TrainOptions;
  readonly #learner: Learner;
  readonly #identity: { readonly inputs: string; readonly dataset: string; readonly catalog: string };
  #progress: Progress;
  #best: ReadonlyMap<string, StoredTensor>;

  /** @param goesOn whether all weights are about to come from a checkpoint, so that none are to be found first */
  constructor(
    input: TrainInput,
    config: TrainConfig,
    options: TrainOptions,
    private readonly goesOn: boolean,
  ) {
    const { dataset, partitions, crowd, itemVectors, warmStart } = input;
    this.#input = input;
    this.#config = config;
    this.#options = options;
    const { eventFields = [], userFields = [] } = createNetwork(config.network);
    const sequences = trainingSequences(dataset, partitions?.train, {
      eventFields: readsBaskets(config) ? [...eventFields, "time"] : eventFields,
      userFields,
    });
    this.#learner = new Learner(config, {
      sequences,
      items: goesOn ? noItems(dataset, config) : initialItems(sequences, dataset, config),
      bias: popularityBias(dataset.catalog.popularity),
      ...(crowd === undefined ? {} : { crowd }),
      ...(itemVectors === undefined ? {} : { itemVectors }),
    });
    this.#identity = {
      inputs: hashJson({
        config,
        dataset: dataset.fingerprint,
        partitions: partitions === undefined ? null : [partitions.train, partitions.valid].map(partitionFingerprint),
        crowd: crowd?.fingerprint ?? null,
        ...(itemVectors === undefined ? {} : { itemVectors: sha256(bytesOf(itemVectors.data)) }),
        ...(warmStart === undefined ? {} : { warmStart: warmStartFingerprint(warmStart) }),
      }),
      dataset: dataset.fingerprint,
      catalog: catalogFingerprint(dataset.catalog),
    };
    this.#progress = {
      ...this.#identity,
      epoch: 1,
      done: 0,
      step: 0,
      lossSum: 0,
      partSums: {},
      gradientNorm: 0,
      bestEpoch: 0,
      bestValue: -1,
      curve: [],
    };
    this.#best = new Map();
  }

  get #trainable(): Trainable {
    return this.#learner.trainable;
  }

  get #checkpoints(): string {
    return checkpointsOf(this.#options);
  }

  /** Takes up the newest of the checkpoints; false where there is none, or none is to be taken up. */
  async resume(found: Awaited<ReturnType<typeof listCheckpoints>>): Promise<boolean> {
    const newest = found.at(-1);
    const resumed = newest !== undefined && this.goesOn;
    if (resumed) {
      const checkpoint = await this.#read(newest.path, found.at(-2)?.path);
      const updates = checkpoint.content.step;
      this.#trainable.restore(checkpoint.tensors, updates);
      this.#progress = checkpoint.content;
      this.#best = new Map(
        [...checkpoint.tensors].flatMap(([name, tensor]) =>
          name.startsWith("best/") ? [[name.slice("best/".length), tensor] as const] : [],
        ),
      );
    } else if (newest !== undefined) {
      await rm(this.#checkpoints, { recursive: true });
    }
    const { epoch, step } = this.#progress;
    this.#options.onEvent?.({
      type: "start",
      epoch,
      step,
      resumed,
      warm: this.#input.warmStart !== undefined,
      ...this.#learner.device,
    });
    return resumed;
  }

  /** Starts from a former training, where there is one. */
  async warmStart(): Promise<void> {
    const { warmStart, itemVectors, dataset } = this.#input;
    if (warmStart === undefined) return;
    const trainable = this.#trainable;
    const former = formerRows(warmStart, dataset.catalog);
    const { signal } = this.#options;
    const run = signal === undefined ? {} : { signal };
    const { dim, tower } = { dim: trainable.items.cols, tower: this.#config.tower ?? "id" };
    if (warmStart.items.cols !== dim) {
      throw new PrismrecError("SHAPE_MISMATCH", "the former training is of another width", {
        expected: `item vectors of ${dim} numbers`,
        received: `${warmStart.items.cols}`,
        hint: "Train anew, or with the network.dim of before.",
      });
    }
    // What a new item's vector can be made of: its text, or where the matrix of co-occurrence puts it. Noise says nothing.
    const features = itemVectors ?? (usesSvd(this.#config) ? trainable.items : undefined);
    const map = features === undefined ? undefined : await featureMap(features, former, warmStart.items, run);
    const start = features === undefined || map === undefined ? trainable.items : mapped(features, map);
    const vectors = start.data.slice();
    former.forEach((row, item) => {
      if (row === NO_FORMER) return;
      vectors.set(warmStart.items.data.subarray(row * dim, (row + 1) * dim), item * dim);
    });
    trainable.startFrom({
      parameters: new Map([
        ...warmStart.parameters,
        ...(tower === "id" || map === undefined ? [] : [["tower/text", map.data] as const]),
      ]),
      vectors,
      ...(warmStart.itemBias === undefined ? {} : { bias: biasOf(warmStart.itemBias, former) }),
    });
    const { metrics, value } = await this.#judge();
    this.#progress.start = { ...metrics };
    if (dataset.split.valid.users.length === 0) return;
    this.#progress.bestValue = value;
    this.#best = new Map(trainable.weights());
  }

  async #read(path: string, former: string | undefined): Promise<Checkpoint & { readonly content: Progress }> {
    let checkpoint: Checkpoint;
    try {
      // Into the weights themselves: a large table is not to be there twice.
      const own = new Map(this.#trainable.tensors());
      checkpoint = await readCheckpoint(path, "training", (name) => own.get(name)?.data);
    } catch (error) {
      if (!isPrismrecError(error) || error.code === "CHECKPOINT_INCOMPATIBLE") throw error;
      throw new PrismrecError("DATA_FORMAT", error.message, {
        ...(error.expected === undefined ? {} : { expected: error.expected }),
        ...(error.received === undefined ? {} : { received: error.received }),
        hint:
          former === undefined
            ? `Remove ${path} and train again.`
            : `Remove ${path} to go on from the checkpoint before it, ${former}.`,
        cause: error,
      });
    }
    const parsed = progressSchema.safeParse(checkpoint.content);
    if (!parsed.success) {
      throw new PrismrecError("DATA_FORMAT", `the manifest in ${path} does not describe a training run`, {
        received: z.prettifyError(parsed.error),
      });
    }
    const content = parsed.data;
    const { dataset, catalog, inputs } = this.#identity;
    if (content.dataset !== dataset || content.catalog !== catalog || content.inputs !== inputs) {
      const what = content.dataset !== dataset || content.catalog !== catalog ? "dataset" : "configuration";
      throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the checkpoint in ${path} belongs to another ${what}`, {
        expected: what === "dataset" ? dataset : inputs,
        received: what === "dataset" ? content.dataset : content.inputs,
        hint: "Train into another folder, or start over with resume: false.",
      });
    }
    return { ...checkpoint, content };
  }

  async loop(): Promise<TrainResult> {
    for (;;) {
      const progress = this.#progress;
      const finished = this.#finished();
      if (finished !== undefined) {
        const model = this.#trainable.modelOf(this.#best);
        await saveModel(join(this.#options.dir, "model"), model, this.#config.network, this.#input.dataset.catalog, {
          config: this.#config,
          inputs: this.#identity.inputs,
          bestEpoch: progress.bestEpoch,
          epochs: progress.curve.length,
          stoppedBy: finished,
          device: this.#learner.device.device,
          curve: progress.curve,
          ...(progress.start === undefined ? {} : { start: progress.start }),
        });
        return this.#result(model, finished);
      }
      if (progress.curve.length >= (this.#options.pauseAfter ?? Infinity)) {
        return this.#result(this.#trainable.modelOf(this.#best), "pause");
      }
      const started = performance.now();
      const { steps } = this.#learner.beginEpoch(progress.epoch);
      while (progress.done < steps) {
        this.#step(steps);
        await yieldToEventLoop();
        if (this.#options.signal?.aborted) {
          this.#checkFinite();
          await this.#checkpoint();
          return this.#result(this.#trainable.modelOf(this.#best), "signal");
        }
      }
      this.#checkFinite();
      await this.#endEpoch(steps, started);
      await this.#checkpoint();
    }
  }

  #finished(): "patience" | "epochs" | undefined {
    const { epochs, patience } = this.#config.stopping;
    const { curve, bestEpoch } = this.#progress;
    if (curve.length >= epochs) return "epochs";
    return curve.length > 0 && curve.length - bestEpoch >= patience ? "patience" : undefined;
  }

  #step(steps: number): void {
    const progress = this.#progress;
    const { loss, parts, gradientNorm } = this.#learn();
    progress.done++;
    progress.step++;
    progress.lossSum += loss;
    progress.gradientNorm = Math.max(progress.gradientNorm, gradientNorm);
    for (const [name, value] of Object.entries(parts)) {
      progress.partSums[name] = (progress.partSums[name] ?? 0) + value;
    }
    const { epoch, step, done } = progress;
    this.#options.onEvent?.({ type: "step", epoch, step, done, total: steps, loss });
  }

  #learn(): LearnerStep {
    const { done, step } = this.#progress;
    try {
      return this.#learner.step(done, step);
    } catch (error) {
      // The loss refuses what has grown out of range before it could make a NaN of it.
      if (isPrismrecError(error, "NON_FINITE")) throw this.#diverged(error.message, error);
      throw error;
    }
  }

  /** Keeps weights that an update has driven out of range from being judged or stored. */
  #checkFinite(): void {
    if (!this.#trainable.isFinite()) throw this.#diverged("weights that are not finite");
  }

  #diverged(received: string, cause?: unknown): PrismrecError {
    return new PrismrecError("TRAINING_DIVERGED", `training diverged in step ${this.#progress.step + 1}`, {
      expected: "a finite loss and finite weights",
      received,
      hint: "Lower optimizer.learningRate; the last checkpoint before this is kept.",
      ...(cause === undefined ? {} : { cause }),
    });
  }

  async #endEpoch(steps: number, started: number): Promise<void> {
    const progress = this.#progress;
    const { metrics, value } = await this.#judge();
    const best = value > progress.bestValue;
    if (best) {
      progress.bestValue = value;
      progress.bestEpoch = progress.epoch;
      this.#best = new Map(this.#trainable.weights());
    }
    const record: EpochRecord = {
      epoch: progress.epoch,
      step: progress.step,
      loss: progress.lossSum / steps,
      parts: Object.fromEntries(Object.entries(progress.partSums).map(([name, sum]) => [name, sum / steps])),
      metrics,
      gradientNorm: progress.gradientNorm,
      best,
    };
    progress.curve.push({ ...record, parts: { ...record.parts }, metrics: { ...record.metrics } });
    progress.epoch++;
    progress.done = 0;
    progress.lossSum = 0;
    progress.partSums = {};
    progress.gradientNorm = 0;
    this.#options.onEvent?.({ type: "epoch", seconds: (performance.now() - started) / 1000, ...record });
  }

  /** The validation metrics, and what epochs are compared by: where there is nobody to validate on, the later is better. */
  async #judge(): Promise<{ readonly metrics: Readonly<Record<string, number>>; readonly value: number }> {
    const { dataset, partitions } = this.#input;
    if (dataset.split.valid.users.length === 0) return { metrics: {}, value: this.#progress.epoch };
    const cutoffs = cutoffsWithin(this.#config.stopping.cutoffs, this.#trainable.items.rows);
    using model = this.#trainable.current();
    const { metrics } = await evaluate(model, dataset, {
      part: "valid",
      metrics: cutoffs.flatMap((cutoff) => [`recall@${cutoff}`, `ndcg@${cutoff}`]),
      diagnostics: false,
      device: this.#learner.device.device,
      ...(partitions === undefined ? {} : { partition: partitions.valid }),
    });
    const longest = cutoffs.at(-1);
    return { metrics, value: metrics[`recall@${longest}`]! + metrics[`ndcg@${longest}`]! };
  }

  async #checkpoint(): Promise<void> {
    const { step } = this.#progress;
    const path = join(this.#checkpoints, String(step).padStart(9, "0"));
    const tensors = new Map(this.#trainable.tensors());
    for (const [name, tensor] of this.#best) tensors.set(`best/${name}`, tensor);
    await writeCheckpoint(path, { kind: "training", content: this.#progress, tensors });
    const all = await listCheckpoints(this.#checkpoints);
    for (const old of all.slice(0, -KEPT_CHECKPOINTS)) await rm(old.path, { recursive: true, force: true });
    this.#options.onEvent?.({ type: "checkpoint", step, path });
  }

  #result(model: InterestModel, stoppedBy: TrainResult["stoppedBy"]): TrainResult {
    const { bestEpoch, curve, step, start } = this.#progress;
    const { device } = this.#learner.device;
    return { model, stoppedBy, bestEpoch, curve, steps: step, device, ...(start === undefined ? {} : { start }) };
  }
}

/** What a network reads of a partition: the clusters of every event, whoever made them. */
function partitionFingerprint({ fingerprint, indptr, assign }: PartitionTable): string {
  return hashJson({ fingerprint, indptr: sha256(bytesOf(indptr)), assign: sha256(bytesOf(assign)) });
}

function bytesOf({ buffer, byteOffset, byteLength }: Uint32Array | Int16Array | Float32Array): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

const checkpointsOf = ({ dir }: TrainOptions): string => join(dir, "checkpoints");

function initialItems(sequences: TrainingSequences, { catalog }: Dataset, config: TrainConfig): Matrix {
  const { dim } = config.network;
  return usesSvd(config)
    ? svdItems(sequences, catalog.size, dim, config.seed)
    : randomItems(catalog.size, dim, config.seed);
}

function noItems({ catalog }: Dataset, { network: { dim } }: TrainConfig): Matrix {
  return { data: new Float32Array(catalog.size * dim), rows: catalog.size, cols: dim };
}

function usesSvd(config: TrainConfig): boolean {
  return learnsFromPositions(config) && config.initialItems === "svd";
}

/** [N] the former bias of each item, undefined for a new one. */
function biasOf(bias: Float32Array, former: Int32Array): (item: number) => number | undefined {
  return (item) => (former[item] === NO_FORMER ? undefined : bias[former[item]!]);
}
