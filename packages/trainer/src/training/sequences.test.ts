import type { PartitionTable } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { trainingSequences } from "./sequences.js";

const table = (rows: readonly (readonly number[])[]): PartitionTable => ({
  clusterer: "by hand",
  fingerprint: "by hand",
  indptr: Uint32Array.from([0, ...rows.map((_, r) => rows.slice(0, r + 1).flat().length)]),
  assign: Int16Array.from(rows.flat()),
  labels: rows.map(() => []),
});

describe("trainingSequences", () => {
  const dataset = handMade([[1, 2, 3], [4], [2, 4, 1]], { test: [[3, 4]] });

  it("holds the visible events of training users with something to predict, and nobody else's", () => {
    const visible = { ...dataset.split.train, ends: Uint32Array.of(3, 1, 2) };
    const sequences = trainingSequences(
      { ...dataset, split: { ...dataset.split, train: visible } },
      table([[0, 1, 0], [5], [2, 2]]),
    );
    expect(sequences.count).toBe(2);
    expect([...sequences.indptr]).toEqual([0, 3, 5]);
    expect([...sequences.items]).toEqual([1, 2, 3, 2, 4]);
    expect([...sequences.clusters]).toEqual([0, 1, 0, 2, 2]);
  });

  it("has no clusters without a partition", () => {
    expect([...trainingSequences(dataset).clusters]).toEqual([-1, -1, -1, -1, -1, -1]);
  });

  it("refuses a partition of other rows", () => {
    const error = expect.objectContaining({ code: "SHAPE_MISMATCH" });
    expect(() => trainingSequences(dataset, table([[0, 1, 0], [0]]))).toThrowError(error);
    expect(() => trainingSequences(dataset, table([[0, 1], [0], [0, 0, 0, 0]]))).toThrowError(error);
  });

  it("refuses data from which nothing can be learned", () => {
    expect(() => trainingSequences(handMade([[1], [2]]))).toThrowError(expect.objectContaining({ code: "DATA_EMPTY" }));
  });
});
