import { afterEach, describe, expect, it, vi } from "vitest";
import { isPrismrecError } from "../errors/errors.js";
import { native } from "../runtime/native.js";
import { useTensorBackend } from "./backend.js";
import { tf } from "./tfjs.js";

describe("useTensorBackend", () => {
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
  });

  it.skipIf(native() === undefined)(
    "makes the native backend current by default, and again when asked again",
    async () => {
      expect(await useTensorBackend()).toBe("prismrec");
      expect(await useTensorBackend("cpu")).toBe("cpu");
      expect(await useTensorBackend()).toBe("prismrec");
      expect(tf.getBackend()).toBe("prismrec");
    },
  );

  it("falls back to tfjs's own kernels where the addon is absent", async () => {
    vi.stubEnv("PRISMREC_NATIVE", "off");
    vi.resetModules();
    const fresh = await import("./backend.js");
    expect(await fresh.useTensorBackend("prismrec")).toBe("cpu");
    expect(tf.tidy(() => tf.add(1, 2).dataSync()[0])).toBe(3);
  });

  it("says what to install where TensorFlow is asked for and missing", async () => {
    const failure = await useTensorBackend("tensorflow").then(
      () => undefined,
      (error: unknown) => error,
    );
    // Installed after all: then there is nothing to say.
    if (failure === undefined) expect(tf.getBackend()).toBe("tensorflow");
    else expect(isPrismrecError(failure, "DEVICE_UNAVAILABLE")).toBe(true);
    await useTensorBackend("cpu");
  });

  it.skipIf(native() === undefined)("moves tensors between backends", async () => {
    await useTensorBackend("cpu");
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    await useTensorBackend("prismrec");
    const y = tf.matMul(x, x);
    await useTensorBackend("cpu");
    expect([...tf.add(y, 1).dataSync()]).toEqual([8, 11, 16, 23]);
    tf.dispose([x, y]);
  });
});
