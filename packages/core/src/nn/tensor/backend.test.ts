import { afterEach, describe, expect, it, vi } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import { native } from "../../ops/native.js";
import { modelBackend, useTensorBackend, withBackend } from "./backend.js";

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

describe("modelBackend", () => {
  it("is what was chosen last", async () => {
    await useTensorBackend("cpu");
    expect(modelBackend()).toBe("cpu");
    await useTensorBackend();
    expect(modelBackend()).toBe(native() === undefined ? "cpu" : "prismrec");
  });
});

describe.skipIf(native() === undefined)("withBackend", () => {
  const current = () => tf.getBackend();

  it("makes a backend current inside and the former one again after, however deep", async () => {
    await useTensorBackend("cpu");
    const inside = withBackend("prismrec", () => [
      current(),
      withBackend("cpu", () => [current(), withBackend("prismrec", current)]),
      current(),
    ]);
    expect(inside).toEqual(["prismrec", ["cpu", "prismrec"], "prismrec"]);
    expect(current()).toBe("cpu");
  });

  it("restores after an error, and after a body that sets a backend of its own", async () => {
    await useTensorBackend("cpu");
    expect(() =>
      withBackend("prismrec", () => {
        throw new Error("body");
      }),
    ).toThrow("body");
    expect(current()).toBe("cpu");
    withBackend("prismrec", () => void tf.setBackend("cpu"));
    withBackend("prismrec", () => expect(current()).toBe("prismrec"));
    expect(current()).toBe("cpu");
    expect(tf.tidy(() => tf.add(1, 2).dataSync()[0])).toBe(3);
  });

  it("runs the native kernels there, and the caller's tensors stay where they are", async () => {
    await useTensorBackend("cpu");
    const outside = tf.ones([64, 64]);
    const before = tf.memory().numTensors;
    const sum = withBackend("prismrec", () =>
      tf.tidy(() => {
        const product = tf.matMul(tf.ones([64, 64]), tf.ones([64, 64]));
        return tf.sum(product).dataSync()[0];
      }),
    );
    expect(sum).toBe(64 ** 3);
    expect(tf.memory().numTensors).toBe(before);
    expect(tf.backend().numDataIds()).toBeGreaterThan(0);
    expect(outside.dataSync()[5]).toBe(1);
    outside.dispose();
  });

  it("works while a backend of the caller's is still being set up, which then becomes current", async () => {
    await useTensorBackend("cpu");
    const cpu = tf.backend();
    tf.registerBackend("slow", () => new Promise((resolve) => setTimeout(resolve, 20, cpu)));
    const pending = tf.setBackend("slow");
    expect(() => tf.backend()).toThrow(/not yet been initialized/);
    expect(withBackend("prismrec", () => tf.tidy(() => tf.add(1, 2).dataSync()[0]))).toBe(3);
    expect(() => tf.backend()).toThrow(/not yet been initialized/);
    expect(await pending).toBe(true);
    expect(current()).toBe("slow");
    await useTensorBackend("cpu");
  });

  it("never becomes what tfjs chooses for somebody who chooses nothing", () => {
    const { registryFactory } = tf.engine();
    expect(registryFactory.prismrec!.priority).toBeLessThan(registryFactory.cpu!.priority);
  });
});
