import { tf } from "./tfjs.js";

/**
 * Lets `update` write the values of a variable. Backends whose storage is a typed array (`prismrec`, `cpu`) hand out
 * that very array, so nothing is copied; on others the changed copy is assigned back.
 */
export function updateVariable(variable: tf.Variable, update: (values: Float32Array) => void): void {
  const values = variable.dataSync<"float32">();
  update(values);
  if (variable.dataSync() === values) return;
  tf.tidy(() => variable.assign(tf.tensor(values, variable.shape, "float32")));
}
