import { tf } from "./tfjs.js";

/** Whether the current backend has a kernel of this name; where not, a composite operation is composed of others. */
export function hasKernel(name: string): boolean {
  return tf.getKernel(name, tf.getBackend()) !== undefined;
}
