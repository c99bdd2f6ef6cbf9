import { readFile } from "node:fs/promises";
import { createRandom, type Matrix } from "@prismrec/core/base";
import { createCatalog, createLog, type Dataset, productionDataset, userItems } from "@prismrec/core/data";
import { beforeAll, describe, expect, it } from "vitest";
import { learnedTargets } from "../evaluation/learned-targets.js";
import { plantedData } from "../planted/planted-data.js";
import { handMade } from "../testing/hand-made.js";
import { TemporaryFolder, TINY_CONFIG_NAMES, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import { type TrainInput, type TrainResult, train } from "./train.js";
import { warmStartOf } from "./warm-start.js";

/** The same users and split without every item that `isLeft` says; the catalog has its items in another order. */
function withoutItems(dataset: Dataset, isLeft: (dense: number) => boolean): Dataset {
  const { catalog, log, split } = dataset;
  const kept = catalog.items.flatMap((_, dense) => (dense > 0 && !isLeft(dense) ? [dense] : [])).reverse();
  const denseOf = new Map(kept.map((dense, place) => [dense, place + 1]));
  const users = Array.from({ length: log.userCount }, (_, user) => Array.from(userItems(log, user)));
  const histories = users.map((items) => items.flatMap((item) => denseOf.get(item) ?? []));
  const shortened = (user: number, end: number): number =>
    users[user]!.slice(0, end).filter((item) => denseOf.has(item)).length;
  const indptr = new Uint32Array(users.length + 1);
  histories.forEach((items, user) => {
    indptr[user + 1] = indptr[user]! + items.length;
  });
  const part = ({ users: rows, historyEnds, targetEnds }: Dataset["split"]["valid"]) => {
    const ends = Array.from(rows, (user, j) => [
      user,
      shortened(user, historyEnds[j]!),
      shortened(user, targetEnds[j]!),
    ]);
    const usable = ends.filter(([, history = 0, target = 0]) => history > 0 && target > history);
    const column = (c: number) => Uint32Array.from(usable, (row) => row[c]!);
    return { users: column(0), historyEnds: column(1), targetEnds: column(2) };
  };
  return {
    fingerprint: `${dataset.fingerprint}-without`,
    catalog: createCatalog(
      [catalog.items[0]!, ...kept.map((dense) => catalog.items[dense]!)],
      Uint32Array.from([0, ...kept.map((dense) => catalog.popularity[dense]!)]),
    ),
    log: createLog({ userIds: log.userIds, indptr, items: Uint32Array.from(histories.flat()) }),
    split: {
      protocol: split.protocol,
      train: {
        users: split.train.users,
        ends: Uint32Array.from(split.train.users, (user, j) => shortened(user, split.train.ends[j]!)),
      },
      valid: part(split.valid),
      test: part(split.test),
    },
  };
}

/** Hardly any step is taken: what the model is, is where it started. */
const STANDING = { optimizer: { learningRate: 1e-12 }, stopping: { epochs: 1 } };

const row = ({ data, cols }: Matrix, item: number): Float32Array => data.subarray(item * cols, (item + 1) * cols);
const cosine = (a: Float32Array, b: Float32Array): number => {
  const dot = (x: Float32Array, y: Float32Array) => x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

let input: Awaited<ReturnType<typeof tinyInput>>;
beforeAll(async () => {
  input = await tinyInput();
});

const startFrom = ({ model }: TrainResult, { catalog }: Dataset): Pick<TrainInput, "warmStart"> => ({
  warmStart: warmStartOf(model, catalog),
});

describe("a warm start", () => {
  it.each(TINY_CONFIG_NAMES)(
    "of %s begins where the former training ended, and ends there if it finds no better",
    async (name) => {
      await using folder = await TemporaryFolder.create();
      const former = await train(input, tinyConfig(name), { dir: folder.in("former") });
      const warm = { ...input, ...startFrom(former, input.dataset) };
      const again = await train(warm, tinyConfig(name, STANDING), { dir: folder.in("again") });
      expect(again.start).toEqual(former.curve.find(({ best, epoch }) => best && epoch === former.bestEpoch)!.metrics);
      expect(again.bestEpoch).toBe(0);
      expect(again.model.itemVectors().data).toEqual(former.model.itemVectors().data);
      expect(again.model.itemBias()).toEqual(former.model.itemBias());
      for (const { name: parameter, values } of again.model.parameters) {
        expect(values).toEqual(former.model.parameters.get(parameter)!.values);
      }
    },
  );

  it("keeps the vectors of known items wherever they stand now, and puts new ones among items like them", async () => {
    await using folder = await TemporaryFolder.create();
    const { dataset, truth } = plantedData({ users: 600, items: 80, interests: 4, medianLength: 12, seed: 3 });
    const isNew = (dense: number) => dense % 5 === 0;
    const before = withoutItems(dataset, isNew);
    const config = tinyConfig("mixture", { stopping: { epochs: 8 } });
    const former = await train({ dataset: before }, config, { dir: folder.in("former") });
    const warm = await train({ dataset, ...startFrom(former, before) }, tinyConfig("mixture", STANDING), {
      dir: folder.in("warm"),
    });
    const [old, now] = [former.model.itemVectors(), warm.model.itemVectors()];
    const interest = (dense: number): unknown => truth[dense];
    let [alike, unlike, likes, unlikes] = [0, 0, 0, 0];
    for (let dense = 1; dense <= dataset.catalog.size; dense++) {
      const known = before.catalog.idOf(dataset.catalog.items[dense]!.id);
      expect(known === undefined).toBe(isNew(dense));
      if (known !== undefined) expect(row(now, dense - 1)).toEqual(row(old, known - 1));
      if (!isNew(dense)) continue;
      for (let other = 1; other <= dataset.catalog.size; other++) {
        if (isNew(other)) continue;
        const likeness = cosine(row(now, dense - 1), row(now, other - 1));
        if (interest(other) === interest(dense)) [alike, likes] = [alike + likeness, likes + 1];
        else [unlike, unlikes] = [unlike + likeness, unlikes + 1];
      }
    }
    expect(alike / likes - unlike / unlikes).toBeGreaterThan(0.3);
  });

  it("has the new items start from their texts where a tower maps these", async () => {
    await using folder = await TemporaryFolder.create();
    const random = createRandom(4);
    const texts = (size: number): Matrix => ({
      data: Float32Array.from({ length: size * 6 }, () => random.normal()),
      rows: size,
      cols: 6,
    });
    const { dataset } = input;
    const given = texts(dataset.catalog.size);
    const before = withoutItems(dataset, (dense) => dense % 4 === 0);
    const ofBefore = {
      ...texts(before.catalog.size),
      data: Float32Array.from(
        before.catalog.items.slice(1).flatMap(({ id }) => [...row(given, dataset.catalog.idOf(id)! - 1)]),
      ),
    };
    for (const tower of ["text", "sum"] as const) {
      const former = await train({ dataset: before, itemVectors: ofBefore }, tinyConfig("mixture", { tower }), {
        dir: folder.in(tower, "former"),
      });
      const warm = await train(
        { dataset, itemVectors: given, ...startFrom(former, before) },
        tinyConfig("mixture", { tower, ...STANDING }),
        { dir: folder.in(tower, "warm") },
      );
      for (const { id } of before.catalog.items.slice(1)) {
        const [a, b] = [
          row(former.model.itemVectors(), before.catalog.idOf(id)! - 1),
          row(warm.model.itemVectors(), dataset.catalog.idOf(id)! - 1),
        ];
        // The map is found again by regression, so that a tower of texts alone comes close; a table makes up for the rest.
        for (const [c, value] of a.entries()) expect(b[c]).toBeCloseTo(value, tower === "sum" ? 5 : 1);
      }
      // A map of texts: items of new texts are combinations of those of the old ones.
      expect(row(warm.model.itemVectors(), 3).some((value) => Math.abs(value) > 1e-3)).toBe(true);
    }
  });

  it("resumes bit for bit, and is another training than one that began elsewhere", async () => {
    await using folder = await TemporaryFolder.create();
    const former = await train(input, tinyConfig("mixture"), { dir: folder.in("former") });
    const warm = { ...input, ...startFrom(former, input.dataset) };
    const config = tinyConfig("mixture", { stopping: { epochs: 3 }, seed: 7 });
    await train(warm, config, { dir: folder.in("whole") });
    const stop = new AbortController();
    const options = {
      dir: folder.in("parts"),
      signal: stop.signal,
      onEvent: (event: { type: string; step?: number }) => {
        if (event.type === "step" && event.step === 5) stop.abort();
      },
    };
    expect((await train(warm, config, options)).stoppedBy).toBe("signal");
    await expect(train(input, config, { dir: folder.in("parts") })).rejects.toMatchObject({
      code: "CHECKPOINT_INCOMPATIBLE",
    });
    await train(warm, config, { dir: folder.in("parts") });
    const [a, b] = await Promise.all(
      ["whole", "parts"].map((part) => readFile(folder.in(part, "model", "tensors.safetensors"))),
    );
    expect(a!.equals(b!)).toBe(true);
  });

  it("trains on where nobody is held out, and refuses a training of another width", async () => {
    await using folder = await TemporaryFolder.create();
    const former = await train(input, tinyConfig("mixture"), { dir: folder.in("former") });
    const dataset = productionDataset(input.dataset);
    const warm = { dataset, ...startFrom(former, dataset) };
    const result = await train(warm, tinyConfig("mixture", { stopping: { epochs: 1 } }), { dir: folder.in("all") });
    expect([result.bestEpoch, result.curve.length]).toEqual([1, 1]);
    expect(result.model.itemVectors().data).not.toEqual(former.model.itemVectors().data);
    const wider = tinyConfig("mixture", {
      network: { model: "ldmi", dim: 12, interests: 2, maxHistory: 10, layers: 1 },
    });
    await expect(train(warm, wider, { dir: folder.in("wider") })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});

describe("learnedTargets", () => {
  it("names who is asked for what was learned from them, and nobody else", () => {
    const former = handMade([
      [1, 2, 3],
      [2, 3, 4],
    ]);
    const asked = (test: readonly (readonly number[])[]): Dataset => {
      const made = handMade([[1, 2, 3, 4]], { test });
      const userIds = ["x", ...test.map((_, u) => `u${u}`)];
      return { ...made, log: createLog({ ...made.log, userIds }) };
    };
    expect(
      learnedTargets(
        former,
        asked([
          [1, 2, 4],
          [2, 4, 3],
        ]),
      ),
    ).toEqual(["u1"]);
    expect(
      learnedTargets(
        former,
        asked([
          [1, 2, 3, 4],
          [2, 3, 4, 1],
        ]),
      ),
    ).toEqual([]);
    expect(learnedTargets(former, former)).toEqual([]);
  });
});
