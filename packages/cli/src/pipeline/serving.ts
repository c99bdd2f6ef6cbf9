import { type DevicePreference, hashJson } from "@prismrec/core/base";
import type { HistoryLimits } from "@prismrec/core/interests";
import type { Model } from "@prismrec/core/models";
import { Recommender } from "@prismrec/core/recommend";
import { clusterStage, type OpenClusterer } from "./cluster.js";
import { importStage } from "./import.js";
import { indexStage } from "./index-stage.js";
import type { Stage } from "./stage.js";
import { dispose, type TrainedModel } from "./train.js";

export interface Serving extends AsyncDisposable {
  readonly model: Model;
  readonly recommender: Recommender;
  /** Of all that its answers depend on: the data, the model and the clusterer. */
  readonly hash: string;
}

/** A run, or a stage that reads what serving takes. */
export interface Opener {
  open<Output>(stage: Stage<Output>): Promise<Output>;
  find<Output>(stage: Stage<Output>): Promise<Output | undefined>;
}

/**
 * Everything that recommending from a trained run takes, from the index stage where it has been done, else from the
 * stages that it would be made of: a run that was made stage by stage is served without it, and nothing is written.
 *
 * @param device where it searches, whatever the model was trained on; default the processor
 */
export async function openServing(
  run: Opener,
  own: Stage<TrainedModel>,
  { device }: { readonly device?: DevicePreference | undefined } = {},
): Promise<Serving> {
  const { dataset } = await run.open(importStage);
  const clustered = await run.open(clusterStage);
  const trained = await run.open(own);
  const index = await run.find(indexStage(own));
  const limits: Required<HistoryLimits> = clustered.limits;
  const model = await (index === undefined ? trained.model() : index.openModel());
  let source: OpenClusterer | undefined;
  try {
    // A model that reads no clusters tells of its interests by what they are like.
    if (trained.readsClusters && clustered.choice.clusterer !== undefined) {
      source = (await index?.openClusterer()) ?? (await clustered.openClusterer());
    }
    const { catalog, log } = dataset;
    const clusterer = source === undefined ? {} : { clusterer: source.clusterer };
    const recommender = new Recommender({
      ...{ model, catalog, log },
      ...clusterer,
      ...limits,
      ...(device === undefined ? {} : { device }),
    });
    return {
      model,
      recommender,
      hash: hashJson({
        dataset: dataset.fingerprint,
        clusters: clustered.fingerprint,
        model: (index ?? trained).fingerprint,
      }),
      [Symbol.asyncDispose]: async () => {
        recommender[Symbol.dispose]();
        await close();
      },
    };
  } catch (error) {
    await close();
    throw error;
  }

  async function close(): Promise<void> {
    // That of the training stage goes with the run.
    if (index !== undefined) dispose(model);
    await source?.[Symbol.asyncDispose]();
  }
}
