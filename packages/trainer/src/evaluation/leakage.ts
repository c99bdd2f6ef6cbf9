import { PrismrecError } from "@prismrec/core/base";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { Partitions, PartitionTable } from "@prismrec/core/interests";

/** What was checked, for the report. */
export interface LeakageReport {
  readonly checked: readonly string[];
}

/**
 * Refuses anything learned or read from what a split hides: partitions must cover exactly the visible events of each
 * user, cliques must consist of training users, and a synthesized user may hold only items that its members' training
 * events hold. Under a temporal split every training event comes before every target.
 *
 * @throws PrismrecError LEAKAGE
 */
export function checkNoLeakage(dataset: Dataset, partitions?: Partitions, crowd?: CrowdSet): LeakageReport {
  const { split, log } = dataset;
  const checked: string[] = [];
  if (split.protocol === "user-disjoint") {
    const training = new Set(split.train.users);
    for (const part of ["valid", "test"] as const) {
      const shared = split[part].users.find((user) => training.has(user));
      if (shared !== undefined) throw leak(`user ${log.userIds[shared]} both trains and is in the ${part} part`);
    }
    checked.push("training, validation and test users are disjoint");
  } else {
    checked.push("training events end before any target of the same user");
    for (const part of ["valid", "test"] as const) checkTargetsUnseen(dataset, part);
    if (split.protocol === "temporal") {
      checkTime(dataset);
      checked.push("no training event is as late as any target");
    }
  }
  if (partitions !== undefined) {
    checkVisible(partitions.train, split.train.ends, "train");
    checkVisible(partitions.valid, split.valid.historyEnds, "valid");
    checkVisible(partitions.test, split.test.historyEnds, "test");
    checked.push("partitions cover visible events only");
  }
  if (crowd !== undefined) {
    checkCrowd(dataset, crowd);
    checked.push("synthesized users come from training events only");
  }
  return { checked };
}

function checkTargetsUnseen({ split, log }: Dataset, part: "valid" | "test"): void {
  const ends = new Map(Array.from(split.train.users, (user, r) => [user, split.train.ends[r]!]));
  const rows = split[part];
  rows.users.forEach((user, r) => {
    if ((ends.get(user) ?? 0) > rows.historyEnds[r]!) {
      throw leak(`training reads events of user ${log.userIds[user]} that are ${part} targets`);
    }
  });
}

/** Sequences stand in the order of time: the last training event and the first target of each user decide. */
function checkTime({ split, log }: Dataset): void {
  const { timestamps, indptr, userIds } = log;
  if (timestamps === undefined) throw leak("a temporal split without times cannot be checked");
  const { users, ends } = split.train;
  let latest: bigint | undefined;
  users.forEach((user, r) => {
    const time = timestamps[indptr[user]! + ends[r]! - 1]!;
    if (latest === undefined || time > latest) latest = time;
  });
  for (const part of ["valid", "test"] as const) {
    split[part].users.forEach((user, r) => {
      if (latest !== undefined && timestamps[indptr[user]! + split[part].historyEnds[r]!]! <= latest) {
        throw leak(`training reads events that are later than ${part} targets of user ${userIds[user]}`);
      }
    });
  }
}

function checkVisible(table: PartitionTable, visible: Uint32Array, part: string): void {
  for (let r = 0; r < visible.length; r++) {
    const covered = table.indptr[r + 1]! - table.indptr[r]!;
    if (covered > visible[r]!) {
      throw leak(`the ${part} partition in row ${r} covers ${covered} events, ${visible[r]} are visible`);
    }
  }
  if (table.indptr.length !== visible.length + 1) {
    throw leak(`the ${part} partition has ${table.indptr.length - 1} rows for ${visible.length} users`);
  }
}

function checkCrowd({ split, log }: Dataset, crowd: CrowdSet): void {
  const ends = new Map(Array.from(split.train.users, (user, r) => [user, split.train.ends[r]!]));
  for (const [s, members] of crowd.members.entries()) {
    const seen = new Set<number>();
    for (const user of members) {
      const end = ends.get(user);
      if (end === undefined)
        throw leak(`synthesized user ${s} has the member ${log.userIds[user]}, who does not train`);
      const from = log.indptr[user]!;
      for (let at = from; at < from + end; at++) seen.add(log.items[at]!);
    }
    for (let at = crowd.indptr[s]!; at < crowd.indptr[s + 1]!; at++) {
      if (seen.has(crowd.items[at]!)) continue;
      throw leak(`synthesized user ${s} holds item ${crowd.items[at]}, which no training event of its members has`);
    }
  }
}

function leak(what: string): PrismrecError {
  return new PrismrecError("LEAKAGE", `evaluation data would leak into training: ${what}`, {
    hint: "Make partitions and synthesized users again from the dataset as it is split now.",
  });
}
