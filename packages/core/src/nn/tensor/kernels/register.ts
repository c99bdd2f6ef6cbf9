import { PrismrecError } from "../../../base/errors.js";
import { countFallThrough, TRIVIAL_SIZE } from "../fall-throughs.js";
import { sizeOf } from "../geometry.js";
import { PrismrecBackend } from "../prismrec-backend.js";
import { tf } from "../tfjs.js";
import { activationKernels } from "./activation.js";
import { elementwiseKernels } from "./elementwise.js";
import type { Kernel, KernelTable } from "./kernel.js";
import { matmulKernels } from "./matmul.js";
import { movementKernels } from "./movement.js";
import { reduceKernels } from "./reduce.js";
import { rowKernels } from "./rows.js";

const BACKEND = "prismrec";

/** tfjs's own kernels that compute nothing: they rename data, or fill an array by the engine's own means. */
const FREE: ReadonlySet<string> = new Set(["Identity", "Reshape", "ExpandDims", "Fill", "OnesLike", "ZerosLike"]);

const NATIVE: KernelTable = {
  ...matmulKernels,
  ...elementwiseKernels,
  ...reduceKernels,
  ...movementKernels,
  ...rowKernels,
  ...activationKernels,
};

function backendOf(params: { backend: object }): PrismrecBackend {
  if (params.backend instanceof PrismrecBackend) return params.backend;
  throw new PrismrecError("INTERNAL", "a prismrec kernel was called on another backend");
}

function elements(infos: Iterable<tf.TensorInfo | undefined>): number {
  let largest = 0;
  for (const info of infos) if (info !== undefined) largest = Math.max(largest, sizeOf(info.shape));
  return largest;
}

/**
 * tfjs's kernel, counted, its inputs given arrays of their own: some of these kernels give out a part of their input's
 * array as their output.
 */
function counted(name: string, kernelFunc: tf.KernelFunc): tf.KernelFunc {
  return (params) => {
    const backend = backendOf(params);
    const inputs = Object.values(params.inputs).filter((info) => info !== undefined);
    for (const info of inputs) backend.share(info.dataId);
    const result = kernelFunc(params);
    const made = Array.isArray(result) ? result : [result];
    if (elements([...inputs, ...made]) >= TRIVIAL_SIZE) countFallThrough(name);
    return result;
  };
}

function withFallback(name: string, kernel: Kernel, fallback: tf.KernelFunc | undefined): tf.KernelFunc {
  return (params) => {
    const backend = backendOf(params);
    const result = kernel({ inputs: params.inputs, attrs: params.attrs ?? {}, backend, native: backend.native });
    if (result !== undefined) return result;
    if (fallback === undefined) throw new PrismrecError("INTERNAL", `kernel ${name} cannot take these tensors`);
    return fallback(params);
  };
}

/** Gives the prismrec backend all kernels of tfjs's CPU backend, and its own in their place where it has one. */
export function registerKernels(): void {
  const fallbacks = new Map<string, tf.KernelFunc>();
  for (const { kernelName, kernelFunc } of tf.getKernelsForBackend("cpu")) {
    fallbacks.set(kernelName, FREE.has(kernelName) ? kernelFunc : counted(kernelName, kernelFunc));
  }
  for (const [kernelName, kernelFunc] of fallbacks) {
    if (kernelName in NATIVE) continue;
    tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
  }
  for (const [kernelName, kernel] of Object.entries(NATIVE)) {
    const kernelFunc = withFallback(kernelName, kernel, fallbacks.get(kernelName));
    tf.registerKernel({ kernelName, backendName: BACKEND, kernelFunc });
  }
}
