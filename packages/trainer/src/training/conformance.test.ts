import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { createRandom } from "@prismrec/core/base";
import { isNetwork, loadModel, MODELS, type NetworkDefinition } from "@prismrec/core/models";
import { fallThroughs, modelBackend, resetFallThroughs } from "@prismrec/core/nn";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type ConfigOverrides, defaultTrainConfig, mergeSettings } from "../config.js";
import { handMade } from "../testing/hand-made.js";
import { modelBytes, stopAfter } from "../testing/stored-runs.js";
import { TemporaryFolder } from "../testing/tiny-input.js";
import { popularityBias, randomItems } from "./initial-items.js";
import { Learner } from "./learner.js";
import { trainingSequences } from "./sequences.js";
import { type TrainResult, train } from "./train.js";

const NETWORKS = MODELS.filter(isNetwork);
const ITEMS = 24;

/** Walks around a circle of items: what comes next is certain, and 7 of 24 items stand in each. */
const WALKS = Array.from({ length: 2 * ITEMS }, (_, user) =>
  Array.from({ length: 6 + (user % 3) }, (_, step) => 1 + ((user + step) % ITEMS)),
);
const dataset = handMade(WALKS);

function configOf({ name, recipe }: NetworkDefinition, overrides: ConfigOverrides = {}) {
  const common = {
    network: { dim: 16, maxHistory: 10 },
    batchSize: 16,
    optimizer: { learningRate: 1e-2 },
    stopping: { epochs: 2 },
  };
  const ofRecipe = recipe.batches === "positions" ? { positions: 4, targets: 1, dropout: 0.1 } : {};
  return defaultTrainConfig(name, dataset, mergeSettings({ ...common, ...ofRecipe }, overrides));
}

const asHistory = (items: readonly number[]) => ({ items: Uint32Array.from(items) });

/** Histories of one event and of many, and one longer than the networks read. */
const READ = [[3], [24], [1, 2, 3], [9, 8, 7, 6], Array.from({ length: 13 }, (_, i) => 1 + ((5 * i) % ITEMS))];

describe.each(NETWORKS.map((definition) => [definition.name, definition] as const))("%s", (_, definition) => {
  let folder: TemporaryFolder;
  let whole: TrainResult;
  beforeAll(async () => {
    folder = await TemporaryFolder.create();
    whole = await train({ dataset }, configOf(definition), { dir: folder.in("whole") });
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it("learns a tiny set by heart", async () => {
    const config = configOf(definition, { stopping: { epochs: 120 } });
    const { model, curve } = await train({ dataset }, config, { dir: folder.in("long") });
    expect(curve.at(-1)!.loss).toBeLessThan(curve[0]!.loss);
    // Of the 18 items or so that a walk has not seen, those at either end of it are the next by position and by company.
    const { ids } = await model.rank(
      WALKS.map((walk) => asHistory(walk.slice(0, -1))),
      { k: 2 },
    );
    const found = WALKS.filter((walk, user) => ids.subarray(2 * user, 2 * user + 2).includes(walk.at(-1)!));
    expect(found.length / WALKS.length).toBeGreaterThan(0.9);
  });

  it("gives the same bytes again, and when it was stopped and resumed", async () => {
    expect(whole.steps).toBe(6);
    await train({ dataset }, configOf(definition), { dir: folder.in("again") });
    for (const step of [1, 4]) {
      const stopped = await train({ dataset }, configOf(definition), stopAfter(step, folder.in("parts")));
      expect(stopped).toMatchObject({ stoppedBy: "signal", steps: step });
    }
    const resumed = await train({ dataset }, configOf(definition), { dir: folder.in("parts") });
    expect(resumed.curve).toEqual(whole.curve);
    const bytes = await modelBytes(folder.in("whole"));
    expect(await modelBytes(folder.in("again"))).toEqual(bytes);
    expect(await modelBytes(folder.in("parts"))).toEqual(bytes);
    await train({ dataset }, configOf(definition, { seed: 2 }), { dir: folder.in("other") });
    expect((await modelBytes(folder.in("other")))["tensors.safetensors"]).not.toEqual(bytes["tensors.safetensors"]);
  });

  it("is loaded as it was saved, to the bit", async () => {
    const loaded = await loadModel(folder.in("whole", "model"), dataset.catalog);
    expect(loaded.itemVectors()).toEqual(whole.model.itemVectors());
    expect(loaded.itemBias()).toEqual(whole.model.itemBias());
    expect([...loaded.parameters]).toEqual([...whole.model.parameters]);
    const histories = READ.map(asHistory);
    expect(loaded.interests(histories)).toEqual(whole.model.interests(histories));
    expect(await loaded.rank(histories, { k: 5 })).toEqual(await whole.model.rank(histories, { k: 5 }));
  });

  it("trains on and serves histories of one event", async () => {
    const pairs = handMade(Array.from({ length: ITEMS }, (_, u) => [1 + u, 1 + ((u + 1) % ITEMS)]));
    const { model, curve } = await train({ dataset: pairs }, configOf(definition), { dir: folder.in("pairs") });
    expect(curve.every(({ loss }) => Number.isFinite(loss))).toBe(true);
    const { counts, scores } = await model.rank([asHistory([5])], { k: ITEMS });
    expect([...counts]).toEqual([ITEMS - 1]);
    expect(scores.every(Number.isFinite)).toBe(true);
  });

  it.skipIf(modelBackend() !== "prismrec")("runs no kernel in JavaScript in a step", () => {
    const random = createRandom(3);
    const lists = Array.from({ length: 32 }, (_, u) =>
      Array.from({ length: 20 + (u % 7) }, () => random.integer(1, 201)),
    );
    const large = handMade(lists);
    const config = configOf(definition, { network: { dim: 32, maxHistory: 30 }, batchSize: 32 });
    const learner = new Learner(config, {
      sequences: trainingSequences(large),
      items: randomItems(large.catalog.size, config.network.dim, config.seed),
      bias: popularityBias(large.catalog.popularity),
    });
    learner.beginEpoch(1);
    resetFallThroughs();
    learner.step(0, 0);
    expect([...fallThroughs()]).toEqual([]);
  });
});

const packageFolder = fileURLToPath(new URL("../..", import.meta.url));
const hasBuilt = existsSync(new URL("../../../core/dist/index.js", import.meta.url));

const SERVE = `
import { createCatalog } from "@prismrec/core/data";
import { loadModel } from "@prismrec/core/models";
const { dirs, ids, read } = JSON.parse(process.argv[1]);
const items = [{ id: "", title: "", categories: [] }, ...ids.map((id) => ({ id, title: "", categories: [] }))];
const catalog = createCatalog(items, new Uint32Array(items.length));
const lists = [];
for (const dir of dirs) {
  const model = await loadModel(dir, catalog);
  const { ids, scores } = await model.rank(read.map((items) => ({ items: Uint32Array.from(items) })), { k: 5 });
  lists.push({ ids: [...ids], scores: [...scores] });
}
process.stdout.write(JSON.stringify(lists));
`;

describe.skipIf(!hasBuilt)(`a process that only loads them${hasBuilt ? "" : " (needs the built package)"}`, () => {
  it("serves all of them as the process that trained them does", async () => {
    await using folder = await TemporaryFolder.create();
    const dirs: string[] = [];
    const expected: unknown[] = [];
    for (const definition of NETWORKS) {
      const { model } = await train({ dataset }, configOf(definition), { dir: folder.in(definition.name) });
      const { ids, scores } = await model.rank(READ.map(asHistory), { k: 5 });
      dirs.push(folder.in(definition.name, "model"));
      expected.push({ ids: [...ids], scores: [...scores] });
    }
    const ids = dataset.catalog.items.slice(1).map(({ id }) => id);
    const given = JSON.stringify({ dirs, ids, read: READ });
    const options = { cwd: packageFolder };
    const served = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", SERVE, given], options);
    expect(JSON.parse(served.stdout)).toEqual(expected);
  });
});
