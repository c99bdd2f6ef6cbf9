import { readdir } from "node:fs/promises";
import type { Progress } from "@prismrec/core/base";
import { describe, expect, it, vi } from "vitest";
import { TemporaryFolder } from "../testing/tiny-input.js";
import { PLANTED_ARMS, type PlantedExperimentOptions, pairedGain, plantedExperiment } from "./experiment.js";

/** Few training users, so that there is something left to gain, and many test users, so that it shows. */
const SMALL: PlantedExperimentOptions = {
  data: { users: 2000, items: 600, interests: 12, trainShare: 0.25 },
  config: { network: { dim: 32 }, batchSize: 64, stopping: { epochs: 6, patience: 6 } },
  crowd: { share: 0.2 },
};

const TINY: PlantedExperimentOptions = {
  data: { users: 200, items: 80, interests: 4 },
  config: { network: { dim: 8 }, stopping: { epochs: 1 } },
};

describe("a part that is given true partitions", () => {
  it("beats the same part given shuffled ones by more than two standard errors: mixture and contrast", async () => {
    const arms = ["mixture", "mixture-shuffled", "contrast", "contrast-shuffled"] as const;
    // Which epoch is kept hangs on 199 validation users: one seed alone may keep an early one.
    const { pairs, runs } = await plantedExperiment({ ...SMALL, arms, seeds: [1, 2, 3, 4] });
    expect(pairs.map(({ better, than }) => [better, than])).toEqual([
      ["mixture", "mixture-shuffled"],
      ["contrast", "contrast-shuffled"],
    ]);
    for (const { better, gains } of pairs) {
      const { mean, userError, seedError } = gains["recall@50"];
      const error = Math.max(userError, seedError!);
      expect(mean / error, `${better}: ${mean} +- ${error}`).toBeGreaterThan(2);
    }
    const share = (arm: string) => runs.find((run) => run.arm === arm)!.diagnostics.semanticMass!;
    // Clusters that mean something draw more of the prior than clusters that do not.
    expect(share("mixture")).toBeGreaterThan(share("mixture-shuffled"));
    expect(share("contrast")).toBeCloseTo(0, 12);
  }, 300_000);
});

describe("plantedExperiment", () => {
  it("runs every arm with every seed, compares those that belong together, and leaves no files behind", async () => {
    await using folder = await TemporaryFolder.create();
    vi.stubEnv("TMPDIR", folder.path);
    const notes: Progress[] = [];
    const result = await plantedExperiment({ ...TINY, seeds: [1, 2], onProgress: (progress) => notes.push(progress) });
    expect(result.runs.map(({ arm, seed }) => `${arm} ${seed}`)).toEqual(
      [1, 2].flatMap((seed) => PLANTED_ARMS.map((arm) => `${arm} ${seed}`)),
    );
    expect(result.pairs).toHaveLength(5);
    for (const { better, than, gains } of result.pairs) {
      const meanOf = (arm: string) =>
        result.runs.filter((run) => run.arm === arm).reduce((sum, run) => sum + run.metrics["ndcg@20"] / 2, 0);
      expect(gains["ndcg@20"].mean).toBeCloseTo(meanOf(better) - meanOf(than), 12);
      expect(gains["ndcg@20"].bySeed).toHaveLength(2);
    }
    expect(notes.at(-1)).toMatchObject({ stage: "planted", done: 11, total: 12, unit: "runs" });
    expect(await readdir(folder.path)).toEqual([]);
    vi.unstubAllEnvs();
  });

  it("repeats itself", async () => {
    const once = async () => {
      const { runs } = await plantedExperiment({ ...TINY, arms: ["mixture+contrast"] });
      return runs.map(({ metrics, diagnostics, steps }) => ({ metrics, diagnostics, steps }));
    };
    expect(await once()).toEqual(await once());
  });

  it("refuses to compare nothing", async () => {
    await expect(plantedExperiment({ arms: [] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(plantedExperiment({ seeds: [] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("rejects with the signal's reason", async () => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const running = plantedExperiment({
      ...TINY,
      signal: controller.signal,
      onProgress: () => controller.abort(reason),
    });
    await expect(running).rejects.toBe(reason);
  });
});

describe("pairedGain", () => {
  it("keeps users together over seeds", () => {
    const { mean, userError, seedError, bySeed } = pairedGain(
      [Float64Array.of(0.5, 0.7, 0.9), Float64Array.of(0.5, 0.5, 0.5)],
      [Float64Array.of(0.4, 0.5, 0.6), Float64Array.of(0.5, 0.5, 0.5)],
    );
    expect(bySeed.map((gain) => Number(gain.toFixed(12)))).toEqual([0.2, 0]);
    expect(mean).toBeCloseTo(0.1, 12);
    // Users gain .05, .1 and .15 on average: deviation .05.
    expect(userError).toBeCloseTo(0.05 / Math.sqrt(3), 12);
    // Seeds gain .2 and 0: deviation .2 / sqrt(2).
    expect(seedError).toBeCloseTo(0.1, 12);
  });

  it("says nothing about seeds where there is one", () => {
    expect(pairedGain([Float64Array.of(1, 0)], [Float64Array.of(0, 0)])).not.toHaveProperty("seedError");
  });
});
