import { readdir } from "node:fs/promises";
import { beforeAll, expect, it } from "vitest";
import { modelBytes } from "../testing/stored-runs.js";
import { TemporaryFolder, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import { type TrainInput, train } from "../training/train.js";
import { IN_USE, tune } from "./tune.js";

let input: TrainInput;
beforeAll(async () => {
  input = await tinyInput();
});

const stopping = { epochs: 8, patience: 8 };
/** Learns next to nothing in so few steps. */
const slow = () => tinyConfig("mixture", { stopping, optimizer: { learningRate: 1e-5 } });
const fast = (learningRate = 1e-2) => tinyConfig("mixture", { stopping, optimizer: { learningRate } });

it("chooses what is better by more than its error, and keeps that training alone", async () => {
  await using folder = await TemporaryFolder.create();
  const candidates = [
    { key: "slower", config: tinyConfig("mixture", { stopping, optimizer: { learningRate: 1e-6 } }) },
    { key: "fast", config: fast() },
    {
      key: "out-of-range",
      config: tinyConfig("mixture", { stopping, optimizer: { learningRate: 1e30, clipNorm: 1e30 } }),
    },
  ];
  const found = await tune(input, slow(), candidates, { dir: folder.path, budget: 2 });
  expect(found.chosen).toBe("fast");
  const trials = new Map(found.trials.map((trial) => [trial.key, trial]));
  expect([...trials.keys()]).toEqual([IN_USE, "slower", "fast", "out-of-range"]);
  const { difference } = trials.get("fast")!;
  expect(difference!.mean).toBeGreaterThan(difference!.standardError);
  expect(trials.get("slower")).toMatchObject({ epochs: 2 });
  expect(trials.get("slower")!.difference).toBeUndefined();
  expect(trials.get("out-of-range")!.value).toBeNull();
  const own = trials.get(IN_USE)!;
  expect(own).toMatchObject({ epochs: 8 });
  expect(found.steps).toBeLessThanOrEqual(3 * own.steps);
  expect((await readdir(folder.path)).sort()).toEqual(["fast"]);
  // What is kept goes on as the training that it is.
  const rest = await train(input, fast(), { dir: folder.in("fast") });
  const whole = await train(input, fast(), { dir: folder.in("whole") });
  expect(rest.curve).toEqual(whole.curve);
  expect(await modelBytes(folder.in("fast"))).toEqual(await modelBytes(folder.in("whole")));
});

it("stays with what is in use where nothing is better", async () => {
  await using folder = await TemporaryFolder.create();
  const found = await tune(input, fast(), [{ key: "slow", config: slow() }], { dir: folder.path, budget: 2 });
  expect(found.chosen).toBeNull();
  expect(found.trials[1]!.difference!.mean).toBeLessThan(0);
  expect(await readdir(folder.path)).toEqual([IN_USE]);
});

it.each([
  [1, 2],
  [8, 0],
  [8, 0.5],
])("keeps to its budget: %i epochs, %d trainings", async (epochs, budget) => {
  await using folder = await TemporaryFolder.create();
  const short = (rate: number) =>
    tinyConfig("mixture", { stopping: { epochs, patience: epochs }, optimizer: { learningRate: rate } });
  const candidates = Array.from({ length: 5 }, (_, n) => ({ key: `c${n}`, config: short(1e-3 * (n + 1)) }));
  const { trials, steps } = await tune(input, short(1e-4), candidates, { dir: folder.path, budget });
  expect(steps).toBeLessThanOrEqual((1 + budget) * trials[0]!.steps);
});

it("goes on after an interruption and finds the same", async () => {
  await using folder = await TemporaryFolder.create();
  const candidates = [0.002, 0.01].map((rate) => ({ key: `rate-${rate * 1000}`, config: fast(rate) }));
  const whole = await tune(input, slow(), candidates, { dir: folder.in("whole"), budget: 2 });
  for (const step of [3, 22]) {
    let steps = 0;
    const stop = new AbortController();
    const stopped = tune(input, slow(), candidates, {
      dir: folder.in("parts"),
      budget: 2,
      signal: stop.signal,
      onEvent: (_key, _config, event) => {
        if (event.type === "step" && ++steps === step) stop.abort(new Error("enough"));
      },
    });
    await expect(stopped).rejects.toThrow("enough");
  }
  expect(await tune(input, slow(), candidates, { dir: folder.in("parts"), budget: 2 })).toEqual(whole);
});

it("refuses a dataset without validation users", async () => {
  await using folder = await TemporaryFolder.create();
  const { split } = input.dataset;
  const nobody = { users: new Uint32Array(0), historyEnds: new Uint32Array(0), targetEnds: new Uint32Array(0) };
  const dataset = { ...input.dataset, split: { ...split, valid: nobody } };
  await expect(tune({ dataset }, slow(), [], { dir: folder.path, budget: 2 })).rejects.toMatchObject({
    code: "DATA_EMPTY",
  });
});
