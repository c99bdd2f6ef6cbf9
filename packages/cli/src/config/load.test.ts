import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { asFlags, GLOBAL_SETTINGS, gatherSettings, settingOption, withSettings } from "../options.js";
import { absolutePaths, mergeSettings, parseSettings, type RawSettings, readConfig } from "./load.js";
import { settingsSchema } from "./schema.js";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-config-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

async function write(settings: unknown): Promise<void> {
  await writeFile(join(folder, "prismrec.config.json"), JSON.stringify(settings));
}

/** What a command with these arguments gathers in `folder`. */
async function gather(args: readonly string[], stored?: RawSettings): Promise<RawSettings> {
  const program = new Command().option("--config <file>").exitOverride();
  program.addOption(settingOption(GLOBAL_SETTINGS.seed));
  const command = withSettings(program.command("run"), ["interactions", "minCore", "clusterer", "epochs"]);
  let settings: RawSettings = {};
  command.action(async () => {
    settings = await gatherSettings(command, folder, stored === undefined ? {} : { stored });
  });
  await program.parseAsync(["run", ...args], { from: "user" });
  return settings;
}

describe("settings", () => {
  it("are taken from the flag, else the environment, else the file, else the default", async () => {
    expect(parseSettings(await gather([]), "test").core.minimum).toBe(5);
    await write({ core: { minimum: 2 }, seed: 7 });
    expect(parseSettings(await gather([]), "test").core.minimum).toBe(2);
    vi.stubEnv("PRISMREC_MIN_CORE", "3");
    expect(parseSettings(await gather([]), "test").core.minimum).toBe(3);
    const settings = parseSettings(await gather(["--min-core", "4"]), "test");
    expect(settings.core.minimum).toBe(4);
    expect(settings.seed).toBe(7);
  });

  it("of a run stand below flags and above nothing of the current folder", async () => {
    await write({ seed: 9 });
    expect(await gather([], { seed: 7, clusterer: "random" })).toEqual({ seed: 7, clusterer: "random" });
    expect(await gather(["--seed", "8"], { seed: 7 })).toEqual({ seed: 8 });
    expect(await gather(["--config", "prismrec.config.json"], { seed: 7 })).toEqual({ seed: 9 });
  });

  it("that are paths start at the file's folder, and `none` is no path", async () => {
    await write({ interactions: "data/events.csv", llm: "none", items: "/srv/items.csv" });
    expect(await readConfig(undefined, folder)).toEqual({
      interactions: join(folder, "data/events.csv"),
      llm: "none",
      items: "/srv/items.csv",
    });
  });

  it("merge member by member, later layers first", () => {
    expect(mergeSettings({ core: { minimum: 2, mode: "none" } }, { core: { minimum: 4 } }, {})).toEqual({
      core: { minimum: 4, mode: "none" },
    });
  });

  it.each([
    [{ interctions: "x.csv" }, "unknown setting interctions", "Did you mean interactions?"],
    [{ core: { minimun: 3 } }, "unknown setting core.minimun", "Did you mean core.minimum?"],
    [{ cluster: { budget: { maxCals: 3 } } }, "unknown setting cluster.budget.maxCals", "cluster.budget.maxCalls?"],
  ])("that are misspelt are refused with the likely name", async (settings, received, hint) => {
    await write(settings);
    await expect(readConfig(undefined, folder)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      received,
      hint: expect.stringContaining(hint),
    });
  });

  it.each([{ seed: "one" }, { core: { minimum: 0 } }, { clusterer: "magic" }, { split: { trainShare: 1.5 } }])(
    "of the wrong kind are refused: %j",
    async (settings) => {
      await write(settings);
      await expect(readConfig(undefined, folder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    },
  );

  it("in a file that is no JSON object are refused, and a named file that is missing too", async () => {
    await writeFile(join(folder, "prismrec.config.json"), "{ seed: 1");
    await expect(readConfig(undefined, folder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await write([]);
    await expect(readConfig(undefined, folder)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(readConfig("missing.json", folder)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("turn back into the flags that say them, and tell where flags cannot", () => {
    expect(asFlags({ interactions: "a.csv", seed: 3, train: { stopping: { epochs: 2 } }, out: "runs/a" })).toEqual({
      flags: [
        ["--interactions", "a.csv"],
        ["--epochs", "2"],
        ["--seed", "3"],
      ],
      complete: true,
    });
    expect(asFlags({ interactions: "a.csv", cluster: { maxClusters: 3 } }).complete).toBe(false);
  });
});

describe("prismrec.config.schema.json", () => {
  it("is what the settings' schema says (vitest -u writes it anew)", async () => {
    const schema = z.toJSONSchema(settingsSchema, { io: "input" });
    const text = `${JSON.stringify({ title: "prismrec.config.json", ...schema }, undefined, 2)}\n`;
    await expect(text).toMatchFileSnapshot("../../prismrec.config.schema.json");
  });
});

it("leaves a language model's address as it is, and starts a file's path at the folder", () => {
  const llm = (named: string): unknown => absolutePaths({ llm: named }, "/srv/shop").llm;
  expect(["http://host/v1#a/b", "node-llama-cpp:/m.gguf", "none", "m.gguf"].map(llm)).toEqual([
    "http://host/v1#a/b",
    "node-llama-cpp:/m.gguf",
    "none",
    "/srv/shop/m.gguf",
  ]);
});

it("types a budget as it is read", async () => {
  const budget = { maxSeconds: 600, maxCalls: 500 };
  const { flags, complete } = asFlags({ cluster: { budget } });
  expect([flags, complete]).toEqual([[["--llm-budget", "10m,500c"]], true]);
  const command = withSettings(new Command(), ["llmBudget"]);
  await command.parseAsync([...flags.flat()], { from: "user" });
  expect(command.opts()).toEqual({ llmBudget: budget });
});
