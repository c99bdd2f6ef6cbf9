import type { CsrMatrix, Random } from "@prismrec/core/base";
import {
  FieldPacker,
  type FieldReader,
  packedFields,
  type SequenceBatch,
  UserPacker,
  type UserReader,
} from "@prismrec/core/nn";
import { packProfiles, type TrainingSequences } from "../sequences.js";

export interface SequenceSampling {
  readonly batchSize: number;
  readonly maxHistory: number;
  readonly maxClusters: number;
  /** P */
  readonly positions: number;
  /** G */
  readonly targets: number;
  readonly semanticDropout: number;
  /** Whose fields of events and users are packed; absent: none are. */
  readonly reader?: FieldReader & UserReader;
}

/** One step's worth of predictions: row b * P + p of the matrices belongs to position p of user b. */
export interface PredictionBatch {
  readonly batch: SequenceBatch;
  /** [B * P, N] the next items of each position, columns are dense ids minus one. */
  readonly targets: CsrMatrix;
  /** [B * P, N] what each position has seen. */
  readonly prefix: CsrMatrix;
}

/** Sequences of one step, and where each is cut. */
export interface SequenceCuts {
  readonly users: Uint32Array;
  /** [users.length] leading events that are read; at least one event follows them. */
  readonly ends: Uint32Array;
}

/**
 * How far lengths may differ inside a batch: enough that users meet others from epoch to epoch, little enough that
 * about an eighth of a batch is padding.
 */
const LENGTH_JITTER = 4;

/**
 * The sequences of every step of an epoch: each once, cut before its last event (a longer one than the model reads at a
 * random place). Batches are of similar packed length, so that little is padded, and come in random order.
 */
export function epochBatches(sequences: TrainingSequences, sampling: SequenceSampling, random: Random): SequenceCuts[] {
  const { count, indptr } = sequences;
  const { batchSize, maxHistory } = sampling;
  const users = random.shuffle(Uint32Array.from({ length: count }, (_, user) => user));
  const ends = new Uint32Array(count);
  const key = new Float64Array(count);
  for (const user of users) {
    const total = indptr[user + 1]! - indptr[user]!;
    ends[user] = total > maxHistory + 1 ? random.integer(2, total) : total - 1;
    key[user] = Math.min(ends[user]!, maxHistory) + random.uniform() * LENGTH_JITTER;
  }
  users.sort((a, b) => key[a]! - key[b]!);
  const batches: SequenceCuts[] = [];
  for (let start = 0; start < count; start += batchSize) {
    const own = users.subarray(start, start + batchSize);
    batches.push({ users: own, ends: own.map((user) => ends[user]!) });
  }
  return random.shuffle(batches);
}

/** How many positions of a step predict: up to P of each sequence. */
export function countPositions({ ends }: SequenceCuts, { maxHistory, positions }: SequenceSampling): number {
  return ends.reduce((sum, end) => sum + Math.min(end, maxHistory, positions), 0);
}

/**
 * Packs the cut sequences of a step, newest event first: up to P random positions of each predict the G items that
 * follow.
 *
 * @param itemCount N
 */
export function packPredictions(
  sequences: TrainingSequences,
  { users, ends }: SequenceCuts,
  sampling: SequenceSampling,
  itemCount: number,
  random: Random,
): PredictionBatch {
  const { maxHistory, maxClusters, positions: positionCount, targets: horizon } = sampling;
  const size = users.length;
  const lengths = ends.map((end) => Math.min(end, maxHistory));
  const length = lengths.reduce((longest, own) => Math.max(longest, own), 1);
  const items = new Uint32Array(size * length);
  const clusters = new Int16Array(size * length).fill(-1);
  const positions = new Int32Array(size * positionCount).fill(-1);
  const rows = size * positionCount;
  const targetIndptr = new Uint32Array(rows + 1);
  const targetIndices: number[] = [];
  const prefixIndptr = new Uint32Array(rows + 1);
  const prefixIndices: number[] = [];
  const packer = FieldPacker.of(sampling.reader ?? {}, size * length);
  const profiles = UserPacker.of(sampling.reader ?? {}, size);
  packProfiles(profiles, sequences, users);
  let clusterCount = 0;
  for (let b = 0; b < size; b++) {
    const first = sequences.indptr[users[b]!]!;
    const last = sequences.indptr[users[b]! + 1]!;
    const newest = first + ends[b]! - 1;
    const own = lengths[b]!;
    const semantic = sampling.semanticDropout === 0 || random.uniform() >= sampling.semanticDropout;
    for (let t = 0; t < own; t++) {
      items[b * length + t] = sequences.items[newest - t]!;
      packer?.put(b * length + t, sequences, newest - t);
      const cluster = sequences.clusters[newest - t]!;
      if (!semantic || cluster < 0 || cluster >= maxClusters) continue;
      clusters[b * length + t] = cluster;
      clusterCount = Math.max(clusterCount, cluster + 1);
    }
    const chosen = choose(own, positionCount, random);
    for (let p = 0; p < positionCount; p++) {
      const row = b * positionCount + p;
      if (p < chosen.length) {
        const t = chosen[p]!;
        positions[row] = t;
        const from = newest - t + 1;
        for (let i = from; i < Math.min(from + horizon, last); i++) targetIndices.push(sequences.items[i]! - 1);
        for (let i = t; i < own; i++) prefixIndices.push(items[b * length + i]! - 1);
      }
      targetIndptr[row + 1] = targetIndices.length;
      prefixIndptr[row + 1] = prefixIndices.length;
    }
  }
  const batch = { size, length, items, lengths, clusters, clusterCount, positionCount, positions };
  return {
    batch: { ...batch, ...packedFields(packer, profiles) },
    targets: { indptr: targetIndptr, indices: Uint32Array.from(targetIndices), rows, cols: itemCount },
    prefix: { indptr: prefixIndptr, indices: Uint32Array.from(prefixIndices), rows, cols: itemCount },
  };
}

/** Up to `count` distinct integers of 0..limit - 1 in random order. */
function choose(limit: number, count: number, random: Random): Uint32Array {
  const all = Uint32Array.from({ length: limit }, (_, i) => i);
  const wanted = Math.min(limit, count);
  for (let i = 0; i < wanted; i++) {
    const j = random.integer(i, limit);
    const moved = all[i]!;
    all[i] = all[j]!;
    all[j] = moved;
  }
  return all.subarray(0, wanted);
}
