import { cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RunDirectory } from "./pipeline/run-directory/run-directory.js";
import { prismrec } from "./testing/fake-io.js";
import { writeSmallData, writeSmallItems } from "./testing/small-data.js";
import { buildPackages, type Outcome, spawnPrismrec } from "./testing/spawn.js";

const LIMIT = 240_000;
const READ_ONLY_DISK = fileURLToPath(new URL("../dist/testing/read-only-disk.js", import.meta.url));

let folder: string;
/** A run made stage by stage, each in a process of its own, that no test changes. */
let made: string;

const inputs = (): string[] => ["--interactions", join(folder, "events.csv"), "--items", join(folder, "items.csv")];

async function succeed(...args: string[]): Promise<Outcome> {
  const outcome = await spawnPrismrec(args);
  expect([args[0], outcome.code, outcome.stderr.includes("✖") ? outcome.stderr : ""]).toEqual([args[0], 0, ""]);
  return outcome;
}

/** What a command that fails says: its exit code and its error; in a process of its own where that has a surrounding. */
async function failure(args: readonly string[], env?: Record<string, string>) {
  const all = [...args, "--json", "--quiet"];
  const { code, stdout, stderr } = await (env === undefined ? prismrec(all) : spawnPrismrec(all, { env }));
  expect(stdout).toBe("");
  const { error } = JSON.parse(stderr.trim().split("\n").at(-1) ?? "");
  return { exit: code, ...error };
}

/** Every file of a folder with its size and the time it was last written. */
async function contents(dir: string): Promise<string[]> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const described = entries.map(async (entry) => {
    const path = join(entry.parentPath, entry.name);
    const { size, mtimeMs } = await stat(path);
    return entry.isDirectory() ? path : `${path} ${size} ${mtimeMs}`;
  });
  return (await Promise.all(described)).sort();
}

async function copyOf(name: string): Promise<string> {
  const copy = join(folder, name);
  await cp(made, copy, { recursive: true, preserveTimestamps: true });
  return copy;
}

const settingsOf = async (run: string): Promise<unknown> =>
  JSON.parse(await readFile(join(run, "prismrec.config.json"), "utf8"));

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-stages-"));
  made = join(folder, "made");
  await Promise.all([writeSmallData(folder), buildPackages()]);
  await succeed("import", ...inputs(), "--out", made);
  await succeed("cluster", made, "--clusterer", "category");
  await succeed("crowd", made);
  await succeed("train", made, "--epochs", "1", "--baselines", "most-popular,item-knn");
  await succeed("evaluate", made);
}, LIMIT);

afterAll(() => rm(folder, { recursive: true, force: true }));

describe("a run that was made stage by stage", () => {
  it(
    "is served as one that was made at once, and nothing is written for it",
    async () => {
      const before = await contents(made);
      const staged = await succeed("recommend", made, "--user", "u7", "--json");
      const items = await succeed("export", made, "items");
      expect(items.stdout.trim().split("\n")).toHaveLength(48);
      expect(await contents(made)).toEqual(before);
      const whole = await copyOf("whole");
      await succeed("run", whole);
      expect((await readdir(whole)).includes("index")).toBe(true);
      expect((await succeed("recommend", whole, "--user", "u7", "--json")).stdout).toBe(staged.stdout);
      expect((await succeed("export", whole, "items")).stdout).toBe(items.stdout);
      // The index is now of another model than the one that is served.
      await succeed("train", whole, "--epochs", "2");
      expect((await succeed("export", whole, "items")).stdout).not.toBe(items.stdout);
    },
    LIMIT,
  );

  it(
    "goes on where it stopped when it is named alone, under the settings of its stages",
    async () => {
      const run = await copyOf("going-on");
      const settings = await settingsOf(run);
      expect(settings).toMatchObject({ clusterer: "category", train: { stopping: { epochs: 1 } } });
      const { stderr } = await succeed("run", run);
      expect(stderr).toContain(`Going on in ${run}`);
      for (const stage of ["import", "cluster", "crowd", "train-ldmi", "train-item-knn", "evaluate"]) {
        expect(stderr).toMatch(new RegExp(`✔ ${stage} .*as before`));
      }
      for (const stage of ["index", "report"]) expect(stderr).not.toMatch(new RegExp(`✔ ${stage} .*as before`));
      expect(await settingsOf(run)).toEqual(settings);
      // Logs are moved away once they are read.
      await writeFile(
        join(run, "prismrec.config.json"),
        JSON.stringify({ ...Object(settings), items: join(folder, "gone.csv") }),
      );
      const without = await succeed("run", run, "--json");
      expect(without.stderr).toContain("gone.csv cannot be read again: going on with what was imported from it");
      await rm(join(run, "import"), { recursive: true });
      expect(await failure(["run", run])).toMatchObject({ code: "FILE_NOT_FOUND" });
    },
    LIMIT,
  );
});

describe("a stage whose inputs have changed", () => {
  it(
    "is refused by every command that would use it, which names the one that makes it again; run repairs all",
    async () => {
      const run = await copyOf("stale");
      const settings = await settingsOf(run);
      await writeSmallItems(folder, 3);
      try {
        await succeed("import", ...inputs(), "--out", run);
        expect(await settingsOf(run)).toEqual(settings);
        const refused = async (stage: string, ...commands: string[][]): Promise<void> => {
          const before = await contents(run);
          for (const [command = "", ...more] of commands) {
            const error = await failure([command, run, ...more]);
            expect([command, error.exit, error.code]).toEqual([command, 3, "RUN_INVALID"]);
            expect(error.message).toContain(`the ${stage} stage of this run is out of date`);
            expect(error.hint).toContain(`prismrec ${stage} ${run} makes this one; prismrec run ${run}`);
          }
          expect(await contents(run)).toEqual(before);
        };
        await refused(
          "cluster",
          ["crowd"],
          ["train"],
          ["evaluate"],
          ["report"],
          ["recommend", "--user", "u7"],
          ["export", "interests"],
          ["export", "recommendations"],
          ["ablate", "--seeds", "1"],
        );
        await succeed("cluster", run);
        await refused("crowd", ["train"], ["recommend", "--user", "u7"], ["ablate", "--seeds", "1"]);
        const { stderr } = await succeed("run", run);
        for (const stage of ["import", "cluster"]) expect(stderr).toMatch(new RegExp(`✔ ${stage} .*as before`));
        for (const stage of ["crowd", "train-ldmi", "train-most-popular", "evaluate"]) {
          expect(stderr).not.toMatch(new RegExp(`✔ ${stage} .*as before`));
        }
        for (const command of ["evaluate", "report"]) await succeed(command, run);
        await succeed("recommend", run, "--user", "u7");
      } finally {
        await writeSmallItems(folder, 6);
      }
    },
    LIMIT,
  );

  it(
    "is stale under other settings and other code too",
    async () => {
      const run = await copyOf("settings");
      const path = join(run, "prismrec.config.json");
      await writeFile(path, JSON.stringify({ ...Object(await settingsOf(run)), cluster: { maxClusters: 3 } }));
      expect(await failure(["train", run])).toMatchObject({
        code: "RUN_INVALID",
        message: expect.stringContaining("maxClusters 8, which is now 3"),
      });
      await cp(join(made, "prismrec.config.json"), path);
      // As a killed `cluster --model` leaves them.
      const { clusterer: _, ...open } = Object(await settingsOf(made));
      await writeFile(path, JSON.stringify({ ...open, model: join(folder, "items.csv") }));
      expect(await failure(["train", run])).toMatchObject({
        code: "RUN_INVALID",
        message: expect.stringContaining("cluster stage of this run is out of date: it was made without model"),
      });
      await cp(join(made, "prismrec.config.json"), path);
      const manifest = join(run, "train-item-knn", "manifest.json");
      const content = JSON.parse(await readFile(manifest, "utf8"));
      await writeFile(manifest, JSON.stringify({ ...content, key: "0".repeat(64), versions: { stage: "0" } }));
      expect(await failure(["evaluate", run])).toMatchObject({
        code: "RUN_INVALID",
        message: expect.stringContaining("train-item-knn stage of this run is out of date: another version"),
        hint: expect.stringContaining(`prismrec train ${run}`),
      });
    },
    LIMIT,
  );
});

describe("the settings of a run", () => {
  it(
    "are not those of an ablation's trials",
    async () => {
      const run = await copyOf("ablated");
      const settings = await settingsOf(run);
      await succeed("ablate", run, "--seeds", "1", "--variants", "neither", "--epochs", "2", "--seed", "5");
      expect(await settingsOf(run)).toEqual(settings);
      expect((await succeed("evaluate", run)).stderr).toMatch(/✔ evaluate .*as before/);
    },
    LIMIT,
  );

  it(
    "stay those of the import that stands where another one fails, and are there to go on with after a first one failed",
    async () => {
      const broken = join(folder, "broken.csv");
      await writeFile(broken, "nobody,nothing\n1,2\n");
      const run = await copyOf("broken");
      const settings = await settingsOf(run);
      expect(await failure(["import", "--interactions", broken, "--out", run])).toMatchObject({ code: "DATA_FORMAT" });
      expect(await settingsOf(run)).toEqual(settings);
      expect((await succeed("evaluate", run)).stderr).toMatch(/✔ evaluate .*as before/);
      const first = join(folder, "first");
      expect((await failure(["import", "--interactions", broken, "--out", first])).code).toBe("DATA_FORMAT");
      expect((await failure(["run", first])).message).toContain(broken);
    },
    LIMIT,
  );

  it.each([
    ["a flag out of range", ["--epochs", "0"], {}, "train.stopping.epochs", undefined],
    [
      "a misspelt setting of the crowd",
      [],
      { crowd: { neighbors: 8 } },
      "unknown setting crowd.neighbors",
      "crowd.neighbours",
    ],
    ["a misspelt switch", [], { crowd: { enabeld: false } }, "unknown setting crowd.enabeld", "crowd.enabled"],
    [
      "a misspelt setting of training",
      [],
      { train: { optimiser: {} } },
      "unknown setting train.optimiser",
      "train.optimizer",
    ],
    [
      "a misspelt setting deep in it",
      [],
      { train: { crowd: { wieght: 1 } } },
      "train.crowd.wieght",
      "train.crowd.weight",
    ],
    ["a wrong kind in the crowd", [], { crowd: { cliqueSize: 1 } }, "crowd.cliqueSize", undefined],
    ["a wrong network", [], { train: { network: { dim: "wide" } } }, "train.network.dim", undefined],
    [
      "a clusterer without its model",
      [],
      { clusterer: "facets", model: "none" },
      "needs a language model",
      "--clusterer",
    ],
    [
      "more clusters than there are names",
      [],
      { clusterer: "partition", cluster: { maxClusters: 40 } },
      "at most 26",
      undefined,
    ],
    ["more items than fit", [], { clusterer: "partition", crowd: { maxItems: 65 } }, "crowd.maxItems", undefined],
  ] as const)(
    "are checked before the first stage, and not kept where they are wrong: %s",
    async (_, flags, settings, received, hint) => {
      const config = join(folder, "wrong.json");
      await writeFile(config, JSON.stringify({ ...settings, interactions: join(folder, "events.csv") }));
      const before = await contents(made);
      const expected = {
        exit: 2,
        code: "CONFIG_INVALID",
        received: expect.stringContaining(received),
        hint: expect.stringContaining(hint ?? ""),
      };
      expect(await failure(["train", made, "--config", config, ...flags])).toMatchObject(expected);
      expect(await contents(made)).toEqual(before);
      const fresh = join(folder, "never");
      expect(await failure(["run", "--config", config, "--out", fresh, ...flags])).toMatchObject(expected);
      expect(await readdir(folder)).not.toContain("never");
    },
    LIMIT,
  );

  it(
    "name files that are there, and tables that hold what they are to hold",
    async () => {
      const nowhere = join(folder, "nowhere");
      const wrong: [string[], Record<string, unknown>][] = [
        [["--truth", nowhere], { exit: 3, code: "FILE_NOT_FOUND", message: expect.stringContaining(nowhere) }],
        [["--split-file", nowhere], { exit: 3, code: "FILE_NOT_FOUND" }],
        [["--items", nowhere], { exit: 3, code: "FILE_NOT_FOUND" }],
        [["--llm", nowhere], { exit: 3, code: "FILE_NOT_FOUND" }],
        [["--llm", join(folder, "items.csv")], { exit: 4, code: "MODEL_INVALID" }],
        [["--truth", folder], { exit: 3, code: "DATA_FORMAT" }],
        [
          ["--truth", join(folder, "events.csv")],
          { code: "DATA_FORMAT", message: expect.stringContaining("interest") },
        ],
      ];
      for (const [flags, expected] of wrong) {
        const args = ["run", ...inputs(), "--clusterer", "category", "--out", join(folder, "never"), ...flags];
        expect(await failure(args)).toMatchObject(expected);
      }
      expect(await readdir(folder)).not.toContain("never");
    },
    LIMIT,
  );

  it("are asked for where there is no run to go on with, and the run directory is named once", async () => {
    expect(await failure(["run", join(folder, "never")])).toMatchObject({ exit: 3, code: "RUN_INVALID" });
    expect(await failure(["run", made, "--out", made])).toMatchObject({ exit: 2, code: "INVALID_ARGUMENT" });
    expect(await failure(["train", join(folder, "never")])).toMatchObject({ exit: 3, code: "RUN_INVALID" });
    expect(await readdir(folder)).not.toContain("never");
  });
});

describe("a finished run", () => {
  it(
    "is read while another process writes to it, and on a disk that cannot be written",
    async () => {
      const run = await copyOf("busy");
      const readOnly = { NODE_OPTIONS: `--import ${READ_ONLY_DISK}`, READ_ONLY_DISK: run };
      const evaluated = (await succeed("evaluate", run, "--json")).stdout;
      const recommended = (await succeed("recommend", run, "--user", "u7", "--json")).stdout;
      const reads = async (env: Record<string, string>, code: string): Promise<void> => {
        const before = await contents(run);
        const spawned = async (...args: string[]): Promise<string> => {
          const outcome = await spawnPrismrec(args, { env });
          expect([args[0], outcome.code, outcome.code === 0 ? "" : outcome.stderr]).toEqual([args[0], 0, ""]);
          return outcome.stdout;
        };
        expect(await spawned("evaluate", run, "--json", "--threads", "2")).toBe(evaluated);
        expect(await spawned("recommend", run, "--user", "u7", "--json")).toBe(recommended);
        expect((await spawned("export", run, "recommendations", "-k", "2")).trim().split("\n")).toHaveLength(120);
        const refused = await failure(["report", run], env);
        expect([refused.code, refused.hint]).toEqual([code, expect.stringContaining("--output FILE")]);
        const page = join(folder, "elsewhere.html");
        await spawned("report", run, "--output", page);
        expect(await readFile(page, "utf8")).toContain("most-popular");
        await rm(page);
        expect((await failure(["train", run, "--epochs", "2"], env)).code).toBe(code);
        expect(await contents(run)).toEqual(before);
      };
      await reads(readOnly, "IO");
      {
        await using _writer = await RunDirectory.open(run);
        await reads({}, "RUN_LOCKED");
      }
      const { stdout } = await succeed("report", run);
      const report = await spawnPrismrec(["report", run], { env: readOnly });
      expect([report.code, report.stdout]).toEqual([0, stdout]);
    },
    LIMIT,
  );

  it(
    "of another format is refused by its own code, to read and to write",
    async () => {
      const run = await copyOf("older");
      await rm(join(run, "run.json"));
      for (const args of [
        ["run", run],
        ["import", ...inputs(), "--out", run],
        ["train", run],
        ["evaluate", run],
        ["recommend", run, "--user", "u7"],
      ]) {
        expect(await failure(args)).toMatchObject({
          exit: 3,
          code: "RUN_FORMAT",
          hint: expect.stringContaining("--config"),
        });
      }
    },
    LIMIT,
  );
});

describe("a run that is killed", () => {
  it(
    "goes on under its own settings when it is named alone, and ends where an undisturbed one ends",
    async () => {
      const flags = ["--clusterer", "category", "--epochs", "2", "--baselines", "most-popular"];
      const args = ["run", ...inputs(), ...flags];
      const undisturbed = await succeed(...args, "--out", join(folder, "undisturbed"), "--json");
      const killed = join(folder, "killed");
      for (const stage of ["import", "crowd", "train-ldmi"]) {
        const begin = stage === "import" ? [...args, "--out", killed] : ["run", killed];
        const outcome = await spawnPrismrec(begin, { interruptAt: `✔ ${stage}`, signal: "SIGKILL" });
        expect(outcome.code).toBeNull();
      }
      const { stdout } = await succeed("run", killed, "--json");
      expect(JSON.parse(stdout)).toEqual(JSON.parse(undisturbed.stdout));
    },
    LIMIT,
  );
});
