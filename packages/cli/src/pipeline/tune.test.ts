import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { fit } from "../api/fit.js";
import { open } from "../api/open.js";
import { smallRows } from "../testing/small-data.js";
import { openRun } from "./run.js";
import { stagesOf } from "./stages.js";
import type { TuneResult } from "./tune.js";

const LIMIT = 240_000;
const data = smallRows();
const train = { stopping: { epochs: 8, patience: 8 }, network: { dim: 8 }, batchSize: 32 };
// With a prior to choose, so few users would leave nothing to settings.
const SETTINGS = { clusterer: "category", baselines: [], prior: "none", train };
let folder = "";
const inside = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-tune-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function resultOf(dir: string): Promise<TuneResult> {
  return JSON.parse(await readFile(join(inside(dir), "tune", "tune.json"), "utf8"));
}

async function configOf(dir: string) {
  return JSON.parse(await readFile(join(inside(dir), "train-ldmi", "curve.json"), "utf8")).config;
}

it(
  "tries the recipe's alternatives but for what the user has settled, and training takes up what is chosen",
  async () => {
    const settings = { ...SETTINGS, train: { ...train, dropout: 0.4, optimizer: { learningRate: 0.01 } } };
    await using shop = await fit(data, { dir: inside("own"), settings });
    const { rounds, chosen, settings: found } = await resultOf("own");
    expect(rounds).toHaveLength(1);
    const names = rounds[0]!.trials.map(({ name }) => name);
    expect(names.slice(0, 3)).toEqual(["in-use", "no crowd", "no semantic interests"]);
    expect(names.some((name) => name.startsWith("dropout"))).toBe(false);
    expect(rounds[0]!.steps).toBeLessThanOrEqual(3 * rounds[0]!.trials[0]!.steps);
    expect(await configOf("own")).toMatchObject({ ...found, dropout: 0.4 });
    expect(chosen.length).toBeLessThanOrEqual(1);
    await using again = await open(inside("own"));
    expect(await again.recommend("u5")).toEqual(await shop.recommend("u5"));
  },
  LIMIT,
);

it(
  "takes a space of one's own, and another training goes by what it found",
  async () => {
    const dir = inside("space");
    const settings = {
      ...SETTINGS,
      prior: "auto",
      train: { ...train, optimizer: { learningRate: 1e-5 } },
      space: { "network.interests": [4], dropout: [0.3, 0.2] },
    };
    {
      await using run = await openRun(dir, {
        ...settings,
        interactions: inside("own/inputs/interactions.jsonl"),
        items: inside("own/inputs/items.jsonl"),
      });
      await run.run({ to: "tune" });
    }
    // Dropout .3 with four interests is what is in use.
    expect((await resultOf("space")).rounds[0]!.trials.map(({ name }) => name)).toEqual([
      "in-use",
      "network.interests 4, dropout 0.2",
    ]);
    await using bad = await openRun(inside("bad"), {
      ...settings,
      space: { "network.interest": [4] },
      interactions: inside("own/inputs/interactions.jsonl"),
      items: inside("own/inputs/items.jsonl"),
    });
    await expect(bad.run({ to: "tune" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  },
  LIMIT,
);

it(
  "goes on where a killed search stopped, with the same choice and the same model",
  async () => {
    const interactions = inside("own/inputs/interactions.jsonl");
    const settings = { ...SETTINGS, interactions, items: inside("own/inputs/items.jsonl") };
    const stop = new AbortController();
    let steps = 0;
    {
      await using run = await openRun(inside("stopped"), settings, {
        signal: stop.signal,
        onEvent: (event) => {
          if (event.type === "training" && event.event.type === "step" && ++steps === 40)
            stop.abort(new Error("enough"));
        },
      });
      await expect(run.run({ to: "train" })).rejects.toThrow("enough");
    }
    for (const dir of ["stopped", "whole"]) {
      await using run = await openRun(inside(dir), settings);
      await run.run({ to: "train" });
    }
    expect(await resultOf("stopped")).toEqual(await resultOf("whole"));
    const model = (dir: string) => readFile(join(inside(dir), "train-ldmi", "model", "tensors.safetensors"));
    expect(await model("stopped")).toEqual(await model("whole"));
    // Trainings that were not chosen are gone.
    const left = await readdir(join(inside("whole"), "tune", "round-1"));
    expect(left).toHaveLength(1);
  },
  LIMIT,
);

it(
  "thorough goes on from what it has chosen; quick and the paper's preset choose nothing",
  async () => {
    const names = (over: object) =>
      stagesOf({
        model: "ldmi",
        baselines: [],
        trainAll: false,
        prior: "auto",
        effort: "standard",
        ...over,
      } as never).map(({ name }) => name);
    expect(names({})).toEqual([
      "import",
      "cluster",
      "crowd",
      "tune",
      "train-ldmi",
      "prior",
      "evaluate",
      "index",
      "report",
    ]);
    expect(names({ effort: "quick" })).not.toContain("tune");
    expect(names({ preset: "paper" })).toEqual([
      "import",
      "cluster",
      "crowd",
      "train-ldmi",
      "evaluate",
      "index",
      "report",
    ]);
    expect(names({ model: "ease" })).toEqual([
      "import",
      "cluster",
      "crowd",
      "train-ease",
      "evaluate",
      "index",
      "report",
    ]);
    await using shop = await fit(data, {
      dir: inside("thorough"),
      settings: { ...SETTINGS, effort: "thorough", train: { ...train, stopping: { epochs: 4, patience: 4 } } },
    });
    expect(shop.model).toBe("ldmi");
    const { rounds, chosen, settings } = await resultOf("thorough");
    const spent = rounds.reduce(
      (sum, { steps, trials }) => sum + steps - trials[0]!.steps,
      rounds[0]!.trials[0]!.steps,
    );
    expect(spent).toBeLessThanOrEqual(9 * rounds[0]!.trials[0]!.steps);
    expect(rounds.length).toBe(
      Math.max(1, chosen.length + (rounds.at(-1)!.chosen === null && chosen.length > 0 ? 1 : 0)),
    );
    expect(await configOf("thorough")).toMatchObject(settings);
  },
  LIMIT,
);
