import type { Matrix } from "../../base/matrix.js";
import type { History } from "../../data/history.js";
import { gatherRows } from "../../ops/embedding-rows/embedding-rows.js";
import { allocateValues, tensorOf } from "../tensor/in-place.js";
import type { tf } from "../tensor/tfjs.js";
import { type EventFields, FieldPacker, type FieldReader } from "./event-fields.js";
import { type UserFields, UserPacker, type UserReader } from "./user-fields.js";

/**
 * Histories as a network reads them: newest first, right-padded, so that position t is "t steps ago" for everybody.
 * A prediction is made after each of the `positions` of a user: it sees the events at that position and older.
 */
export interface SequenceBatch {
  /** B */
  readonly size: number;
  /** T, the longest history of the batch. */
  readonly length: number;
  /** [B * T] dense item ids, 0 = padding. */
  readonly items: Uint32Array;
  /** [B] events of each user. */
  readonly lengths: Uint32Array;
  /** [B * T] semantic cluster of each event, -1 = none. */
  readonly clusters: Int16Array;
  /** M of this batch: 1 + the largest cluster present, 0 when there is none. */
  readonly clusterCount: number;
  /** P */
  readonly positionCount: number;
  /** [B * P] newest event a prediction sees, -1 = unused. */
  readonly positions: Int32Array;
  /** What the network reads of each event beside these; absent: nothing. */
  readonly fields?: EventFields;
  /** What the network reads of each user's profile; absent: nothing. */
  readonly userFields?: UserFields;
}

/**
 * Packs the most recent `maxLength` events of each history for serving: one prediction each, after the newest event.
 * Clusters beyond `maxClusters` are read as none.
 */
export function packHistories(
  histories: readonly History[],
  maxLength: number,
  maxClusters: number,
  reader: FieldReader & UserReader = {},
): SequenceBatch {
  const size = histories.length;
  const lengths = Uint32Array.from(histories, ({ items }) => Math.min(items.length, maxLength));
  const length = Math.max(
    1,
    lengths.reduce((longest, own) => Math.max(longest, own), 0),
  );
  const items = new Uint32Array(size * length);
  const clusters = new Int16Array(size * length).fill(-1);
  const positions = new Int32Array(size);
  const packer = FieldPacker.of(reader, size * length);
  const users = UserPacker.of(reader, size);
  let clusterCount = 0;
  for (let b = 0; b < size; b++) {
    const history = histories[b]!;
    const end = history.items.length;
    const { events: behaviours, times, weights, profile } = history;
    if (profile !== undefined) users?.put(b, profile);
    const source = {
      ...(behaviours === undefined ? {} : { behaviours }),
      ...(times === undefined ? {} : { times }),
      ...(weights === undefined ? {} : { weights }),
    };
    for (let t = 0; t < lengths[b]!; t++) {
      items[b * length + t] = history.items[end - 1 - t]!;
      packer?.put(b * length + t, source, end - 1 - t);
      const cluster = history.clusters?.[end - 1 - t] ?? -1;
      if (cluster < 0 || cluster >= maxClusters) continue;
      clusters[b * length + t] = cluster;
      clusterCount = Math.max(clusterCount, cluster + 1);
    }
    if (lengths[b] === 0) positions[b] = -1;
  }
  const batch = { size, length, items, lengths, clusters, clusterCount, positionCount: 1, positions };
  return { ...batch, ...packedFields(packer, users) };
}

/** What was packed beside the items of a batch, as its members. */
export function packedFields(
  events: FieldPacker | undefined,
  users: UserPacker | undefined,
): Pick<SequenceBatch, "fields" | "userFields"> {
  return {
    ...(events === undefined ? {} : { fields: events.fields }),
    ...(users === undefined ? {} : { userFields: users.fields }),
  };
}

/** Rows of the item table that the events of a batch are: NO_ROW where padded. */
export function eventRows(batch: SequenceBatch): Uint32Array {
  const rows = new Uint32Array(batch.items.length);
  // Padding is id 0, and 0 - 1 wraps around to NO_ROW.
  for (let i = 0; i < rows.length; i++) rows[i] = batch.items[i]! - 1;
  return rows;
}

/**
 * The rows of an item table for every event of a batch, [B, T, d], zero where padded.
 * @param rows as `eventRows` gives them
 */
export function gatherEmbedded(batch: SequenceBatch, table: Matrix, rows = eventRows(batch)): tf.Tensor3D {
  const { size, length } = batch;
  const { data } = gatherRows(table, rows, allocateValues(size * length * table.cols));
  return tensorOf(data, [size, length, table.cols]) as tf.Tensor3D;
}

/** [B * T] 1 for an event, 0 for padding. */
export function visibleEvents({ size, length, lengths }: SequenceBatch): Float32Array {
  const visible = new Float32Array(size * length);
  for (let b = 0; b < size; b++) visible.fill(1, b * length, b * length + lengths[b]!);
  return visible;
}

/** [B * P * count] 1 for all interests of a position that is used. */
export function everyInterest({ positions }: SequenceBatch, count: number): Uint8Array {
  const present = new Uint8Array(positions.length * count);
  for (let i = 0; i < positions.length; i++) if (positions[i]! >= 0) present.fill(1, i * count, (i + 1) * count);
  return present;
}
