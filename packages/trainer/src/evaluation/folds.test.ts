import { evaluationCases, userItems } from "@prismrec/core/data";
import { describe, expect, it } from "vitest";
import { tinyInput } from "../testing/tiny-input.js";
import { evaluationHistories } from "./evaluate.js";
import { FOLDS, holdOut } from "./folds.js";
import { checkNoLeakage } from "./leakage.js";

const { dataset, partitions } = await tinyInput();
const folds = Array.from({ length: FOLDS }, (_, fold) => holdOut({ dataset, partitions }, fold));

describe("parts of the training users that are held out", () => {
  it("hold every training user once, and leave all others to learn from", () => {
    const { users } = dataset.split.train;
    const heldOut = folds.flatMap(({ learn }) => {
      const learned = new Set(learn.dataset.split.train.users);
      return [...users].filter((user) => !learned.has(user));
    });
    expect(heldOut.sort((a, b) => a - b)).toEqual([...users].sort((a, b) => a - b));
    const sizes = folds.map(({ learn }) => users.length - learn.dataset.split.train.users.length);
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
  });

  it("are asked for the end of what they have, which nothing that is learned from shows", () => {
    for (const { learn, judge } of folds) {
      expect(() => checkNoLeakage(learn.dataset, learn.partitions)).not.toThrow();
      expect(() => checkNoLeakage(judge.dataset, judge.partitions)).not.toThrow();
      expect(learn.dataset.split.valid).toEqual(dataset.split.valid);
      for (const { user, history, targets } of evaluationCases(judge.dataset, "valid")) {
        const items = userItems(dataset.log, user);
        expect(history).toEqual(items.subarray(0, Math.floor(0.8 * items.length)));
        expect(targets.length).toBeGreaterThan(0);
      }
      const counts = new Uint32Array(dataset.catalog.size + 1);
      for (const user of learn.dataset.split.train.users) {
        for (const item of new Set(userItems(dataset.log, user))) counts[item]!++;
      }
      expect(learn.dataset.catalog.popularity).toEqual(counts);
    }
    expect(new Set(folds.map(({ learn }) => learn.dataset.fingerprint)).size).toBe(FOLDS);
  });

  it("keep the clusters of the events that may be read", () => {
    const clustersOf = new Map(
      Array.from(dataset.split.train.users, (user, row) => {
        const { indptr, assign } = partitions.train;
        return [user, assign.subarray(indptr[row]!, indptr[row + 1]!)] as const;
      }),
    );
    for (const { learn, judge } of folds) {
      const { train } = learn.partitions!;
      for (const [row, user] of learn.dataset.split.train.users.entries()) {
        expect(train.assign.subarray(train.indptr[row]!, train.indptr[row + 1]!)).toEqual(clustersOf.get(user));
      }
      const { valid } = judge.dataset.split;
      const histories = evaluationHistories(judge.dataset, valid, "valid", judge.partitions!.valid);
      for (const [row, { items, clusters }] of histories.entries()) {
        expect(clusters).toEqual(clustersOf.get(valid.users[row]!)!.subarray(0, items.length));
      }
    }
  });

  it("are drawn by the seed, and there are none where training users are asked already", () => {
    expect(holdOut({ dataset }, 0)).toEqual(holdOut({ dataset }, 0));
    expect(holdOut({ dataset }, 0, { seed: 2 }).judge.dataset.split.valid.users).not.toEqual(
      folds[0]!.judge.dataset.split.valid.users,
    );
    const other = { ...dataset, split: { ...dataset.split, protocol: "leave-one-out" as const } };
    for (const [given, fold] of [
      [other, 0],
      [dataset, FOLDS],
    ] as const) {
      expect(() => holdOut({ dataset: given }, fold)).toThrowError(
        expect.objectContaining({ code: "INVALID_ARGUMENT" }),
      );
    }
  });
});
