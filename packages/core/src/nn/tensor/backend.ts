import { PrismrecError } from "../../base/errors.js";
import { registerGradients } from "./gradients.js";
import { registerKernels } from "./kernels/register.js";
import { nativeKernels } from "./native-kernels.js";
import { PrismrecBackend } from "./prismrec-backend.js";
import { tf } from "./tfjs.js";

export type TensorBackendName = "prismrec" | "cpu" | "tensorflow";

/** Below that of tfjs's own backends: what tfjs chooses for somebody who chooses nothing stays theirs. */
const PRIORITY = 0;

let chosen: TensorBackendName = "prismrec";

/**
 * Makes a tfjs backend current for the caller's own tensors, gives it to every model that is made from now on, and says
 * which one it is. Nobody has to call it: a model has `prismrec` without it, and runs on its own backend whichever is
 * current (`withBackend`).
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
  const available = availableBackend(name);
  await tf.setBackend(available);
  await tf.ready();
  chosen = name;
  return tf.getBackend();
}

/** The backend of a model made now: what `useTensorBackend` chose last, else `prismrec`; `cpu` without the addon. */
export function modelBackend(): TensorBackendName {
  return availableBackend(chosen);
}

/**
 * What decides which backend tfjs's one engine runs on. tfjs's own setter would also set up every kernel of a backend
 * that it comes back to, and lose the initialisation of one that is still under way.
 */
const CURRENT = ["backendName", "backendInstance", "pendingBackendInit"] as const;

/**
 * Runs `body` with a backend current and makes the former one current again, whatever `body` does or throws; scopes nest.
 * `body` must be synchronous. Tensors that it leaves behind stay usable: tfjs moves them to where they are read.
 *
 * @throws PrismrecError DEVICE_UNAVAILABLE where the backend cannot be set up
 */
export function withBackend<T>(name: TensorBackendName, body: () => T): T {
  const engine = tf.engine();
  const backendName = availableBackend(name);
  if (engine.backendName === backendName && Reflect.get(engine, "pendingBackendInit") == null) return body();
  const former = CURRENT.map((field): unknown => Reflect.get(engine, field));
  try {
    const backendInstance = engine.findBackend(backendName);
    if (!backendInstance) {
      throw new PrismrecError("DEVICE_UNAVAILABLE", `the tensor backend ${backendName} cannot be set up`, {
        hint: `Call useTensorBackend("${backendName}") once before.`,
      });
    }
    // An engine that has never had a backend lacks a profiler too, which its setter makes.
    if (Reflect.get(engine, "profiler") === undefined) void engine.setBackend(backendName);
    for (const [i, value] of [backendName, backendInstance, undefined].entries()) {
      Reflect.set(engine, CURRENT[i]!, value);
    }
    return body();
  } finally {
    for (const [i, value] of former.entries()) Reflect.set(engine, CURRENT[i]!, value);
  }
}

/** Registers `prismrec` where it is wanted and not registered yet; without the addon `cpu` stands in for it. */
function availableBackend(name: TensorBackendName): TensorBackendName {
  if (name !== "prismrec") return name;
  const kernels = nativeKernels();
  if (kernels === undefined) return "cpu";
  if (registered(name)) return name;
  tf.registerBackend("prismrec", () => new PrismrecBackend(kernels), PRIORITY);
  registerKernels();
  registerGradients();
  return name;
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
