import { describe, expect, it } from "vitest";
import type { DevicePreference } from "../base/run-options.js";
import { contrastiveLoss, contrastiveLossSync } from "./contrastive-loss/contrastive-loss.js";
import { chooseDevice, cudaInfo, variantFor } from "./device.js";

const usable = cudaInfo()?.usable === true;

const input = {
  kind: "info-nce",
  queries: { data: Float32Array.of(2, 0, 0, 3), rows: 2, cols: 2 },
  positives: { data: Float32Array.of(1, 0, 0, 1), rows: 2, cols: 2 },
  similarity: "cosine",
  temperature: 1,
} as const;

describe("chooseDevice", () => {
  it("stays on the processor unless asked", () => {
    expect(chooseDevice()).toEqual({ device: "cpu" });
    expect(chooseDevice("cpu")).toEqual({ device: "cpu" });
  });

  it("takes a GPU that can be used, and says why there is none", () => {
    if (usable) {
      expect(chooseDevice("auto")).toEqual({ device: "cuda" });
      expect(chooseDevice("cuda")).toEqual({ device: "cuda" });
      return;
    }
    const { device, reason } = chooseDevice("auto");
    expect(device).toBe("cpu");
    expect(reason).toMatch(/\w/);
    expect(() => chooseDevice("cuda")).toThrow(
      expect.objectContaining({ code: "DEVICE_UNAVAILABLE", message: `no GPU can be used: ${reason}` }),
    );
  });

  it("refuses a device of another name", () => {
    expect(() => chooseDevice("gpu" as DevicePreference)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", received: "gpu" }),
    );
  });
});

describe("variantFor", () => {
  it("leaves a named variant alone, and refuses one that is not the device's", () => {
    expect(variantFor({})).toBeUndefined();
    expect(variantFor({ variant: "scalar" })).toBe("scalar");
    expect(variantFor({ variant: "scalar", device: "cpu" })).toBe("scalar");
    expect(() => variantFor({ variant: "cuda", device: "cpu" })).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
  });
});

describe("an operation's device", () => {
  it("auto gives the processor's answer, or the GPU's", async () => {
    const { loss } = await contrastiveLoss({ ...input, device: "auto" });
    expect(loss).toBeCloseTo(Math.log1p(Math.exp(-1)), 6);
  });

  it("cuda is a typed error where no GPU can be used", () => {
    if (usable) return expect(contrastiveLossSync({ ...input, device: "cuda" }).loss).toBeCloseTo(0.3132617, 6);
    expect(() => contrastiveLossSync({ ...input, device: "cuda" })).toThrow(
      expect.objectContaining({ code: "DEVICE_UNAVAILABLE" }),
    );
  });
});
