import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setThreadBudget, threadBudget } from "@prismrec/core/base";
import { importDataset } from "@prismrec/core/data/import";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Ui } from "../terminal/ui.js";
import { fakeIo } from "../testing/fake-io.js";
import { writeSmallData } from "../testing/small-data.js";
import { openRunClusterer } from "./cluster.js";
import { openPipeline } from "./pipeline.js";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-pipeline-"));
});

afterEach(() => rm(folder, { recursive: true }));

const surroundings = () => ({
  ui: new Ui(fakeIo(), { json: false, quiet: true, verbose: false, color: false, progress: false }),
  signal: new AbortController().signal,
});

describe("openPipeline", () => {
  it("grants the threads of the settings", async () => {
    try {
      await using _pipeline = await openPipeline(join(folder, "run"), { threads: 3 }, surroundings());
      expect(threadBudget()).toBe(3);
    } finally {
      setThreadBudget(undefined);
    }
  });
});

describe("openRunClusterer", () => {
  it("refuses another language model than the one that read the histories", async () => {
    await writeSmallData(folder);
    const model = join(folder, "model.gguf");
    await writeFile(model, "another model");
    const { dataset, report } = await importDataset({ interactions: join(folder, "events.csv") });
    await using pipeline = await openPipeline(join(folder, "run"), {}, surroundings());
    const stage = { dir: folder, fingerprint: "f" };
    const choice = { clusterer: "partition", model: { path: model, hash: "that of the model before" } };
    await expect(openRunClusterer(pipeline, { ...stage, dataset, report }, { ...stage, choice })).rejects.toMatchObject(
      {
        code: "RUN_INVALID",
        hint: expect.stringContaining("prismrec cluster"),
      },
    );
  });
});
