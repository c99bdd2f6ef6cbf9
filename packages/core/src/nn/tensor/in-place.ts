import { PrismrecError } from "../../base/errors.js";
import { PrismrecBackend } from "./prismrec-backend.js";
import { tf } from "./tfjs.js";

/**
 * The values of a float32 tensor where they lie, to be read only, and only as long as the tensor lives: unlike
 * `dataSync` this makes no copy on the prismrec backend.
 */
export function valuesInPlace(tensor: tf.Tensor): Float32Array {
  const backend = tf.backend();
  const values = backend instanceof PrismrecBackend ? backend.data.get(tensor.dataId).values : undefined;
  return values instanceof Float32Array ? values : tensor.dataSync<"float32">();
}

/**
 * An array for the values of one new tensor, every one of which is to be written. On the prismrec backend it comes from
 * memory of former tensors and goes back with its own, so nothing else may hold on to it.
 */
export function allocateValues(length: number): Float32Array {
  const backend = tf.backend();
  return backend instanceof PrismrecBackend ? backend.allocate(length) : new Float32Array(length);
}

/**
 * A float32 tensor of `values`, which are its own from now on. Does what `tf.tensor` does for such an array, without
 * working out from it what is known.
 */
export function tensorOf(values: Float32Array, shape: number[]): tf.Tensor {
  if (values.length !== tf.util.sizeFromShape(shape)) {
    throw new PrismrecError("SHAPE_MISMATCH", "values do not fill the tensor's shape", {
      expected: `[${shape.join(", ")}]`,
      received: `${values.length} values`,
    });
  }
  return tf.engine().makeTensor(values, shape, "float32");
}
