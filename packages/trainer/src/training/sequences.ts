import { PrismrecError } from "@prismrec/core/base";
import type { Columns, Dataset, InteractionLog, TextColumn } from "@prismrec/core/data";
import type { PartitionTable } from "@prismrec/core/interests";
import type { EventField, EventSource, FieldReader, UserPacker, UserReader } from "@prismrec/core/nn";

/** Training sequences with the semantic cluster of each event: row r holds `items[indptr[r] .. indptr[r + 1])`. */
export interface TrainingSequences extends EventSource {
  readonly count: number;
  readonly indptr: Uint32Array;
  /** dense item ids, oldest first */
  readonly items: Uint32Array;
  /** -1: none */
  readonly clusters: Int16Array;
  /** What is known of whose the sequences are: sequence r is of the user in row `rows[r]`. */
  readonly profiles?: { readonly columns: Columns; readonly rows: Uint32Array };
}

/**
 * What may be learned from: the leading `ends[r]` events of each training user. Sequences of one event have nothing to
 * predict and are left out.
 *
 * @param reader whose fields of events and users are taken along, as far as the log has them
 * @throws PrismrecError DATA_EMPTY; SHAPE_MISMATCH where the partition table belongs to another split
 */
export function trainingSequences(
  dataset: Dataset,
  partition?: PartitionTable,
  { eventFields = [], userFields = [] }: FieldReader & UserReader = {},
): TrainingSequences {
  const { log, split } = dataset;
  const { users, ends } = split.train;
  checkPartition(partition, ends, "train");
  const rows = Array.from(users.keys()).filter((r) => ends[r]! >= 2);
  const indptr = new Uint32Array(rows.length + 1);
  for (const [i, r] of rows.entries()) indptr[i + 1] = indptr[i]! + ends[r]!;
  if (rows.length === 0) {
    throw new PrismrecError("DATA_EMPTY", "no training user has two events", {
      hint: "Import more data or lower the k-core.",
    });
  }
  const items = new Uint32Array(indptr[rows.length]!);
  const clusters = new Int16Array(items.length).fill(-1);
  for (const [i, r] of rows.entries()) {
    const from = log.indptr[users[r]!]!;
    items.set(log.items.subarray(from, from + ends[r]!), indptr[i]!);
    if (partition !== undefined) {
      clusters.set(partition.assign.subarray(partition.indptr[r]!, partition.indptr[r + 1]!), indptr[i]!);
    }
  }
  return {
    count: rows.length,
    indptr,
    items,
    clusters,
    ...fieldsOf(log, users, rows, indptr, eventFields),
    ...(log.profile === undefined || userFields.length === 0
      ? {}
      : { profiles: { columns: log.profile, rows: Uint32Array.from(rows, (r) => users[r]!) } }),
  };
}

/** Writes what is known of the users of some sequences to a batch of them. */
export function packProfiles(
  packer: UserPacker | undefined,
  { profiles }: TrainingSequences,
  sequences: Uint32Array,
): void {
  if (packer === undefined || profiles === undefined) return;
  const { columns, rows } = profiles;
  sequences.forEach((sequence, b) => {
    packer.put(b, { columns, row: rows[sequence]! });
  });
}

/** The wanted fields of the sequences' events, as far as the log has them. */
function fieldsOf(
  log: InteractionLog,
  users: Uint32Array,
  rows: readonly number[],
  indptr: Uint32Array,
  fields: readonly EventField[],
): EventSource {
  // Where each sequence's events stand in the log, and where they go.
  const ranges = rows.map((r, i) => {
    const from = log.indptr[users[r]!]!;
    return { from, to: from + indptr[i + 1]! - indptr[i]!, at: indptr[i]! };
  });
  const events = indptr[rows.length]!;
  const { behaviours, timestamps, weights } = log;
  const source: { behaviours?: TextColumn; times?: BigInt64Array; weights?: Float32Array } = {};
  if (behaviours !== undefined && fields.includes("behaviour")) {
    const codes = new Uint32Array(events);
    for (const { from, to, at } of ranges) codes.set(behaviours.codes.subarray(from, to), at);
    source.behaviours = { ...behaviours, codes };
  }
  if (timestamps !== undefined && fields.includes("time")) {
    source.times = new BigInt64Array(events);
    for (const { from, to, at } of ranges) source.times.set(timestamps.subarray(from, to), at);
  }
  if (weights !== undefined && fields.includes("weight")) {
    source.weights = new Float32Array(events);
    for (const { from, to, at } of ranges) source.weights.set(weights.subarray(from, to), at);
  }
  return source;
}

/** @throws PrismrecError SHAPE_MISMATCH unless row r of the table has `lengths[r]` entries */
export function checkPartition(table: PartitionTable | undefined, lengths: Uint32Array, part: string): void {
  if (table === undefined) return;
  const fits =
    table.indptr.length === lengths.length + 1 &&
    lengths.every((length, r) => table.indptr[r + 1]! - table.indptr[r]! === length);
  if (fits) return;
  throw new PrismrecError("SHAPE_MISMATCH", `the ${part} partitions do not belong to this split`, {
    expected: `${lengths.length} rows, each as long as the user's visible history`,
    received: `${table.indptr.length - 1} rows`,
    hint: "Cluster again with the dataset as it is now.",
  });
}
