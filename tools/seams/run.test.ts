// Runs and their front door with toys in them. In a file of its own, because a model has to be registered before
// `prismrec` is imported.
import { EventEmitter } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { registerModel } from "@prismrec/core/models";
import { CLUSTERERS } from "@prismrec/llm";
import { plantedData } from "@prismrec/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { meanPool } from "./model.js";
import { markovChain } from "./scorer.js";

const { dataset } = plantedData({ users: 200, items: 50, interests: 4, medianLength: 10 });
const { log, catalog } = dataset;
const interactions = log.userIds.flatMap((user, u) =>
  Array.from(log.items.subarray(log.indptr[u], log.indptr[u + 1]), (item, time) => ({
    user,
    item: catalog.items[item]!.id,
    time,
  })),
);
const items = catalog.items.slice(1).map(({ id, title, categories }) => ({ id, title, categories }));

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-seams-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("a model of a program's own", () => {
  beforeAll(() => {
    registerModel(meanPool);
    registerModel(markovChain);
  });

  it.each([
    ["mean-pool", { shrinkage: { weight: 0.01 }, stopping: { epochs: 2 } }],
    ["markov-chain", {}],
  ])("is the model of a run, %s", async (model, train) => {
    const prismrec = await import("prismrec");
    const run = join(dir, model);
    const settings = { train, clusterer: "category" };
    await using shop = await prismrec.fit({ interactions, items }, { model, llm: "none", dir: run, settings });
    expect(shop.model).toBe(model);
    const answer = await shop.recommend(log.userIds[3]!, { k: 5 });
    expect(answer.items).toHaveLength(5);
    await using again = await prismrec.open(run);
    expect(await again.recommend(log.userIds[3]!, { k: 5 })).toEqual(answer);
  });

  it("has its settings checked before anything is read", async () => {
    const prismrec = await import("prismrec");
    const settings = { train: { shrinkage: { weight: -1 } } };
    await expect(prismrec.fit({ interactions }, { model: "mean-pool", llm: "none", settings })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});

describe("a stage of a program's own", () => {
  it("reads another, has settings in the run, is kept, and is made again when they change", async () => {
    const { openRun } = await import("prismrec/pipeline");
    const { categoriesStage } = await import("./stage.js");
    const file = join(dir, "events.jsonl");
    await writeFile(file, interactions.map((row) => JSON.stringify(row)).join("\n"));
    const itemFile = join(dir, "items.jsonl");
    await writeFile(itemFile, items.map((row) => JSON.stringify(row)).join("\n"));
    const told: string[] = [];
    const attempt = async (settings: Record<string, unknown>) => {
      told.length = 0;
      await using run = await openRun(
        join(dir, "stages"),
        { interactions: file, items: itemFile, ...settings },
        {
          stages: [categoriesStage],
          onEvent: (event) => {
            if (event.type === "stage-finished") told.push(`${event.stage}${event.reused ? " again" : ""}`);
          },
        },
      );
      await run.run({ to: "categories" });
      const counts = await run.open(categoriesStage);
      return Object.values(counts).reduce((sum, count) => sum + count, 0);
    };
    expect(await attempt({})).toBe(10);
    expect(told).toEqual(["import", "categories"]);
    expect(await attempt({})).toBe(10);
    expect(told).toEqual(["import again", "categories again"]);
    expect(await attempt({ categoryItems: 4 })).toBe(4);
    expect(told).toEqual(["import again", "categories"]);
    await expect(attempt({ categoryItems: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(attempt({ categoryItem: 3 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

describe("a command of a program's own", () => {
  /** What a call of the command line with the toy in it prints, and how it ends. */
  async function call(...args: string[]) {
    const { main } = await import("prismrec/command-line");
    const { addCount } = await import("./command.js");
    const [stdout, stderr] = [new PassThrough(), new PassThrough()];
    const io = { stdout, stderr, env: {}, cwd: dir, signals: new EventEmitter(), quit: () => undefined };
    const code = await main(["node", "prismrec", ...args], io, { commands: [addCount] });
    return { code, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
  }

  it("stands in help beside the others, reads a run, and speaks JSON where it is asked to", async () => {
    const prismrec = await import("prismrec");
    const shop = await prismrec.fit(
      { interactions },
      { model: "most-popular", llm: "none", dir: join(dir, "counted") },
    );
    const counts = { users: shop.users, items: shop.items };
    await shop.close();
    expect((await call("--help")).stdout).toMatch(/^ +count .*count the users and items of a run$/m);
    expect(await call("count", "counted")).toEqual({
      code: 0,
      stdout: `${counts.users} users, ${counts.items} items\n`,
      stderr: "",
    });
    expect(JSON.parse((await call("count", "counted", "--json")).stdout)).toEqual(counts);
  });

  it("fails as the others do: exit codes, hints, strict flags", async () => {
    expect(await call("count", "nowhere")).toMatchObject({ code: 3, stdout: "" });
    const wrong = await call("count", "counted", "--jsn");
    expect(wrong.code).toBe(2);
    expect(wrong.stderr).toContain("--json");
  });
});

it("the settings of a run name every clusterer that there is", async () => {
  const { settingsSchema } = await import("prismrec/pipeline");
  const [one] = settingsSchema.shape.clusterer.unwrap().options;
  expect(one.options).toEqual(CLUSTERERS.map(({ name }) => name));
});
