import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Command } from "commander";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { addRun } from "../commands/run.js";
import { CONFIG_FILE, type RawSettings } from "../config/load.js";
import { GLOBAL_SETTINGS, gatherSettings, settingOption } from "../options.js";
import { fakeIo } from "../testing/fake-io.js";
import { VERSION } from "../version.js";
import { reproduceCommand } from "./reproduce.js";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-reproduce-"));
  // It would speak before the configuration.
  vi.stubEnv("PRISMREC_EFFORT", undefined);
});

afterAll(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

/** What a shell hands to npx, and the settings that the program would take from it. */
async function replay(command: string): Promise<{ readonly words: string[]; readonly settings: RawSettings }> {
  const here = join(folder, "elsewhere");
  const script = `mkdir -p ${here} && cd ${here} && npx() { printf '%s\\0' "$@"; }\n${command}\n`;
  const { stdout } = await promisify(execFile)("sh", ["-c", script]);
  const words = stdout.split("\0").slice(0, -1);
  const program = new Command().exitOverride().option("--config <file>");
  for (const flag of Object.values(GLOBAL_SETTINGS)) program.addOption(settingOption(flag));
  addRun(program, fakeIo());
  const run = program.commands[0]!;
  run.action(() => undefined);
  await program.parseAsync(words.slice(1), { from: "user" });
  return { words, settings: await gatherSettings(run, here) };
}

async function reproduced(settings: RawSettings, languageModel?: string) {
  const settingsFile = join(folder, CONFIG_FILE);
  await writeFile(settingsFile, JSON.stringify(settings));
  return replay(await reproduceCommand({ path: join(folder, "it's a run"), settingsFile }, { seed: 7, languageModel }));
}

describe("reproduceCommand", () => {
  it("gives a shell this version, every file, every flag, the seed and the language model, however they are written", async () => {
    const settings = {
      interactions: ["/data/it's $HOME.csv", '/data/`b` "c"\\.csv'],
      items: "/data/ü,*.csv",
      baselines: ["ease", "most-popular"],
      effort: "thorough",
      trainAll: true,
      train: { stopping: { epochs: 3 } },
    };
    const { words, settings: taken } = await reproduced(
      { ...settings, threads: 2, fetchModel: false },
      "/models/a b.gguf",
    );
    expect(words[0]).toBe(`prismrec@${VERSION}`);
    expect(words).not.toContain("--config");
    expect(words.slice(-2)).toEqual(["--out", join(folder, "it's a run")]);
    expect(taken).toEqual({ ...settings, llm: "/models/a b.gguf", seed: 7 });
  });

  it("writes the configuration where flags cannot say all of it", async () => {
    const settings = { interactions: "/data/EOF $x.csv", effort: "standard", cluster: { maxClusters: 3 }, llm: "none" };
    const { words, settings: taken } = await reproduced(settings);
    expect(words).toContain("--config");
    expect(taken).toEqual({ ...settings, seed: 7 });
    expect(JSON.parse(await readFile(join(folder, "elsewhere", CONFIG_FILE), "utf8"))).toEqual({
      ...settings,
      seed: 7,
    });
  });

  it("says that there was no language model where none was used", async () => {
    expect((await reproduced({ interactions: "/data/a.csv" })).settings).toMatchObject({ llm: "none" });
  });
});
