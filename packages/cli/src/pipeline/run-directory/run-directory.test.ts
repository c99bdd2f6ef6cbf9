import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RunDirectory, type StageContext } from "./run-directory.js";
import { type StageSpec, staleness } from "./stage-key.js";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-run-"));
});

afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const spec: StageSpec = { inputs: { data: "abc" }, config: { k: 4, note: "x" }, seed: 1 };

/** A stage that writes one file and counts how often it runs. */
function counter(content = "result") {
  const calls: StageContext[] = [];
  const work = async (folder: string, context: StageContext): Promise<void> => {
    calls.push(context);
    await writeFile(join(folder, "out.txt"), content);
  };
  return { calls, work };
}

describe("RunDirectory", () => {
  it("runs a stage once and reuses it while nothing that decides it changes, whatever the order of keys", async () => {
    await using run = await RunDirectory.open(dir);
    const { calls, work } = counter();
    const first = await run.stage("train", spec, work);
    const second = await run.stage("train", { seed: 1, config: { note: "x", k: 4 }, inputs: { data: "abc" } }, work);
    expect([first.reused, second.reused, calls.length]).toEqual([false, true, 1]);
    expect(second.manifest).toEqual(first.manifest);
    expect(first.manifest).toMatchObject({ stage: "train", inputs: { data: "abc" }, config: { k: 4 }, seed: 1 });
    expect(first.manifest.files["out.txt"]?.bytes).toBe(6);
  });

  it.each<[string, StageSpec]>([
    ["an input", { ...spec, inputs: { data: "other" } }],
    ["the configuration", { ...spec, config: { k: 5, note: "x" } }],
    ["the seed", { ...spec, seed: 2 }],
    ["the stage's version", { ...spec, version: 2 }],
  ])("runs a stage again when %s changes", async (_, changed) => {
    await using run = await RunDirectory.open(dir);
    const { calls, work } = counter();
    await run.stage("train", spec, work);
    expect(await run.stage("train", changed, work)).toMatchObject({ reused: false, reason: "changed" });
    expect(calls.length).toBe(2);
    expect((await readdir(dir)).filter((name) => name.endsWith(".partial") || name.endsWith(".old"))).toEqual([]);
  });

  it("gives the same fingerprint for the same output, so that later stages need not run again", async () => {
    await using run = await RunDirectory.open(dir);
    const first = await run.stage("import", spec, counter().work);
    const second = await run.stage("import", { ...spec, seed: 9 }, counter().work);
    const third = await run.stage("import", { ...spec, seed: 10 }, counter("else").work);
    expect(second.manifest.fingerprint).toBe(first.manifest.fingerprint);
    expect(third.manifest.fingerprint).not.toBe(first.manifest.fingerprint);
  });

  it("keeps the old output and the interrupted attempt when a stage fails, and goes on from the attempt", async () => {
    await using run = await RunDirectory.open(dir);
    await run.stage("train", spec, counter("old").work);
    const changed = { ...spec, seed: 2 };
    const failing = run.stage("train", changed, async (folder) => {
      await writeFile(join(folder, "checkpoint"), "half");
      throw new Error("power cut");
    });
    await expect(failing).rejects.toThrow("power cut");
    expect(await readFile(join(run.stageDir("train"), "out.txt"), "utf8")).toBe("old");
    const result = await run.stage("train", changed, async (folder, { resumed }) => {
      expect(resumed).toBe(true);
      expect(await readFile(join(folder, "checkpoint"), "utf8")).toBe("half");
    });
    expect(result.reason).toBe("interrupted");
  });

  it("rejects with the signal's own reason and leaves the stage unfinished when it is aborted", async () => {
    await using run = await RunDirectory.open(dir);
    const controller = new AbortController();
    const reason = new Error("Ctrl-C");
    const aborted = run.stage("train", spec, async () => controller.abort(reason), { signal: controller.signal });
    await expect(aborted).rejects.toBe(reason);
    expect(await run.manifest("train")).toBeUndefined();
  });

  it("runs again after a file was changed or cut, and after the manifest was damaged", async () => {
    await using run = await RunDirectory.open(dir);
    const { calls, work } = counter();
    const { dir: stage } = await run.stage("train", spec, work);
    await writeFile(join(stage, "out.txt"), "resul!");
    expect(await run.stage("train", spec, work)).toMatchObject({ reused: false, reason: "damaged" });
    await writeFile(join(stage, "manifest.json"), '{"stage": "tra');
    await expect(run.manifest("train")).rejects.toMatchObject({ code: "RUN_INVALID" });
    expect(await run.stage("train", spec, work)).toMatchObject({ reused: false, reason: "damaged" });
    await writeFile(join(stage, "manifest.json"), "{}");
    await expect(run.requireStage("train")).rejects.toMatchObject({ code: "RUN_INVALID" });
    expect(await run.stage("train", spec, work)).toMatchObject({ reused: false, reason: "damaged" });
    expect(calls.length).toBe(4);
  });

  it("mends a kill between the two renames: the old output comes back, a complete attempt is taken", async () => {
    {
      await using run = await RunDirectory.open(dir);
      await run.stage("train", spec, counter("old").work);
    }
    await rename(join(dir, "train"), join(dir, ".train.old"));
    await using run = await RunDirectory.open(dir);
    const { calls, work } = counter();
    expect((await run.stage("train", spec, work)).reused).toBe(true);
    const { key } = (await run.requireStage("train")).manifest;
    await rename(join(dir, "train"), join(dir, `.train.${key.slice(0, 16)}.partial`));
    expect((await run.stage("train", spec, work)).reused).toBe(true);
    expect(calls.length).toBe(0);
    expect(await readFile(join(dir, "train", "out.txt"), "utf8")).toBe("old");
  });

  it("refuses a second writer, lets readers in, and is free again after close", async () => {
    const run = await RunDirectory.open(dir);
    await expect(RunDirectory.open(dir)).rejects.toMatchObject({
      code: "RUN_LOCKED",
      received: expect.stringContaining(String(process.pid)),
    });
    const reader = await RunDirectory.open(dir, { readOnly: true });
    expect(await reader.manifest("train")).toBeUndefined();
    await expect(reader.requireStage("train")).rejects.toMatchObject({ code: "RUN_INVALID" });
    await expect(reader.stage("train", spec, counter().work)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await run.close();
    await run.close();
    const next = await RunDirectory.open(dir);
    await next.close();
    expect(existsSync(join(dir, ".lock"))).toBe(false);
  });

  it("takes the lock with the first write only where asked to, so that finished stages are read beside a writer", async () => {
    const options = { lock: "when-writing" } as const;
    const missing = await RunDirectory.open(join(dir, "none"), options);
    expect(await missing.manifest("train")).toBeUndefined();
    await missing.close();
    expect(existsSync(join(dir, "none"))).toBe(false);
    {
      await using first = await RunDirectory.open(dir, options);
      await first.stage("train", spec, counter().work);
    }
    const writer = await RunDirectory.open(dir);
    await using reader = await RunDirectory.open(dir, options);
    const { calls, work } = counter("new");
    expect((await reader.stage("train", spec, work)).reused).toBe(true);
    const changed = { ...spec, seed: 2 };
    await expect(reader.stage("train", changed, work)).rejects.toMatchObject({ code: "RUN_LOCKED" });
    expect(calls.length).toBe(0);
    await writer.close();
    expect((await reader.stage("train", changed, work)).reused).toBe(false);
    await expect(RunDirectory.open(dir)).rejects.toMatchObject({ code: "RUN_LOCKED" });
    await expect(writer.stage("train", spec, work)).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it.each([
    ["no word of its format", undefined, "earlier version"],
    ["a later format", { format: "prismrec-run", version: 99 }, "format 99"],
  ])("refuses a run with %s, to read and to write, and leaves it alone", async (_, marker, received) => {
    {
      await using run = await RunDirectory.open(dir);
      await run.stage("train", spec, counter().work);
    }
    const path = join(dir, "run.json");
    await (marker === undefined ? rm(path) : writeFile(path, JSON.stringify(marker)));
    const before = await readdir(dir);
    for (const options of [{}, { readOnly: true }, { lock: "when-writing" as const }]) {
      await expect(RunDirectory.open(dir, options)).rejects.toMatchObject({
        code: "RUN_FORMAT",
        received: expect.stringContaining(received),
      });
    }
    expect(await readdir(dir)).toEqual(before);
  });

  it("is made beside files of others, of the same names too, and refuses what is no word of a format", async () => {
    await mkdir(join(dir, "public"));
    await writeFile(join(dir, "public", "manifest.json"), '{"name": "a web page"}');
    await (await RunDirectory.open(dir)).close();
    expect(JSON.parse(await readFile(join(dir, "run.json"), "utf8"))).toEqual({ format: "prismrec-run", version: 1 });
    await writeFile(join(dir, "run.json"), '{"run": "of another kind"}');
    await expect(RunDirectory.open(dir)).rejects.toMatchObject({ code: "RUN_INVALID" });
  });

  it.each<[string, StageSpec, string]>([
    ["an input", { ...spec, inputs: { data: "other" } }, "data has changed"],
    ["an input more", { ...spec, inputs: { data: "abc", model: "m" } }, "made without model"],
    ["an input less", { ...spec, inputs: {} }, "made with data"],
    ["a setting", { ...spec, config: { k: 5, note: "x" } }, "k 4, which is now 5"],
    [
      "a setting more",
      { ...spec, config: { k: 4, note: "x", deep: { at: 1 } } },
      'deep left out, which is now {"at":1}',
    ],
    ["the seed", { ...spec, seed: 2 }, "seed 1, which is now 2"],
    ["the code", { ...spec, version: "2.1" }, "another version"],
  ])("says what makes a finished stage stale: %s", async (_, changed, words) => {
    await using run = await RunDirectory.open(dir);
    const { manifest } = await run.stage("train", spec, counter().work);
    expect(staleness(manifest, spec)).toBeUndefined();
    expect(staleness(manifest, { ...spec, config: { note: "x", k: 4, none: undefined } })).toBeUndefined();
    expect(staleness(manifest, changed)?.text).toContain(words);
  });

  it("takes over the lock of a process that is gone, also when its id was given to another process since", async () => {
    const owner = { token: "t", host: hostname(), since: "2020-01-01T00:00:00.000Z" };
    const left = [
      JSON.stringify({ ...owner, pid: 2 ** 22 + 1 }),
      ...(process.platform === "linux" ? [JSON.stringify({ ...owner, pid: process.pid, processStart: "1" })] : []),
      '{"tok',
    ];
    for (const content of left) {
      await writeFile(join(dir, ".lock"), content);
      await using run = await RunDirectory.open(dir);
      expect(run.path).toBe(dir);
    }
  });

  it("does not take a lock from another machine", async () => {
    const owner = { token: "t", pid: 1, host: "elsewhere", since: "2020-01-01T00:00:00.000Z" };
    await writeFile(join(dir, ".lock"), JSON.stringify(owner));
    await expect(RunDirectory.open(dir)).rejects.toMatchObject({ code: "RUN_LOCKED" });
  });

  it("names a missing run that is only to be read, and a path that is a file", async () => {
    await expect(RunDirectory.open(join(dir, "absent"), { readOnly: true })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
    await writeFile(join(dir, "file"), "");
    await expect(RunDirectory.open(join(dir, "file"))).rejects.toMatchObject({ code: "IO" });
  });

  it("refuses names that are no folder names and stages that write a manifest of their own", async () => {
    await using run = await RunDirectory.open(dir);
    expect(() => run.stageDir("../x")).toThrowError(/stage's name/);
    const own = run.stage("train", spec, (folder) => writeFile(join(folder, "manifest.json"), "{}"));
    await expect(own).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("describes files in folders of the stage and keeps caches apart from stages", async () => {
    await using run = await RunDirectory.open(dir);
    const { manifest } = await run.stage("train", spec, async (folder) => {
      await mkdir(join(folder, "best"));
      await writeFile(join(folder, "best", "weights"), "w");
    });
    expect(Object.keys(manifest.files)).toEqual(["best/weights"]);
    expect(await run.cacheDir("answers")).toBe(join(dir, "cache", "answers"));
  });
});

describe("a next state beside a run", () => {
  const at = (place: string) => join(dir, place);
  const text = (path: string) => readFile(path, "utf8");

  /** A run of two stages, and a next state with one of them, one that is new, and settings. */
  async function makeBoth(run: RunDirectory): Promise<RunDirectory> {
    await run.stage("one", spec, counter("one").work);
    await run.stage("two", spec, counter("two").work);
    await writeFile(run.settingsFile, "old");
    const beside = run.beside();
    await beside.stage("two", { ...spec, seed: 2 }, counter("next two").work);
    await beside.stage("three", spec, counter("next three").work);
    await writeFile(beside.settingsFile, "next");
    return beside;
  }

  it("is none of the run's until it is complete, and all of it then", async () => {
    await using run = await RunDirectory.open(dir);
    await makeBoth(run);
    expect(await text(join(run.stageDir("two"), "out.txt"))).toBe("two");
    expect([await run.manifest("three"), await text(run.settingsFile)]).toEqual([undefined, "old"]);
    await run.takeOver();
    for (const [stage, content] of [
      ["one", "one"],
      ["two", "next two"],
      ["three", "next three"],
    ] as const) {
      expect(await text(join(at(stage), "out.txt"))).toBe(content);
      expect((await run.manifest(stage))?.stage).toBe(stage);
    }
    expect(await text(at("prismrec.config.json"))).toBe("next");
    expect((await readdir(dir)).filter((name) => name.startsWith(".") && !name.startsWith(".lock"))).toEqual([]);
  });

  it("is the run's for whoever opens it, wherever a kill stopped its folders on their way", async () => {
    for (const moved of [[], ["two"], ["two", "prismrec.config.json"], ["aside two"]]) {
      await rm(dir, { recursive: true });
      await mkdir(dir);
      {
        await using run = await RunDirectory.open(dir);
        await makeBoth(run);
        await writeFile(at(".update/complete.json"), "{}");
        for (const entry of moved) {
          const name = entry.replace("aside ", "");
          await rename(at(name), at(`.${name}.old`));
          if (!entry.startsWith("aside")) await rename(at(`.update/${name}`), at(name));
        }
      }
      await using reader = await RunDirectory.open(dir, { readOnly: true });
      expect(await text(join(reader.stageDir("two"), "out.txt"))).toBe("next two");
      expect(await text(join(reader.stageDir("three"), "out.txt"))).toBe("next three");
      expect(await text(join(reader.stageDir("one"), "out.txt"))).toBe("one");
      expect(await text(reader.settingsFile)).toBe("next");
      await using writer = await RunDirectory.open(dir);
      expect(await text(join(at("two"), "out.txt"))).toBe("next two");
      expect(await text(writer.settingsFile)).toBe("next");
      expect((await readdir(dir)).filter((name) => name.startsWith(".") && !name.startsWith(".lock"))).toEqual([]);
    }
  });

  it("is forgotten when that is asked for, and goes on where it was begun", async () => {
    await using run = await RunDirectory.open(dir);
    const beside = await makeBoth(run);
    const { calls, work } = counter();
    expect((await run.beside().stage("three", spec, work)).reused).toBe(true);
    expect([calls.length, run.hasBeside, beside.locked]).toEqual([0, true, true]);
    await run.discardBeside();
    expect([run.hasBeside, await text(run.settingsFile)]).toEqual([false, "old"]);
  });
});
