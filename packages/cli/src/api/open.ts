import type { DevicePreference } from "@prismrec/core/base";
import { openRun } from "../pipeline/run.js";
import { openServing } from "../pipeline/serving.js";
import { servedStage } from "../pipeline/stages.js";
import { Recommender } from "./recommender.js";

export interface OpenOptions {
  readonly signal?: AbortSignal;
  /** Where it searches, whatever the model was trained on: "cpu" (default), "cuda" (a GPU) or "auto". */
  readonly device?: DevicePreference;
  /** Called once the recommender has given back what it holds. */
  readonly onClose?: () => Promise<void>;
}

/**
 * Opens a run directory, or what `save` wrote, for serving: the model that `fit` or the command line trained, with the
 * same answers. Nothing is written, and another process may be training there.
 *
 * @throws PrismrecError FILE_NOT_FOUND, RUN_INVALID, RUN_FORMAT, CHECKPOINT_INCOMPATIBLE, DATA_FORMAT, DEVICE_UNAVAILABLE
 */
export async function open(dir: string, { signal, device, onClose }: OpenOptions = {}): Promise<Recommender> {
  const run = await openRun(dir, undefined, { readOnly: true, ...(signal === undefined ? {} : { signal }) });
  try {
    const serving = await openServing(run, servedStage(run.settings), { device });
    const { dataset } = await run.open("import");
    return new Recommender(serving.recommender, {
      model: serving.model.name,
      hash: serving.hash,
      items: dataset.catalog.size,
      users: dataset.log.userCount,
      run,
      close: async () => {
        await serving[Symbol.asyncDispose]();
        await run.close();
        await onClose?.();
      },
    });
  } catch (error) {
    await run.close();
    throw error;
  }
}
