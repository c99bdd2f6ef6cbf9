import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fakeIo, prismrec } from "./testing/fake-io.js";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-main-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

describe("prismrec", () => {
  it("prints help to stdout with 0, and to stderr with 2 where nothing was asked", async () => {
    const help = await prismrec(["--help"]);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain("Usage: prismrec");
    expect(help.stdout).toContain("Exit codes: 0 ok");
    expect(help.stderr).toBe("");
    const nothing = await prismrec([]);
    expect([nothing.code, nothing.stdout]).toEqual([2, ""]);
    expect(nothing.stderr).toContain("Usage: prismrec");
  });

  it("prints its version", async () => {
    const { version } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
    expect(await prismrec(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
  });

  it.each([
    [["evaluat", "runs/x"], "Did you mean evaluate?"],
    [["run", "--interaction", "x.csv"], "Did you mean --interactions?"],
    [["recommend", "runs/x", "--usr", "42"], "Did you mean --user?"],
    [["run", "--sead", "3"], "Did you mean --seed?"],
    [["ablate", "runs/x", "--variants", "shufled"], "did you mean shuffled?"],
  ])("answers %j with 2 and a suggestion", async (args, suggestion) => {
    const { code, stdout, stderr } = await prismrec(args);
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).toContain(suggestion);
  });

  it.each([
    [["run", "--seed", "-1"]],
    [["run", "--seed", "1.5"]],
    [["run", "--clusterer", "magic"]],
    [["run", "--baselines", "ease,magic"]],
    [["evaluate", "runs/x", "--fail-under", "recall=1"]],
    [["recommend", "runs/x", "--user", "1", "-k", "0"]],
    [["recommend", "runs/x", "--user", "1", "--diversity", "1.5"]],
    [["evaluate", "runs/x", "--log", "shown.jsonl", "--within", "soon"]],
    [["evaluate", "runs/x", "--events", "clicks.csv"]],
    [["recommend", "runs/x"]],
    [["recommend", "runs/x", "--history", ""]],
    [["recommend", "runs/x", "--history", " , "]],
    [["evaluate", "runs/x", "--fail-under", "recall@50=1.5"]],
    [["evaluate", "runs/x", "--fail-under", "recall@50=much"]],
    [["export", "runs/x", "items", "--output", "items.xlsx"]],
    [["export", "runs/x", "items", "--output", "items"]],
    [["export", "runs/x", "everything"]],
    [["recommend", "runs/x", "--user", "1", "--history", "2"]],
    [["evaluate"]],
    [["evaluate", "a", "b"]],
    [["run", "--out", "x"]],
    [["run", "--interactions", "x.csv"]],
  ])("refuses %j with 2", async (args) => {
    const { code, stdout, stderr } = await prismrec(args, fakeIo({ cwd: folder }));
    expect([code, stdout]).toEqual([2, ""]);
    expect(stderr).not.toBe("");
    expect(await readdir(folder)).toEqual([]);
  });

  it("says what is missing, with the code, what was received and what to do", async () => {
    const { code, stderr } = await prismrec(
      ["import", "--interactions", "missing.csv", "--out", join(folder, "run")],
      fakeIo({ cwd: folder }),
    );
    expect(code).toBe(3);
    expect(stderr).toMatch(/✖ no such file or folder: .*missing\.csv {3}\(FILE_NOT_FOUND\)/);
    expect(stderr).toContain("hint");
  });

  it("prints errors as JSON under --json, and leaves stdout empty", async () => {
    const { code, stdout, stderr } = await prismrec(["evaluate", join(folder, "none"), "--json"]);
    expect([code, stdout]).toEqual([3, ""]);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "RUN_INVALID" } });
  });

  it.each([
    [["recommend", "runs/x", "--usr", "42", "--json"], "unknown option '--usr'", "Did you mean --user?"],
    [["--json", "evaluat", "runs/x"], "unknown command 'evaluat'", "Did you mean evaluate?"],
    [["evaluate", "--json"], "missing required argument 'run'", "prismrec evaluate --help"],
    [["export", "runs/x", "items", "-o", "items.xlsx", "--json"], ".csv, .tsv, .parquet", "prismrec export --help"],
    [["run", "--seed", "x", "--json"], "Give a whole number", "prismrec run --help"],
    [["run", "--clusterer", "magic", "--json"], "Allowed choices are facets", "prismrec run --help"],
    [["--json"], "no command", "prismrec --help"],
  ])("answers %j with one line of JSON", async (args, message, hint) => {
    const { code, stdout, stderr } = await prismrec(args, fakeIo({ cwd: folder }));
    expect([code, stdout, stderr.trim().split("\n").length]).toEqual([2, "", 1]);
    expect(JSON.parse(stderr)).toEqual({
      error: {
        code: "INVALID_ARGUMENT",
        message: expect.stringContaining(message),
        hint: expect.stringContaining(hint),
      },
    });
  });

  it("still prints help and version under --json", async () => {
    for (const flag of ["--help", "--version"]) {
      const { code, stdout, stderr } = await prismrec(["--json", flag]);
      expect([code, stdout.length > 0, stderr]).toEqual([0, true, ""]);
    }
  });

  it("cannot be made to print cursor codes by data", async () => {
    const file = join(folder, "hostile.csv");
    await writeFile(file, "user,\u001b[2Jitem\n1,2\n");
    const { code, stderr } = await prismrec(["import", "--interactions", file, "--out", join(folder, "hostile")]);
    expect(code).toBe(3);
    expect(stderr).not.toContain("\u001b");
  });

  it("writes a configuration that it reads back, and never over another", async () => {
    const io = () => fakeIo({ cwd: folder });
    expect((await prismrec(["init", "--interactions", "r.csv", "--epochs", "3"], io())).code).toBe(0);
    const settings = JSON.parse(await readFile(join(folder, "prismrec.config.json"), "utf8"));
    expect(settings).toMatchObject({ interactions: "r.csv", train: { stopping: { epochs: 3 } } });
    const again = await prismrec(["init"], io());
    expect(again.code).toBe(2);
    expect(again.stderr).toContain("--force");
    const run = await prismrec(["run"], io());
    expect([run.code, run.stderr.includes("r.csv")]).toEqual([3, true]);
    await rm(join(folder, "prismrec.config.json"));
  });
});

describe("doctor", () => {
  it("gives every check a status and a reason, as JSON", async () => {
    const { code, stdout } = await prismrec(["doctor", "--json"], fakeIo({ env: { XDG_CACHE_HOME: folder } }));
    const { ok, checks } = JSON.parse(stdout);
    expect(code).toBe(ok ? 0 : 4);
    expect(checks.map(({ name }: { name: string }) => name)).toEqual([
      "Node",
      "Native addon",
      "Processor",
      "GPU",
      "Model",
      "llama.cpp",
      "Python",
      "Memory",
    ]);
    for (const check of checks)
      expect(check).toMatchObject({ status: expect.any(String), text: expect.stringMatching(/./) });
  });

  it("fails with 4 and says why where the model cannot be read", async () => {
    const file = join(folder, "broken.gguf");
    await writeFile(file, "not a model");
    const { code, stdout } = await prismrec(["doctor", "--model", file]);
    expect(code).toBe(4);
    expect(stdout).toContain("✖ Model");
    const named = await prismrec(["doctor"], fakeIo({ env: { XDG_CACHE_HOME: folder, PRISMREC_LLM: file } }));
    expect([named.code, named.stdout]).toEqual([4, expect.stringContaining("✖ Model")]);
  });

  it("takes the model to train for no language model", async () => {
    const env = { XDG_CACHE_HOME: folder, PRISMREC_MODEL: "sasrec" };
    const { stdout } = await prismrec(["doctor"], fakeIo({ env }));
    expect(stdout).toContain("· Model");
    expect(stdout).toContain("--llm FILE or PRISMREC_LLM");
  });
});
