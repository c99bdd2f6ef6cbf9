import { existsSync } from "node:fs";
import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setThreadBudget, threadBudget } from "@prismrec/core/base";
import { importDataset } from "@prismrec/core/data/import";
import { cudaInfo } from "@prismrec/core/ops";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { writeSmallData } from "../testing/small-data.js";
import { openStageClusterer } from "./cluster.js";
import { defineStage, importStage, openRun, type RunEvent, runAblation, type Stage } from "./index.js";
import type { Run } from "./run.js";

const LIMIT = 120_000;

let folder: string;
let dir: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-pipeline-"));
  dir = join(folder, "run");
});

afterEach(() => rm(folder, { recursive: true }));

/** Stages that write what they read, and count how often they are run. */
function toys(versions: Partial<Record<string, number>> = {}) {
  const calls: string[] = [];
  const file = z.object({ words: z.string().optional() });
  const toy = (name: string, reads: readonly Stage<string>[]): Stage<string> =>
    defineStage({
      name,
      summary: "joins what it reads",
      version: versions[name] ?? 1,
      reads,
      settings: reads.length === 0 ? file : z.object({ [`${name}Suffix`]: z.string().default("") }),
      files: reads.length === 0 ? [{ setting: "words" }] : [],
      async run(context, out) {
        calls.push(name);
        const { words } = context.settings as z.infer<typeof file>;
        const parts = words === undefined ? [] : [await readFile(words, "utf8")];
        for (const read of reads) parts.push(await context.open(read));
        await writeFile(join(out, "text"), `${name}${versions[name] ?? 1}(${parts.join(",")})`);
      },
      open: async (_context, finished) => readFile(join(finished.dir, "text"), "utf8"),
      describe: async (_context, text) => ({ summary: text }),
    });
  const source = toy("source", []);
  const left = toy("left", [source]);
  const right = toy("right", [source]);
  const end = toy("end", [left]);
  return { calls, left, right, end, stages: [end, right, left, source] };
}

const statesOf = async (run: Run): Promise<Record<string, string>> =>
  Object.fromEntries((await run.states()).map(({ stage, state }) => [stage, state]));

/** Runs the toys and says which had to be done. */
async function runToys(versions: Partial<Record<string, number>>, settings: object): Promise<string[]> {
  const { calls, stages } = toys(versions);
  await using run = await openRun(dir, { ...settings }, { stages });
  for (const to of ["right", "end"]) await run.run({ to });
  return calls;
}

describe("stages of one's own", () => {
  it("are run, reused and opened with the standard ones, and their settings are settings of the run", async () => {
    const words = join(folder, "words");
    await writeFile(words, "hello");
    expect(await runToys({}, { words })).toEqual(["source", "right", "left", "end"]);
    expect(await runToys({}, { words })).toEqual([]);
    expect(await runToys({}, { words, endSuffix: "!" })).toEqual(["end"]);
    await using run = await openRun(dir, { words }, { stages: toys().stages });
    expect(await run.open("left")).toBe("left1(source1(hello))");
    await expect(run.open("end")).rejects.toMatchObject({
      code: "RUN_INVALID",
      message: expect.stringContaining('endSuffix "!", which is now ""'),
    });
    expect((await statesOf(run)).import).toBe("missing");
    await expect(openRun(dir, { words, endSufix: "?" }, { stages: toys().stages })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      hint: "Did you mean endSuffix?",
    });
    await expect(openRun(dir, { words })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const clashing = defineStage({ ...toys().stages[0]!, name: "clashing", settings: z.object({ seed: z.string() }) });
    await expect(openRun(dir, {}, { stages: [clashing] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(run.open("lft")).rejects.toMatchObject({ code: "INVALID_ARGUMENT", hint: "Did you mean left?" });
  });

  it("are out of date with those that read them, and nobody else, where their version is another", async () => {
    const words = join(folder, "words");
    await writeFile(words, "hello");
    await runToys({}, { words });
    {
      await using run = await openRun(dir, { words }, { stages: toys({ left: 2 }).stages });
      expect(await statesOf(run)).toMatchObject({ source: "finished", right: "finished", left: "stale", end: "stale" });
      expect(await run.open("right")).toBe("right1(source1(hello))");
      await expect(run.open("end")).rejects.toMatchObject({
        code: "RUN_INVALID",
        message: expect.stringContaining("the left stage of this run is out of date: another version"),
      });
      await expect(run.run({ from: "end", to: "end" })).rejects.toMatchObject({ code: "RUN_INVALID" });
    }
    expect(await runToys({ left: 2 }, { words })).toEqual(["left", "end"]);
    await writeFile(join(dir, "left", "manifest.json"), "{");
    await using run = await openRun(dir, { words }, { stages: toys({ left: 2 }).stages });
    expect(await statesOf(run)).toMatchObject({ right: "finished", left: "stale", end: "stale" });
  });

  it("notice another content of an outside file, and are opened without it", async () => {
    const words = join(folder, "words");
    await writeFile(words, "hello");
    await runToys({}, { words });
    await writeFile(words, "other");
    expect(await runToys({}, { words })).toEqual(["source", "right", "left", "end"]);
    await rm(words);
    await using run = await openRun(dir, { words }, { stages: toys().stages });
    expect(await run.open("end")).toBe("end1(left1(source1(other)))");
    await expect(run.run({ to: "end" })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("read only what they say they read", async () => {
    const { left, right } = toys();
    const sly = defineStage({
      name: "sly",
      summary: "reads in secret",
      version: 1,
      reads: [],
      settings: z.object({}),
      run: async (context) => void (await context.open(left)),
      open: async () => undefined,
    });
    await using run = await openRun(dir, {}, { stages: [...toys().stages, sly] });
    await expect(run.run({ to: "sly" })).rejects.toMatchObject({ code: "INTERNAL" });
    await expect(openRun(dir, {}, { stages: [right] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("tell what they do, in order", async () => {
    const events: RunEvent[] = [];
    const { stages, left } = toys();
    const talker = defineStage({
      name: "talker",
      summary: "talks",
      version: 1,
      reads: [left],
      settings: z.object({}),
      async run({ note, warn, options }) {
        options.onProgress({ stage: "talk", done: 1, unit: "words" });
        note("by the way", "verbose");
        warn("careful");
      },
      open: async () => undefined,
      describe: async (_context, _output, reused) => ({ summary: reused ? "again" : "first" }),
    });
    const onEvent = (event: RunEvent): void => void events.push(event);
    await using run = await openRun(dir, {}, { stages: [...stages, talker], onEvent });
    const results = await run.run({ to: "talker" });
    expect(results.map(({ stage, reused }) => [stage, reused])).toEqual([
      ["source", false],
      ["left", false],
      ["talker", false],
    ]);
    const stage = "talker";
    expect(events.slice(-6)).toEqual([
      {
        type: "stage-finished",
        stage: "left",
        reused: false,
        seconds: expect.any(Number),
        summary: "left1(source1())",
      },
      { type: "stage-started", stage },
      { type: "progress", stage, progress: { stage: "talk", done: 1, unit: "words" } },
      { type: "note", stage, text: "by the way", when: "verbose" },
      { type: "warning", stage, text: "careful" },
      { type: "stage-finished", stage, reused: false, seconds: expect.any(Number), summary: "first" },
    ]);
    expect(await run.run({ from: stage, to: stage })).toMatchObject([{ stage, reused: true, summary: "again" }]);
  });

  it("go on where an abort has stopped them", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const slow = defineStage<string, z.ZodObject>({
      name: "slow",
      summary: "takes ten steps",
      version: 1,
      reads: [],
      settings: z.object({}),
      async run({ signal }, out) {
        const log = join(out, "log");
        const done = existsSync(log) ? (await readFile(log, "utf8")).length : 0;
        for (let step = done; step < 10; step++) {
          signal.throwIfAborted();
          await appendFile(log, String(step));
          if (step === 4) controller.abort(reason);
        }
      },
      open: (_context, finished) => readFile(join(finished.dir, "log"), "utf8"),
    });
    {
      await using run = await openRun(dir, {}, { stages: [slow], signal: controller.signal });
      await expect(run.run({ to: "slow" })).rejects.toBe(reason);
      expect((await statesOf(run)).slow).toBe("missing");
    }
    await using run = await openRun(dir, {}, { stages: [slow] });
    await run.run({ to: "slow" });
    expect(await run.open(slow)).toBe("0123456789");
  });
});

describe("a run from a program", () => {
  const settings = (more: object = {}) => ({
    interactions: join(folder, "events.csv"),
    items: join(folder, "items.csv"),
    clusterer: "category",
    effort: "quick",
    baselines: ["most-popular"],
    train: { stopping: { epochs: 2 } },
    ...more,
  });

  it(
    "stops in the middle of training at an abort and ends, gone on with, where an undisturbed one ends",
    async () => {
      await writeSmallData(folder);
      const controller = new AbortController();
      const reason = new Error("enough");
      const onEvent = (event: RunEvent): void => {
        if (event.type === "training" && event.event.type === "step") controller.abort(reason);
      };
      {
        await using run = await openRun(dir, settings(), { signal: controller.signal, onEvent });
        await expect(run.run()).rejects.toBe(reason);
        expect(await statesOf(run)).toMatchObject({ crowd: "finished", "train-ldmi": "missing" });
      }
      const resumed: boolean[] = [];
      await using run = await openRun(dir, undefined, {
        onEvent: (event) => {
          if (event.type === "training" && event.event.type === "start") resumed.push(event.event.resumed);
        },
      });
      await run.run();
      expect(resumed).toEqual([true]);
      await using other = await openRun(join(folder, "undisturbed"), settings());
      await other.run({ to: "evaluate" });
      expect((await run.open("evaluate")).report.models).toEqual((await other.open("evaluate")).report.models);
      expect(existsSync((await run.open("report")).file)).toBe(true);
    },
    LIMIT,
  );

  it(
    "keeps its stages and settings while an ablation tries others",
    async () => {
      await writeSmallData(folder);
      await using run = await openRun(dir, settings());
      await run.run({ to: "evaluate" });
      const kept = await readFile(join(dir, "prismrec.config.json"), "utf8");
      const before = await run.states();
      const made = await run.manifest("train-ldmi");
      await run.close();
      await using again = await openRun(dir, undefined, { readOnly: true });
      const trial = settings({ seed: 7, train: { stopping: { epochs: 1 } } });
      const { variants } = await runAblation(again, trial, ["ldmi", "no-crowd"], [3]);
      expect(Object.keys(variants)).toEqual(["ldmi", "no-crowd"]);
      expect(variants["no-crowd"]?.ldmiMinusThis).toMatchObject({ "recall@20": { mean: expect.any(Number) } });
      expect(await readFile(join(dir, "prismrec.config.json"), "utf8")).toBe(kept);
      expect(await again.states()).toEqual(before);
      expect(await again.manifest("train-ldmi")).toEqual(made);
      await expect(runAblation(again, trial, ["without-anything"], [3])).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    },
    LIMIT,
  );

  it("is not gone on with from files that are gone, unless it is named alone", async () => {
    await writeSmallData(folder);
    {
      await using run = await openRun(dir, settings());
      await run.run({ to: "import" });
    }
    await rm(join(folder, "events.csv"));
    {
      await using run = await openRun(dir, settings());
      await expect(run.run({ to: "import" })).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
      expect((await run.open(importStage)).dataset.catalog.size).toBe(48);
    }
    const warnings: string[] = [];
    await using run = await openRun(dir, undefined, {
      onEvent: (event) => void (event.type === "warning" && warnings.push(event.text)),
    });
    expect(await run.run({ to: "cluster" })).toMatchObject([{ stage: "cluster" }]);
    expect(warnings).toEqual([expect.stringContaining("events.csv cannot be read again")]);
  });

  it.skipIf(cudaInfo()?.usable === true)("refuses a GPU that is not there before its first stage", async () => {
    await writeSmallData(folder);
    await using run = await openRun(dir, settings({ device: "cuda" }));
    await expect(run.run()).rejects.toMatchObject({ code: "DEVICE_UNAVAILABLE" });
    expect(await statesOf(run)).toMatchObject({ import: "missing" });
    // Nothing of it has a kernel there.
    expect(await run.run({ to: "cluster" })).toHaveLength(2);
  });

  it("grants the threads of the settings", async () => {
    try {
      await using _run = await openRun(dir, { threads: 3 });
      expect(threadBudget()).toBe(3);
    } finally {
      setThreadBudget(undefined);
    }
  });
});

describe("the clusterer of a run", () => {
  it("is refused with another language model than the one that read the histories", async () => {
    await writeSmallData(folder);
    const path = join(folder, "model.gguf");
    await writeFile(path, "another model");
    const { dataset } = await importDataset({ interactions: join(folder, "events.csv") });
    await using run = await openRun(dir, {});
    const { settings, directory, signal, options } = run;
    const context = { settings, directory, signal, options, note: () => undefined, warn: () => undefined };
    const choice = { clusterer: "partition", model: { path, hash: "that of the model before" } };
    await expect(openStageClusterer(context, folder, dataset, choice)).rejects.toMatchObject({
      code: "RUN_INVALID",
      hint: expect.stringContaining("prismrec cluster"),
    });
  });
});
