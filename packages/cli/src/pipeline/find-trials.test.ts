import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeSmallData } from "../testing/small-data.js";
import { findTrials, runAblation } from "./ablate.js";
import { openRun } from "./index.js";

const LIMIT = 240_000;

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-trials-"));
  await writeSmallData(folder);
});

afterAll(() => rm(folder, { recursive: true }));

describe("findTrials", () => {
  it(
    "finds the trials of this data, these clusters and these metrics, and no others",
    async () => {
      const settings = {
        interactions: join(folder, "events.csv"),
        items: join(folder, "items.csv"),
        clusterer: "category",
        core: { mode: "none" },
        effort: "quick",
        baselines: ["most-popular"],
        evaluate: { cutoffs: [5] },
        train: { network: { dim: 8, layers: 1 }, stopping: { epochs: 1 } },
      };
      /** Names of what is found once the run has been brought as far under these settings. */
      const found = async (changed: Readonly<Record<string, unknown>> = {}): Promise<string[]> => {
        await using run = await openRun(join(folder, "run"), { ...settings, ...changed });
        await run.run({ to: "crowd" });
        const trials = await findTrials({ directory: run.directory, open: (stage) => run.open(stage) }, run.settings);
        return trials.map(({ stage }) => stage);
      };
      expect(await found()).toEqual([]);
      {
        await using run = await openRun(join(folder, "run"));
        await runAblation(run, settings, ["ldmi", "no-semantic"], [1]);
        await runAblation(run, settings, ["no-semantic"], [2]);
      }
      // A second seed of a part alone has nothing to be held against.
      expect(await found()).toEqual(["ablate-ldmi-s1", "ablate-no-semantic-s1", "ablate-most-popular"]);
      expect(await found({ evaluate: { cutoffs: [5, 10] } })).toEqual([]);
      expect(await found({ split: { seed: 3 } })).toEqual([]);
      // What read no clusters is still true; the whole model is not, and with it goes what its seeds say.
      expect(await found({ clusterer: "random" })).toEqual([
        "ablate-no-semantic-s1",
        "ablate-no-semantic-s2",
        "ablate-most-popular",
      ]);
    },
    LIMIT,
  );
});
