import { PrismrecError } from "../base/errors.js";
import type { CsrMatrix } from "../base/matrix.js";
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

/** A sparse matrix as three arrays; values that are left out are ones. */
export function csrTensors({ indptr, indices, values }: CsrMatrix): [string, StoredTensor][] {
  const data = { indptr, indices, values: values ?? new Float32Array(indices.length).fill(1) };
  return Object.entries(data).map(([name, data]) => [name, { shape: [data.length], data }]);
}

/**
 * The [N, N] matrix that `csrTensors` stored.
 *
 * @throws PrismrecError CHECKPOINT_INCOMPATIBLE
 */
export function storedCsr(tensors: ReadonlyMap<string, StoredTensor>, size: number): Required<CsrMatrix> {
  const indptr = storedArray(tensors, "indptr", Uint32Array, size + 1);
  const count = indptr[size]!;
  return {
    indptr,
    indices: storedArray(tensors, "indices", Uint32Array, count),
    values: storedArray(tensors, "values", Float32Array, count),
    rows: size,
    cols: size,
  };
}
