import { PrismrecError } from "../errors/errors.js";
import { registerGradients } from "./gradients.js";
import { registerKernels } from "./kernels/register.js";
import { nativeKernels } from "./native-kernels.js";
import { PrismrecBackend } from "./prismrec-backend.js";
import { tf } from "./tfjs.js";

export type TensorBackendName = "prismrec" | "cpu" | "tensorflow";

/**
 * Makes a tfjs backend current and says which one it is.
 *
 * - `prismrec` (default): native kernels; where the addon cannot be loaded, `cpu`, after the one warning that says so.
 * - `cpu`: tfjs's own, in JavaScript.
 * - `tensorflow`: where `@tensorflow/tfjs-node` or `tfjs-node-gpu` is installed.
 *
 * @throws PrismrecError DEVICE_UNAVAILABLE where `tensorflow` is asked for and not installed
 */
export async function useTensorBackend(name: TensorBackendName = "prismrec"): Promise<string> {
  // What tfjs prints is not ours to print: its banner names another package as the way to speed.
  tf.enableProdMode();
  if (name === "tensorflow") await loadTensorflow();
  const kernels = name === "prismrec" ? nativeKernels() : undefined;
  if (kernels !== undefined && !registered("prismrec")) {
    tf.registerBackend("prismrec", () => new PrismrecBackend(kernels));
    registerKernels();
    registerGradients();
  }
  const wanted = name === "prismrec" && kernels === undefined ? "cpu" : name;
  await tf.setBackend(wanted);
  await tf.ready();
  return tf.getBackend();
}

// The declared type says otherwise, but an unknown name gives null.
function registered(name: TensorBackendName): boolean {
  return Boolean(tf.findBackendFactory(name));
}

async function loadTensorflow(): Promise<void> {
  if (registered("tensorflow")) return;
  const reasons: string[] = [];
  for (const module of ["@tensorflow/tfjs-node-gpu", "@tensorflow/tfjs-node"]) {
    try {
      await import(module);
      return;
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  throw new PrismrecError("DEVICE_UNAVAILABLE", "the TensorFlow backend is not installed", {
    expected: "@tensorflow/tfjs-node or @tensorflow/tfjs-node-gpu",
    received: reasons.join("; "),
    hint: "Install one of them beside prismrec, or use the default tensor backend.",
  });
}
