import { z } from "zod";
import { PrismrecError } from "../base/errors.js";
import type { Catalog } from "../data/types.js";
import { catalogFingerprint, readCheckpoint, writeCheckpoint } from "../nn/checkpoint/checkpoint.js";
import type { StoredTensor } from "../nn/checkpoint/safetensors.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import type { NetworkShape } from "./definition.js";
import { InterestModel } from "./interest-model.js";
import { networkNamed } from "./registry.js";

const contentSchema = z.object({
  network: z.looseObject({ model: z.string() }),
  catalog: z.object({ size: z.int(), fingerprint: z.string() }),
  training: z.record(z.string(), z.unknown()),
});

/**
 * Stores a trained network with its item vectors as a folder that `loadModel` reads.
 *
 * @param training facts about the run, kept in the manifest for people and reports
 * @throws PrismrecError DISK_FULL, IO
 */
export async function saveModel(
  dir: string,
  model: InterestModel,
  config: NetworkShape,
  catalog: Catalog,
  training: Readonly<Record<string, unknown>>,
): Promise<void> {
  const items = model.itemVectors();
  const tensors = new Map<string, StoredTensor>([["items", { shape: [items.rows, items.cols], data: items.data }]]);
  const bias = model.itemBias();
  if (bias !== undefined) tensors.set("item-bias", { shape: [items.rows], data: bias });
  for (const { name, shape, values } of model.parameters) tensors.set(`network/${name}`, { shape, data: values });
  await writeCheckpoint(dir, {
    kind: "model",
    content: {
      network: config,
      catalog: { size: catalog.size, fingerprint: catalogFingerprint(catalog) },
      training,
    },
    tensors,
  });
}

/**
 * Opens a model that `saveModel` stored; nothing of the trainer is needed.
 *
 * @throws PrismrecError CHECKPOINT_INCOMPATIBLE where the model was trained on another catalog; FILE_NOT_FOUND;
 *   DATA_FORMAT for files that are cut short or changed
 */
export async function loadModel(dir: string, catalog: Catalog): Promise<InterestModel> {
  const checkpoint = await readCheckpoint(dir, "model");
  const parsed = contentSchema.safeParse(checkpoint.content);
  if (!parsed.success) {
    throw new PrismrecError("DATA_FORMAT", `the manifest in ${dir} does not describe a model`, {
      received: z.prettifyError(parsed.error),
    });
  }
  const { network: stored, catalog: trainedOn } = parsed.data;
  if (trainedOn.fingerprint !== catalogFingerprint(catalog)) {
    throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the model in ${dir} was trained on another catalog`, {
      expected: `${trainedOn.size} items, fingerprint ${trainedOn.fingerprint}`,
      received: `${catalog.size} items, fingerprint ${catalogFingerprint(catalog)}`,
      hint: "Load it with the dataset it was trained on, or train on this one.",
    });
  }
  const { config: schema, create } = networkNamed(stored.model);
  const config = schema.safeParse(stored);
  if (!config.success) {
    throw new PrismrecError("DATA_FORMAT", `the manifest in ${dir} does not describe a model`, {
      received: z.prettifyError(config.error),
    });
  }
  const network = create(config.data);
  const floats = (name: string): Float32Array | undefined => {
    const data = checkpoint.tensors.get(name)?.data;
    return data instanceof Float32Array ? data : undefined;
  };
  const parameters = ParameterSet.from(network.specs(), (name) => floats(`network/${name}`));
  const items = floats("items");
  const bias = floats("item-bias");
  if (items?.length !== catalog.size * network.dim || (network.hasItemBias && bias?.length !== catalog.size)) {
    throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the item vectors in ${dir} do not fit the catalog`, {
      expected: `[${catalog.size}, ${network.dim}]`,
      received: `${items?.length ?? 0} values`,
    });
  }
  const table = { data: items, rows: catalog.size, cols: network.dim };
  return new InterestModel(network, parameters, table, bias);
}
