import type { CudaInfo } from "@prismrec/native";
import { PrismrecError } from "../base/errors.js";
import type { DevicePreference } from "../base/run-options.js";
import { native } from "./native.js";

/** Where an operation runs, and for "auto" on the processor: why not on a GPU. */
export interface DeviceChoice {
  readonly device: "cpu" | "cuda";
  readonly reason?: string;
}

/**
 * What a preference comes to on this machine: "cpu" is the processor, "cuda" the GPU or an error, "auto" the GPU where
 * there is one that can be used. PRISMREC_CUDA_DEVICE chooses among several by number,
 * once for the process.
 *
 * @throws PrismrecError DEVICE_UNAVAILABLE for "cuda" where there is no usable GPU; `prismrec doctor` shows the same
 */
export function chooseDevice(preference: DevicePreference = "cpu"): DeviceChoice {
  if (preference === "cpu") return { device: "cpu" };
  if (preference !== "cuda" && preference !== "auto") {
    throw new PrismrecError("INVALID_ARGUMENT", "there is no such device", {
      expected: '"cpu", "cuda" or "auto"',
      received: String(preference),
    });
  }
  const info = native()?.cudaInfo();
  if (info?.usable === true) return { device: "cuda" };
  const reason = info?.reason ?? "the native addon is not loaded";
  if (preference === "auto") return { device: "cpu", reason };
  throw new PrismrecError("DEVICE_UNAVAILABLE", `no GPU can be used: ${reason}`, {
    expected: text(info?.expected) ?? "a usable NVIDIA GPU",
    received: text(info?.received) ?? "none",
    hint: text(info?.hint) ?? 'Use device "cpu" or "auto".',
  });
}

/**
 * The kernel variant that an operation asks the addon for: the one it names, else the chosen device's.
 *
 * @throws PrismrecError DEVICE_UNAVAILABLE as `chooseDevice`; INVALID_ARGUMENT where the two contradict each other
 */
export function variantFor(choice: {
  readonly variant?: string | undefined;
  readonly device?: DevicePreference | undefined;
}): string | undefined {
  const { variant, device } = choice;
  if (device === undefined) return variant;
  const chosen = chooseDevice(device).device;
  if (variant === undefined) return chosen === "cuda" ? "cuda" : undefined;
  if (device !== "auto" && (variant === "cuda") !== (chosen === "cuda")) {
    throw new PrismrecError("INVALID_ARGUMENT", "the variant does not run on the device", {
      expected: device === "cuda" ? 'variant "cuda", or none' : 'another variant than "cuda", or none',
      received: `variant ${JSON.stringify(variant)} with device ${JSON.stringify(device)}`,
    });
  }
  return variant;
}

/** What the addon knows of GPUs; undefined without the addon. The first call opens the CUDA library. */
export function cudaInfo(): CudaInfo | undefined {
  return native()?.cudaInfo();
}

function text(value: string | undefined): string | undefined {
  return value === "" ? undefined : value;
}
