import { PrismrecError } from "../base/errors.js";
import type { StoredTensor, TensorData } from "../nn/checkpoint/safetensors.js";

/**
 * The stored array of that name and kind.
 *
 * @throws PrismrecError CHECKPOINT_INCOMPATIBLE where there is none, or one of another length
 */
export function storedArray<T extends TensorData>(
  tensors: ReadonlyMap<string, StoredTensor>,
  name: string,
  type: abstract new (...args: never) => T,
  length: number,
): T {
  const data = tensors.get(name)?.data;
  if (data instanceof type && data.length === length) return data;
  throw new PrismrecError("CHECKPOINT_INCOMPATIBLE", `the stored model has no usable array ${name}`, {
    expected: `${type.name}, ${length} values`,
    received: data === undefined ? "none" : `${data.constructor.name}, ${data.length} values`,
    hint: "Fit the model again, to this dataset.",
  });
}
