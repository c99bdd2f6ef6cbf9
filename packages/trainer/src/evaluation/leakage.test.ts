import { applySplit, type CrowdSet, createLog, type Dataset } from "@prismrec/core/data";
import type { Partitions, PartitionTable } from "@prismrec/core/interests";
import { beforeAll, describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { tinyInput } from "../testing/tiny-input.js";
import { checkNoLeakage } from "./leakage.js";

let input: { readonly dataset: Dataset; readonly partitions: Partitions; readonly crowd: CrowdSet };

beforeAll(async () => {
  input = await tinyInput();
});

const leakage = expect.objectContaining({ code: "LEAKAGE" });

/** The table with one more event in row `r`: the first of what is hidden. */
function lengthened(table: PartitionTable, r: number): PartitionTable {
  const end = table.indptr[r + 1]!;
  const assign = Int16Array.from([...table.assign.subarray(0, end), 0, ...table.assign.subarray(end)]);
  return { ...table, assign, indptr: table.indptr.map((at, i) => (i > r ? at + 1 : at)) };
}

describe("checkNoLeakage", () => {
  it("passes what was made from visible events, and says what it looked at", () => {
    const { dataset, partitions, crowd } = input;
    expect(checkNoLeakage(dataset, partitions, crowd).checked).toHaveLength(3);
    expect(checkNoLeakage(dataset).checked).toHaveLength(1);
  });

  it.each(["valid", "test"] as const)("refuses a %s user's target inside the partition", (part) => {
    const { dataset, partitions } = input;
    const leaking = { ...partitions, [part]: lengthened(partitions[part], 3) };
    expect(() => checkNoLeakage(dataset, leaking)).toThrowError(leakage);
    expect(() => checkNoLeakage(dataset, leaking)).toThrowError(new RegExp(`${part} partition in row 3`));
  });

  it("refuses partitions of other users", () => {
    const { dataset, partitions } = input;
    const swapped = { ...partitions, valid: partitions.test, test: partitions.valid };
    expect(() => checkNoLeakage(dataset, swapped)).toThrowError(leakage);
  });

  it("refuses a synthesized user with a test user among its members", () => {
    const { dataset, partitions, crowd } = input;
    const spy = dataset.split.test.users[5]!;
    const members = crowd.members.map((own, s) => (s === 1 ? Uint32Array.from([...own, spy]) : own));
    expect(() => checkNoLeakage(dataset, partitions, { ...crowd, members })).toThrowError(leakage);
    expect(() => checkNoLeakage(dataset, partitions, { ...crowd, members })).toThrowError(
      new RegExp(`member ${dataset.log.userIds[spy]}`),
    );
  });

  it("refuses a synthesized user with an item that its members never trained on", () => {
    const { dataset, crowd } = input;
    const { log, catalog } = dataset;
    const held = new Set(
      Array.from(crowd.members[0]!, (user) => [...log.items.subarray(log.indptr[user]!, log.indptr[user + 1]!)]).flat(),
    );
    const foreign = Array.from({ length: catalog.size }, (_, i) => i + 1).find((item) => !held.has(item))!;
    const items = crowd.items.slice();
    items[0] = foreign;
    expect(() => checkNoLeakage(dataset, undefined, { ...crowd, items })).toThrowError(leakage);
  });

  it("refuses a user who both trains and is evaluated, where users are to be disjoint", () => {
    const { dataset } = input;
    const users = dataset.split.test.users.slice();
    users[0] = dataset.split.train.users[0]!;
    const split = { ...dataset.split, test: { ...dataset.split.test, users } };
    expect(() => checkNoLeakage({ ...dataset, split })).toThrowError(leakage);
  });

  it("lets a user train on the events before the targets, and on no later ones, where users are shared", () => {
    const base = handMade([
      [1, 2, 3, 4],
      [4, 3, 2, 1],
    ]);
    const shared = (end: number): Dataset => ({
      ...base,
      split: {
        protocol: "leave-one-out",
        train: { users: Uint32Array.of(0, 1), ends: Uint32Array.of(end, 2) },
        valid: { users: Uint32Array.of(0), historyEnds: Uint32Array.of(2), targetEnds: Uint32Array.of(3) },
        test: { users: Uint32Array.of(0), historyEnds: Uint32Array.of(3), targetEnds: Uint32Array.of(4) },
      },
    });
    expect(() => checkNoLeakage(shared(2))).not.toThrow();
    expect(() => checkNoLeakage(shared(3))).toThrowError(leakage);
    // An item of the same user that is a target is no training event of a clique.
    const crowd = (item: number): CrowdSet => ({
      fingerprint: "by hand",
      indptr: Uint32Array.of(0, 1),
      items: Uint32Array.of(item),
      clusters: Int16Array.of(0),
      labels: [["a"]],
      members: [Uint32Array.of(0)],
    });
    expect(() => checkNoLeakage(shared(2), undefined, crowd(2))).not.toThrow();
    expect(() => checkNoLeakage(shared(2), undefined, crowd(3))).toThrowError(leakage);
  });

  it("refuses under a temporal split what is learned from a time that is asked about, of another user too", () => {
    const log = createLog({
      userIds: ["early", "both", "late"],
      indptr: Uint32Array.of(0, 3, 7, 10),
      items: Uint32Array.of(1, 2, 3, 1, 2, 3, 4, 2, 3, 4),
      timestamps: BigInt64Array.of(1n, 2n, 3n, 1n, 4n, 10n, 20n, 5n, 11n, 21n),
    });
    const { split } = applySplit(log, { protocol: "temporal", trainShare: 0.6, validShare: 0.2 });
    const dataset = { ...input.dataset, log, split };
    expect(checkNoLeakage(dataset).checked).toContain("no training event is as late as any target");
    // Its own targets come later still, but those of `both` do not.
    const users = Uint32Array.of(0, 2);
    const whole = {
      ...split,
      train: { users, ends: Uint32Array.of(3, 2) },
      valid: {
        ...split.valid,
        users: Uint32Array.of(1),
        historyEnds: Uint32Array.of(2),
        targetEnds: Uint32Array.of(3),
      },
    };
    expect(() => checkNoLeakage({ ...dataset, split: whole })).toThrowError(/later than valid targets of user both/);
  });
});
