import { existsSync } from "node:fs";
import { cp } from "node:fs/promises";
import { join } from "node:path";
import { writeJsonAtomic } from "@prismrec/core/base";
import { InterestModel, isMultiInterest, type Model, PriorModel } from "@prismrec/core/models";
import { native } from "@prismrec/core/ops";
import { settingsSchema } from "../config/schema.js";
import { count } from "../format.js";
import { clusterStage, type OpenClusterer, openSavedClusterer } from "./cluster.js";
import { importStage } from "./import.js";
import { keptModel } from "./prior.js";
import { defineStage, type Stage, type StageOutput } from "./stage.js";
import { dispose, type TrainedModel } from "./train.js";

const SEARCH = "search";
const VERSION = 1;

/** Everything that serving needs, in one folder. */
export interface Indexed extends StageOutput {
  /** The best model, with the index over its item vectors where one was kept; whoever opens it disposes of it. */
  openModel(): Promise<Model>;
  /** The clusterer that names interests with no language model; undefined where there is none. */
  openClusterer(): Promise<OpenClusterer | undefined>;
}

/**
 * Puts what serving needs in one folder: the best model, the index over its item vectors (where it has such, and the
 * addon is there to build one that can be kept) and the clusterer that names interests with no language model.
 */
export function indexStage(own: Stage<TrainedModel>): Stage<Indexed> {
  return defineStage({
    name: "index",
    summary: "puts what serving needs in one folder: the model, the index over its items, the clusterer",
    version: VERSION,
    reads: [importStage, clusterStage, own],
    settings: settingsSchema.pick({}),
    async run(context, dir) {
      const { dataset } = await context.open(importStage);
      const clustered = await context.open(clusterStage);
      const trained = await context.open(own);
      const model = await trained.model();
      if (keepsIndex(model)) await model.saveIndex(join(dir, SEARCH), context.options);
      await trained.keep(dir);
      const clusterer = join(clustered.dir, "clusterer");
      if (existsSync(clusterer)) await cp(clusterer, join(dir, "clusterer"), { recursive: true });
      await writeJsonAtomic(join(dir, "index.json"), {
        dataset: dataset.fingerprint,
        items: model.itemCount,
        ...(isMultiInterest(model) ? { dim: model.dim } : {}),
        clusterer: clustered.choice.clusterer ?? null,
      });
    },
    async open(context, finished): Promise<Indexed> {
      const { dataset } = await context.open(importStage);
      const { name } = await context.open(own);
      return {
        ...finished,
        async openModel() {
          const model = await (await keptModel(context, name, finished)).model();
          const search = join(finished.dir, SEARCH);
          try {
            if (keepsIndex(model) && existsSync(search)) {
              await model.openIndex(search, { signal: context.signal });
            }
            return model;
          } catch (error) {
            dispose(model);
            throw error;
          }
        },
        openClusterer: () => openSavedClusterer(finished.dir, dataset.catalog),
      };
    },
    async describe(context) {
      const model = await (await context.open(own)).model();
      const items = `${count(model.itemCount)} items`;
      return { summary: isMultiInterest(model) ? `${items}, ${model.dim} numbers each` : items };
    },
  });
}

/** Whether a model has an index over its item vectors that can be kept, and the addon is there to keep it. */
function keepsIndex(model: Model): model is InterestModel | PriorModel {
  return (model instanceof InterestModel || model instanceof PriorModel) && native() !== undefined;
}
