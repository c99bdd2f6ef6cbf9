import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Dataset } from "@prismrec/core/data";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseTrainConfig } from "../config.js";
import { TINY_CONFIGS, tinyInput } from "../testing/tiny-input.js";
import { train } from "../training/train.js";
import { foldsWanted, trainFolds } from "./fold-networks.js";
import { holdOut } from "./folds.js";

const { dataset, partitions } = await tinyInput();
const config = parseTrainConfig(TINY_CONFIGS.mixture);
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-folds-"));
});
afterAll(() => rm(folder, { recursive: true }));

/** The same data, but that everybody who is held out has had other items, each one's next in the catalog. */
function rewritten({ log, split, ...rest }: Dataset, learned: ReadonlySet<number>): Dataset {
  const items = log.items.slice();
  for (const user of split.train.users) {
    if (learned.has(user)) continue;
    for (let at = log.indptr[user]!; at < log.indptr[user + 1]!; at++) items[at] = 1 + (items[at]! % rest.catalog.size);
  }
  return { ...rest, split, log: { ...log, items } };
}

const tensorsIn = (name: string) => readFile(join(folder, name, "model", "tensors.safetensors"));

describe("networks without a fold", () => {
  it("have learned nothing of those who are held out: with other events of theirs they are the same", async () => {
    const { learn } = holdOut({ dataset, partitions }, 2);
    const other = holdOut({ dataset: rewritten(dataset, new Set(learn.dataset.split.train.users)), partitions }, 2);
    expect(other.judge.dataset.log.items).not.toEqual(dataset.log.items);
    await train(learn, config, { dir: join(folder, "one") });
    await train(other.learn, config, { dir: join(folder, "two") });
    expect(await tensorsIn("two")).toEqual(await tensorsIn("one"));
  });

  it("are as many as make enough users, and as the budget has steps for", async () => {
    expect(foldsWanted(dataset)).toBe(5);
    const own = { config, bestEpoch: 1, epochs: 2, steps: 6 };
    const { parts, steps } = await trainFolds({ dataset }, own, {
      dir: join(folder, "some"),
      budget: 7,
      cutoffs: [20],
    });
    expect(steps).toBeLessThanOrEqual(7);
    // Once one is trained it is known what the next takes.
    expect(parts.length).toBe(Math.floor((7 - 3) / (steps / parts.length)) + 1);
    for (const { learn, judge } of parts) {
      expect(learn.split.train.users.length).toBeLessThan(dataset.split.train.users.length);
      expect(judge.own.length).toBeGreaterThan(0);
    }
    const none = await trainFolds({ dataset }, own, { dir: join(folder, "none"), budget: 2, cutoffs: [20] });
    expect(none).toEqual({ parts: [], steps: 0 });
  });

  it("are not wanted where many validate, one where a fold has enough users", () => {
    const of = (train: number, valid: number, protocol: Dataset["split"]["protocol"] = "user-disjoint"): number => {
      const part = { users: new Uint32Array(valid), historyEnds: new Uint32Array(), targetEnds: new Uint32Array() };
      const trained = { users: new Uint32Array(train), ends: new Uint32Array() };
      return foldsWanted({ ...dataset, split: { protocol, train: trained, valid: part, test: part } });
    };
    expect([of(200, 25), of(488, 61), of(3466, 434), of(8000, 1000), of(4, 1)]).toEqual([5, 4, 1, 0, 0]);
    expect(of(200, 25, "leave-one-out")).toBe(0);
  });
});
