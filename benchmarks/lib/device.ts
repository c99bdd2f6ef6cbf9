import type { DevicePreference } from "@prismrec/core/base";
import { cudaInfo, native } from "@prismrec/core/ops";

const VARIABLE = "PRISMREC_BENCH_DEVICE";

/** Where this project's own contestants run; those are processes of their own, so the choice goes by the environment. */
export function setBenchDevice(device: "cpu" | "cuda"): void {
  process.env[VARIABLE] = device;
}

/** For the operation's input. */
export function onBenchDevice(): { readonly device?: DevicePreference } {
  return process.env[VARIABLE] === "cuda" ? { device: "cuda" } : {};
}

/** Which kernels that comes to, e.g. "avx2". */
export function benchVariant(): string {
  return process.env[VARIABLE] === "cuda" ? "cuda" : native()!.runtimeInfo().simd;
}

/** The GPU that the operations run on. */
export function benchGpu(): NonNullable<ReturnType<typeof cudaInfo>>["devices"][number] | undefined {
  return cudaInfo()?.devices[Number(process.env.PRISMREC_CUDA_DEVICE ?? 0)];
}
