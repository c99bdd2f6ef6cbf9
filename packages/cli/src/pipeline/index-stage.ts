import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, type StageSpec, writeJsonAtomic } from "@prismrec/core/base";
import { type Clusterer, openClusterer } from "@prismrec/core/interests";
import { InterestModel, loadModel, type MultiInterestModel } from "@prismrec/core/models";
import { native } from "@prismrec/core/ops";
import { Recommender } from "@prismrec/core/recommend";
import { count } from "../terminal/format.js";
import { type Clustered, type ClusterStage, findCluster, historyLimits, openRunClusterer } from "./cluster.js";
import { findCrowd } from "./crowd.js";
import type { Imported } from "./import.js";
import { announce, findStage, type Pipeline, runOptions, runStage, type StageOutput } from "./pipeline.js";
import { findLdmi, type Trained } from "./train.js";

const NAME = "index";
const SEARCH = "search";
const VERSION = 1;

function indexSpec(imported: StageOutput, clustered: StageOutput, ldmi: StageOutput): StageSpec {
  const inputs = { import: imported.fingerprint, cluster: clustered.fingerprint, train: ldmi.fingerprint };
  return { inputs, config: {}, version: VERSION };
}

/**
 * Puts what serving needs in one folder: the best model, the index over its item vectors (where the addon is there to
 * build one that can be kept) and the clusterer that names interests with no language model.
 */
export async function runIndex(
  pipeline: Pipeline,
  imported: Imported,
  clustered: Clustered,
  { models }: Trained,
): Promise<StageOutput> {
  const ldmi = models.find(({ name }) => name === "ldmi");
  const model = ldmi?.model;
  if (ldmi === undefined || !(model instanceof InterestModel)) {
    throw new PrismrecError("RUN_INVALID", "this run has no trained ldmi", { hint: "prismrec train brings it about." });
  }
  const vectors = model.itemVectors();
  const output = await runStage(pipeline, NAME, indexSpec(imported, clustered, ldmi), async (dir) => {
    if (native() !== undefined) await model.saveIndex(join(dir, SEARCH), runOptions(pipeline));
    await cp(join(ldmi.dir, "model"), join(dir, "model"), { recursive: true });
    const clusterer = join(clustered.dir, "clusterer");
    if (existsSync(clusterer)) await cp(clusterer, join(dir, "clusterer"), { recursive: true });
    await writeJsonAtomic(join(dir, "index.json"), {
      dataset: imported.dataset.fingerprint,
      items: vectors.rows,
      dim: vectors.cols,
      clusterer: clustered.report.clusterer ?? null,
    });
  });
  await announce(pipeline, NAME, `${count(vectors.rows)} items, ${vectors.cols} numbers each`, output.reused);
  return output;
}

export interface Serving extends AsyncDisposable {
  readonly model: MultiInterestModel;
  readonly recommender: Recommender;
}

/**
 * Everything that recommending from a trained run takes, from the index stage where it has been done, else from the
 * stages that it would be made of: a run that was made stage by stage is served without it, and nothing is written.
 */
export async function openServing(pipeline: Pipeline, imported: Imported): Promise<Serving> {
  const clustered = await findCluster(pipeline, imported);
  const crowded = await findCrowd(pipeline, imported, clustered);
  const ldmi = await findLdmi(pipeline, imported, clustered, crowded);
  const index = await findStage(pipeline, NAME, indexSpec(imported, clustered, ldmi));
  const { catalog, log } = imported.dataset;
  const model = await loadModel(join((index ?? ldmi).dir, "model"), catalog);
  const search = index === undefined ? undefined : join(index.dir, SEARCH);
  if (search !== undefined && native() !== undefined && existsSync(search)) {
    await model.openIndex(search, { signal: pipeline.signal });
  }
  const source = await openClustererIn(pipeline, (index ?? clustered).dir, imported, clustered);
  const recommender = new Recommender({
    model,
    catalog,
    log,
    ...(source === undefined ? {} : { clusterer: source.clusterer }),
    ...historyLimits(pipeline.settings),
  });
  return {
    model,
    recommender,
    [Symbol.asyncDispose]: async () => {
      recommender[Symbol.dispose]();
      model.dispose();
      await source?.[Symbol.asyncDispose]();
    },
  };
}

/** The clusterer beside the index; else the run's, which may bring its language model; undefined where there is none. */
async function openClustererIn(
  pipeline: Pipeline,
  dir: string,
  imported: Imported,
  clustered: ClusterStage,
): Promise<(AsyncDisposable & { readonly clusterer: Clusterer }) | undefined> {
  const saved = join(dir, "clusterer");
  if (existsSync(saved)) {
    const clusterer = await openClusterer(saved, imported.dataset.catalog);
    return { clusterer, [Symbol.asyncDispose]: async () => undefined };
  }
  return clustered.choice.clusterer === undefined ? undefined : openRunClusterer(pipeline, imported, clustered);
}
