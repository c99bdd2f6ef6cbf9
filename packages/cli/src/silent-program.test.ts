import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeSmallData } from "./testing/small-data.js";
import { buildPackages, repositoryRoot } from "./testing/spawn.js";

const LIMIT = 240_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-silent-"));
  await Promise.all([writeSmallData(folder), buildPackages()]);
}, LIMIT);

afterAll(() => rm(folder, { recursive: true, force: true }));

/** What a user of the library writes: the whole pipeline, an export's part, and an error. */
const program = `
import { writeFile } from "node:fs/promises";
const [library, dir, interactions, items, result] = process.argv.slice(1);
const { openRun, openServing, servedStage } = await import(library);
const settings = { interactions, items, clusterer: "category", effort: "quick", baselines: ["most-popular"], train: { stopping: { epochs: 1 } } };
const run = await openRun(dir, settings);
const stages = await run.run();
const serving = await openServing(run, servedStage(run.settings));
const { items: found } = await serving.recommender.recommend({ user: "u7" }, { k: 3 });
const refused = await run.run({ to: "nothing" }).catch(({ code }) => code);
const { report } = await run.open("evaluate");
await writeFile(result, JSON.stringify({ stages, found, refused, models: Object.keys(report.models) }));
await serving[Symbol.asyncDispose]();
await run.close();
`;

it(
  "a program that runs the pipeline prints nothing, whatever the pipeline has to say",
  async () => {
    const result = join(folder, "result.json");
    const library = pathToFileURL(join(repositoryRoot, "packages/cli/dist/pipeline/index.js")).href;
    const data = [join(folder, "events.csv"), join(folder, "items.csv")];
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [
      ...["--input-type=module", "-e", program, library, join(folder, "run"), ...data, result],
    ]);
    expect({ stdout, stderr }).toEqual({ stdout: "", stderr: "" });
    const { stages, found, refused, models } = JSON.parse(await readFile(result, "utf8"));
    expect(stages.map(({ stage }: { stage: string }) => stage)).toEqual([
      ...["import", "cluster", "crowd", "train-ldmi", "train-most-popular", "prior", "evaluate", "index", "report"],
    ]);
    expect(found).toHaveLength(3);
    expect([refused, models]).toEqual(["INVALID_ARGUMENT", ["ldmi", "ldmi-alone", "most-popular"]]);
  },
  LIMIT,
);
