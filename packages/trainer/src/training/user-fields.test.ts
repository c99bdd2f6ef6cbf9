import { createRandom } from "@prismrec/core/base";
import { type Column, type Dataset, textColumn } from "@prismrec/core/data";
import { createNetwork, networkConfig } from "@prismrec/core/models";
import type { UserField } from "@prismrec/core/nn";
import { describe, expect, it } from "vitest";
import { defaultTrainConfig } from "../config.js";
import { handMade } from "../testing/hand-made.js";
import { CutBatches } from "./batches/cuts.js";
import { PositionBatches } from "./batches/positions.js";
import { RunSeeds } from "./seeds.js";
import { trainingSequences } from "./sequences.js";

/** The first item of each sequence tells whose it is; the third user has nothing to learn from. */
const bare = handMade([[1, 5, 6], [2, 5], [3], [4, 6, 5, 7]]);
const dataset: Dataset = {
  ...bare,
  log: {
    ...bare.log,
    profile: new Map<string, Column>([
      ["country", textColumn(["DE", "FR", "IT", ""])],
      ["age", { kind: "number", values: Float64Array.of(18, Number.NaN, 50, 35) }],
    ]),
  },
};
const userFields: UserField[] = [
  { kind: "category", name: "country", vocabulary: ["", "FR", "DE"] },
  { kind: "number", name: "age" },
];

describe.each([
  ["positions", "sasrec"],
  ["cuts", "comirec-sa"],
] as const)("batches of %s", (kind, model) => {
  const network = createNetwork(networkConfig({ model }));
  const reading = Object.assign(createNetwork(networkConfig({ model })), { userFields });
  const config = defaultTrainConfig(model, dataset, { batchSize: 8 });
  const draw = (reader: typeof network, data: Dataset) => {
    const sequences = trainingSequences(data, undefined, reader);
    const Source = kind === "positions" ? PositionBatches : CutBatches;
    const source = new Source(config as never, reader, sequences, 7, new RunSeeds(1));
    source.beginEpoch(1);
    const { batch, targets } = source.draw(0, createRandom(2));
    return { batch, targets };
  };

  it("have the profile of each user", () => {
    const { batch } = draw(reading, dataset);
    const whose = new Map([
      [1, [2, 18]],
      [2, [1, Number.NaN]],
      [4, [0, 35]],
    ]);
    const found = Array.from({ length: batch.size }, (_, b) => [
      batch.items[b * batch.length + batch.lengths[b]! - 1]!,
      [batch.userFields!.categories.get("country")![b], batch.userFields!.numbers.get("age")![b]],
    ]);
    expect(new Map(found as never)).toEqual(whose);
  });

  it("say that nothing is known where there is no users file", () => {
    const { userFields: fields } = draw(reading, bare).batch;
    expect(fields!.categories.get("country")).toEqual(new Uint32Array(3));
    expect(fields!.numbers.get("age")).toEqual(new Float64Array(3).fill(Number.NaN));
  });

  it("are the same bits for a network that reads none", () => {
    const plain = draw(network, bare);
    expect(draw(network, dataset)).toEqual(plain);
    const { userFields: _, ...rest } = draw(reading, dataset).batch;
    expect(rest).toEqual(plain.batch);
  });
});
