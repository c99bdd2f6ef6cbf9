import type { Catalog } from "./data/types.js";
import type { MultiInterestModel } from "./models/model.js";
import { loadModel as load } from "./models/store.js";

/**
 * Opens a model that training has stored, for serving; dispose of it when done. Its type names nothing of the tensor
 * library, whose own declarations not every compiler accepts.
 *
 * @throws PrismrecError CHECKPOINT_INCOMPATIBLE where the model was trained on another catalog; FILE_NOT_FOUND;
 *   DATA_FORMAT for files that are cut short or changed
 */
export const loadModel: (dir: string, catalog: Catalog) => Promise<MultiInterestModel & Disposable> = load;
