import { appendFile, mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createRandom } from "../base/random.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { native } from "../ops/native.js";
import { ExactIndex } from "../ops/similarity-search/exact-index.js";
import { InterestModel } from "./interest-model.js";
import { LdmiNetwork, ldmiSchema } from "./ldmi.js";

const ITEMS = 300;
const DIM = 8;

function modelOf(seed: number, bias = 0): InterestModel {
  const network = new LdmiNetwork(ldmiSchema.parse({ dim: DIM, maxHistory: 6, layers: 1 }));
  const random = createRandom(seed);
  const items = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal()), rows: ITEMS, cols: DIM };
  const parameters = ParameterSet.create(network.specs(), createRandom(1));
  return new InterestModel(network, parameters, items, new Float32Array(ITEMS).fill(bias));
}

const histories = [{ items: Uint32Array.of(1, 2, 3) }, { items: Uint32Array.of(250) }];

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-index-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await rm(dir, { recursive: true, force: true });
});

describe("the index of a model", () => {
  it("is built once, off the event loop, for calls that come together", async () => {
    using model = modelOf(1);
    const build = vi.spyOn(ExactIndex, "build");
    const buildSync = vi.spyOn(ExactIndex, "buildSync");
    let turns = 0;
    let ranking = true;
    const counting = (async () => {
      while (ranking) {
        await setImmediate();
        turns++;
      }
    })();
    const [a, b] = await Promise.all([model.rank(histories, { k: 5 }), model.rank(histories, { k: 5 })]);
    ranking = false;
    await counting;
    expect(a).toEqual(b);
    expect(build).toHaveBeenCalledTimes(1);
    expect(buildSync).not.toHaveBeenCalled();
    expect(turns).toBeGreaterThan(0);
  });

  it("is tried again after a failure", async () => {
    using model = modelOf(1);
    model.itemVectors().data[3] = Number.NaN;
    await expect(model.rank([histories[1]!], { k: 5 })).rejects.toMatchObject({ code: "NON_FINITE" });
    model.itemVectors().data[3] = 1;
    expect([...(await model.rank([histories[1]!], { k: 5 })).counts]).toEqual([5]);
  });
});

describe.skipIf(native() === undefined)("a saved index", () => {
  it("gives the lists of one built anew, without building, and goes with its model", async () => {
    using saved = modelOf(1, 0.5);
    const expected = await saved.rank(histories, { k: 7 });
    await saved.saveIndex(join(dir, "search"));
    const build = vi.spyOn(ExactIndex, "build");
    using model = modelOf(1, 0.5);
    await model.openIndex(join(dir, "search"));
    expect(await model.rank(histories, { k: 7 })).toEqual(expected);
    expect(build).not.toHaveBeenCalled();
    model.dispose();
    expect(await model.rank(histories, { k: 7 })).toEqual(expected);
    expect(build).toHaveBeenCalledTimes(1);
  });

  it("of other vectors or another bias is refused, and the model goes on without it", async () => {
    using first = modelOf(1);
    await first.saveIndex(dir);
    for (const other of [modelOf(2), modelOf(1, 0.25)]) {
      await expect(other.openIndex(dir)).rejects.toMatchObject({ code: "CHECKPOINT_INCOMPATIBLE" });
      expect([...(await other.rank(histories, { k: 3 })).counts]).toEqual([3, 3]);
      other.dispose();
    }
  });

  it("that is cut short, longer, undescribed or gone is refused by name", async () => {
    using model = modelOf(1);
    await expect(model.openIndex(join(dir, "nowhere"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await model.saveIndex(dir);
    await truncate(join(dir, "vectors.index"), 1000);
    await expect(model.openIndex(dir)).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await model.saveIndex(dir);
    await appendFile(join(dir, "vectors.index"), "x");
    await expect(model.openIndex(dir)).rejects.toMatchObject({ code: "DATA_FORMAT" });
    await rm(join(dir, "vectors.index"));
    await expect(model.openIndex(dir)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await model.saveIndex(dir);
    await writeFile(join(dir, "index.json"), "{}");
    await expect(model.openIndex(dir)).rejects.toMatchObject({ code: "DATA_FORMAT" });
  });
});

describe("ranking with interests at hand", () => {
  it("does not run the network again, and gives the same lists", async () => {
    using model = modelOf(1);
    const many = Array.from({ length: 200 }, (_, n) => ({ items: Uint32Array.of(1 + n, 1 + ((7 * n) % ITEMS)) }));
    const interests = model.interests(many);
    const expected = await model.rank(many, { k: 4 });
    const forward = vi.spyOn(model.network, "forward");
    expect(await model.rank(many, { k: 4, interests })).toEqual(expected);
    expect(forward).not.toHaveBeenCalled();
  });

  it("refuses those of other histories", async () => {
    using model = modelOf(1);
    const interests = model.interests(histories.slice(0, 1));
    await expect(model.rank(histories, { k: 4, interests })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});
