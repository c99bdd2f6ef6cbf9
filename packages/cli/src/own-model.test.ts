import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeIo, prismrec } from "./testing/fake-io.js";
import { writeSmallData } from "./testing/small-data.js";

const LIMIT = 120_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-own-"));
  await writeSmallData(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const inputs = (): string[] => [
  ...["--interactions", join(folder, "events.csv"), "--items", join(folder, "items.csv")],
  ...["--clusterer", "category", "--baselines", "most-popular,comirec-sa"],
];

async function succeed(...args: string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const { code, stdout, stderr } = await prismrec(args, fakeIo({ cwd: folder }));
  expect([args[0], code, code === 0 ? "" : stderr]).toEqual([args[0], 0, ""]);
  return { stdout, stderr };
}

describe("prismrec run --model NAME", () => {
  it(
    "trains, judges, explains and serves another network as the run's own",
    async () => {
      const run = join(folder, "network");
      const { stdout, stderr } = await succeed(
        "run",
        ...inputs(),
        "--model",
        "comirec-sa",
        "--epochs",
        "2",
        "--prior",
        "none",
        "--out",
        run,
      );
      expect(stderr).not.toContain("ldmi");
      expect(stderr).toContain("✔ train-comirec-sa");
      // Nobody learns from a crowd.
      expect(stderr).toMatch(/✔ crowd +none/);
      expect(stdout).toMatch(/comirec-sa (and|is)[^\n]*most-popular/);
      const evaluated = JSON.parse((await succeed("evaluate", run, "--json")).stdout);
      expect(Object.keys(evaluated.models)).toEqual(["comirec-sa", "most-popular"]);
      expect(await readFile(join(run, "report", "report.html"), "utf8")).toContain("comirec-sa finds");
      const trained = JSON.parse((await succeed("train", run, "--json")).stdout);
      expect(trained).toMatchObject({ models: ["comirec-sa", "most-popular"], "comirec-sa": { bestEpoch: 2 } });
      const recommended = JSON.parse((await succeed("recommend", run, "--user", "u7", "-k", "5", "--json")).stdout);
      expect(recommended.items).toHaveLength(5);
      expect(recommended.interests.length).toBeGreaterThan(0);
      expect((await succeed("export", run, "items")).stdout.trim().split("\n")).toHaveLength(48);
      const missed = await prismrec(["evaluate", run, "--fail-under", "ndcg@20=1"]);
      expect([missed.code, missed.stderr]).toEqual([5, expect.stringContaining("ndcg@20 of comirec-sa is")]);
      const { variants } = JSON.parse(
        (await succeed("ablate", run, "--seeds", "1", "--variants", "comirec-sa,no-crowd", "--epochs", "1", "--json"))
          .stdout,
      );
      expect(Object.keys(variants)).toEqual(["comirec-sa"]);
    },
    LIMIT,
  );

  it(
    "takes one that is fitted at once too, which has no interests to tell of and no vectors to write",
    async () => {
      const run = join(folder, "fitted");
      await succeed("run", ...inputs(), "--model", "ease", "--baselines", "most-popular", "--out", run);
      const evaluated = JSON.parse((await succeed("evaluate", run, "--json")).stdout);
      expect(Object.keys(evaluated.models)).toEqual(["ease", "most-popular"]);
      expect(JSON.parse((await succeed("train", run, "--json")).stdout).ease).toBeNull();
      const staged = (await succeed("recommend", run, "--user", "u7", "-k", "5", "--json")).stdout;
      expect(JSON.parse(staged)).toMatchObject({ interests: [], items: Array(5).fill({ interest: null }) });
      await rm(join(run, "index"), { recursive: true });
      expect((await succeed("recommend", run, "--user", "u7", "-k", "5", "--json")).stdout).toBe(staged);
      expect((await prismrec(["export", run, "items"])).stderr).toContain("ease has no item vectors");
      expect((await prismrec(["ablate", run])).code).toBe(2);
      const epochs = await prismrec(["train", run, "--epochs", "2"]);
      expect([epochs.code, epochs.stderr]).toEqual([2, expect.stringContaining("ease has no settings of training")]);
    },
    LIMIT,
  );

  it("refuses names that are none, with the likely one", async () => {
    const { code, stderr } = await prismrec([
      "run",
      ...inputs(),
      "--model",
      "comirec-sb",
      "--out",
      join(folder, "none"),
    ]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("Did you mean comirec-sa?")]);
    const other = await prismrec(["run", ...inputs(), "--model", "gigantic", "--out", join(folder, "none")]);
    expect([other.code, other.stderr]).toEqual([2, expect.stringContaining("--llm FILE")]);
  });

  it("stops after a stage, and goes on from one", async () => {
    const run = join(folder, "part");
    const part = JSON.parse((await succeed("run", ...inputs(), "--to", "cluster", "--out", run, "--json")).stdout);
    expect(part).toMatchObject({ run, stages: [{ stage: "import" }, { stage: "cluster", reused: false }] });
    const { code, stderr } = await prismrec(["run", run, "--from", "evaluate"]);
    expect([code, stderr]).toEqual([3, expect.stringContaining("no finished crowd stage")]);
    const unknown = await prismrec(["run", run, "--to", "clusters"]);
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringContaining("Did you mean cluster?")]);
  });
});

describe("the language model under its old name", () => {
  const file = (): string => join(folder, "model.gguf");
  beforeAll(() => writeFile(file(), "not a model"));

  it.each([
    ["run", (): string[] => ["run", ...inputs(), "--out", join(folder, "never"), "-m"]],
    ["probe", (): string[] => ["probe", "--model"]],
    ["doctor", (): string[] => ["doctor", "-m"]],
  ])("is taken from %s, with a warning that names the new one", async (_, args) => {
    const { code, stdout, stderr } = await prismrec([...args(), "model.gguf"], fakeIo({ cwd: folder }));
    expect([code, `${stdout}${stderr}`]).toEqual([4, expect.stringContaining("model.gguf")]);
    expect(stderr).toContain("! --model names the model to train from now on: model.gguf is taken as --llm model.gguf");
  });

  it("is taken from a configuration and from the settings of a run", async () => {
    const run = join(folder, "renamed");
    const config = join(folder, "old.json");
    const settings = { interactions: "events.csv", items: "items.csv", clusterer: "category", model: "model.gguf" };
    await writeFile(config, JSON.stringify(settings));
    const first = await prismrec(["import", "--config", config, "--out", run]);
    expect([first.code, first.stderr]).toEqual([0, expect.stringContaining('whose setting is "llm"')]);
    const stored = join(run, "prismrec.config.json");
    const kept = JSON.parse(await readFile(stored, "utf8"));
    expect(kept).toMatchObject({ llm: file() });
    const { llm, ...others } = kept;
    await writeFile(stored, JSON.stringify({ ...others, model: llm }));
    // The clusterer of the settings reads no model, and the file is looked at all the same.
    expect((await prismrec(["cluster", run])).stderr).toContain("MODEL_INVALID");
  });

  it("is no name of a model to train where none is trained", async () => {
    const { code, stderr } = await prismrec(["doctor", "--model", "comirec-sa"]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("--llm")]);
  });
});
