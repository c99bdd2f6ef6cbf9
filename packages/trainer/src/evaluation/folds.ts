import { createRandom, hashJson, PrismrecError } from "@prismrec/core/base";
import { type Dataset, newItems, type TrainingPart, userItems } from "@prismrec/core/data";
import type { Partitions, PartitionTable } from "@prismrec/core/interests";

/** Parts that training users are divided into, one of which is held out at a time. */
export const FOLDS = 5;

/** Data to learn from, with clusters of what may be read of them where there are any. */
export interface FoldInput {
  readonly dataset: Dataset;
  readonly partitions?: Partitions;
}

/** One part of the training users held out. */
export interface Fold {
  /** The other training users, with validation and test users as they were. */
  readonly learn: FoldInput;
  /** The same with the part as its validation users, each one's events cut into history and targets. */
  readonly judge: FoldInput;
}

export interface FoldOptions {
  /** Leading share of a held-out user's events that is history (default 0.8, rounded down). */
  readonly historyShare?: number;
  /** Draws who is in which part (default 1). */
  readonly seed?: number;
}

/**
 * Holds part `fold` (0 to FOLDS - 1) of the training users of a user-disjoint split out, so that more users than the
 * validation part's can say what is good. Item counts are those of the others; the vocabulary and its ids stay.
 *
 * @throws PrismrecError INVALID_ARGUMENT for another split, whose training users are asked already, or no such part
 */
export function holdOut({ dataset, partitions }: FoldInput, fold: number, options: FoldOptions = {}): Fold {
  const { historyShare = 0.8, seed = 1 } = options;
  const { split, log, catalog } = dataset;
  if (split.protocol !== "user-disjoint" || !(Number.isInteger(fold) && fold >= 0 && fold < FOLDS)) {
    throw new PrismrecError("INVALID_ARGUMENT", "no such part of the training users can be held out", {
      expected: `a part from 0 to ${FOLDS - 1} of a user-disjoint split`,
      received: `part ${fold} of a ${split.protocol} split`,
    });
  }
  const { users, ends } = split.train;
  const drawn = createRandom(seed, "folds").shuffle(Uint32Array.from(users.keys()));
  const rows = drawn.filter((_, place) => place % FOLDS === fold).sort();
  const out = new Set(rows);
  const others = Uint32Array.from(users.keys()).filter((row) => !out.has(row));
  const historyOf = (row: number): number => Math.floor(historyShare * ends[row]! + 1e-9);
  const asked = rows.filter((row) => {
    const items = userItems(log, users[row]!).subarray(0, ends[row]);
    const end = historyOf(row);
    return end > 0 && newItems(items.subarray(0, end), items.subarray(end)).length > 0;
  });
  const historyEnds = asked.map(historyOf);
  const train: TrainingPart = { users: others.map((row) => users[row]!), ends: others.map((row) => ends[row]!) };
  const learned: Dataset = {
    ...dataset,
    fingerprint: hashJson({ dataset: dataset.fingerprint, fold, of: FOLDS, seed }),
    catalog: { ...catalog, popularity: popularityOf(log, train, catalog.size) },
    split: { ...split, train },
  };
  const judged = { users: asked.map((row) => users[row]!), historyEnds, targetEnds: asked.map((row) => ends[row]!) };
  const [trainTable, heldOut] =
    partitions === undefined
      ? []
      : [
          rowsOf(
            partitions.train,
            others,
            others.map((row) => ends[row]!),
          ),
          rowsOf(partitions.train, asked, historyEnds),
        ];
  return {
    learn: {
      dataset: learned,
      ...(trainTable === undefined ? {} : { partitions: { ...partitions!, train: trainTable } }),
    },
    judge: {
      dataset: { ...learned, split: { ...learned.split, valid: judged } },
      ...(trainTable === undefined ? {} : { partitions: { ...partitions!, train: trainTable, valid: heldOut! } }),
    },
  };
}

/** [N + 1] how many users of a part have each item. */
function popularityOf(log: Dataset["log"], { users, ends }: TrainingPart, size: number): Uint32Array {
  const counts = new Uint32Array(size + 1);
  users.forEach((user, j) => {
    for (const item of new Set(userItems(log, user).subarray(0, ends[j]))) counts[item]!++;
  });
  return counts;
}

/** Some rows of a table, each cut to its leading events. */
function rowsOf(table: PartitionTable, rows: Uint32Array, lengths: Uint32Array): PartitionTable {
  const indptr = new Uint32Array(rows.length + 1);
  lengths.forEach((length, n) => {
    indptr[n + 1] = indptr[n]! + length;
  });
  const assign = new Int16Array(indptr[rows.length]!);
  rows.forEach((row, n) => {
    const from = table.indptr[row]!;
    assign.set(table.assign.subarray(from, from + lengths[n]!), indptr[n]!);
  });
  return { ...table, indptr, assign, labels: Array.from(rows, (row) => table.labels[row]!) };
}
