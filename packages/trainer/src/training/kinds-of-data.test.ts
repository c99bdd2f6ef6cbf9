import { fitMostPopular } from "@prismrec/core";
import type { Dataset } from "@prismrec/core/data";
import { describe, expect, it } from "vitest";
import { type ConfigOverrides, defaultTrainConfig } from "../config.js";
import { evaluate } from "../evaluation/evaluate.js";
import { KINDS_OF_DATA } from "../testing/kinds-of-data.js";
import { modelBytes, stopAfter } from "../testing/stored-runs.js";
import { TemporaryFolder } from "../testing/tiny-input.js";
import { train } from "./train.js";

const DRAWS = [1, 2, 3];
const METRICS = ["recall@20", "ndcg@20"];
const SMALL = { network: { dim: 16, maxHistory: 20 }, batchSize: 32, optimizer: { learningRate: 3e-3 } };
const MODELS: readonly (readonly [string, ConfigOverrides])[] = [
  ["ldmi", { ...SMALL, stopping: { epochs: 6 } }],
  ["comirec-sa", { ...SMALL, optimizer: { learningRate: 1e-2 }, stopping: { epochs: 25 } }],
];

describe.each(Object.entries(KINDS_OF_DATA))("%s", (kind, draw) => {
  it.each(MODELS)("are learned from: %s is above popularity on every draw", async (model, overrides) => {
    for (const seed of DRAWS) {
      await using folder = await TemporaryFolder.create();
      const dataset = draw(seed);
      const orders: readonly ConfigOverrides[] =
        kind === "baskets" && model === "ldmi" ? [{}, { order: "baskets" }] : [{}];
      const floor = await evaluate(fitMostPopular(dataset), dataset, { part: "test", metrics: METRICS });
      for (const [n, order] of orders.entries()) {
        const config = defaultTrainConfig(model, dataset, { ...overrides, ...order });
        const result = await train({ dataset }, config, { dir: folder.in(String(n)) });
        const own = await evaluate(result.model, dataset, { part: "test", metrics: METRICS });
        expect(result.curve.every(({ loss }) => Number.isFinite(loss))).toBe(true);
        for (const metric of METRICS) {
          expect(own.metrics[metric], `${metric} of draw ${seed}`).toBeGreaterThan(floor.metrics[metric]!);
        }
      }
    }
  });
});

describe("an order that epochs draw", () => {
  it.each<[string, Dataset]>([
    ["permuted", KINDS_OF_DATA["no order"](1)],
    ["baskets", KINDS_OF_DATA.baskets(1)],
  ])("is the same after a stop in the middle of an epoch (%s)", async (order, dataset) => {
    await using folder = await TemporaryFolder.create();
    const config = defaultTrainConfig("ldmi", dataset, { ...SMALL, order, stopping: { epochs: 3 } });
    const whole = await train({ dataset }, config, { dir: folder.in("whole") });
    const steps = whole.steps / 3;
    const dir = folder.in("parts");
    for (const stop of [Math.floor(steps / 2), steps + 1]) {
      expect((await train({ dataset }, config, stopAfter(stop, dir))).stoppedBy).toBe("signal");
    }
    expect((await train({ dataset }, config, { dir })).stoppedBy).toBe("epochs");
    expect(await modelBytes(dir)).toEqual(await modelBytes(folder.in("whole")));

    const given = defaultTrainConfig("ldmi", dataset, { ...SMALL, order: "given", stopping: { epochs: 3 } });
    await train({ dataset }, given, { dir: folder.in("given") });
    expect(await modelBytes(folder.in("given"))).not.toEqual(await modelBytes(dir));
  });
});

describe("the order by default", () => {
  it("is permuted where the data have none, for recipes that read positions", () => {
    const [ordered, unordered] = [KINDS_OF_DATA["few users"](1), KINDS_OF_DATA["no order"](1)];
    expect(defaultTrainConfig("ldmi", unordered)).toMatchObject({ order: "permuted" });
    expect(defaultTrainConfig("ldmi", unordered, { order: "given" })).toMatchObject({ order: "given" });
    expect(defaultTrainConfig("ldmi", ordered)).not.toHaveProperty("order");
    expect(defaultTrainConfig("comirec-sa", unordered)).not.toHaveProperty("order");
  });

  it("is never baskets, which data without times do not have", () => {
    const [timed, untimed] = [KINDS_OF_DATA.baskets(1), KINDS_OF_DATA.repeats(1)];
    expect(defaultTrainConfig("ldmi", timed)).not.toHaveProperty("order");
    expect(defaultTrainConfig("ldmi", timed, { order: "baskets" })).toMatchObject({ order: "baskets" });
    expect(() => defaultTrainConfig("ldmi", untimed, { order: "baskets" })).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", received: "events without times" }),
    );
  });
});
