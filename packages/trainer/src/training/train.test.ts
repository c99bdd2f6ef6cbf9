import { readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isPrismrecError, PrismrecError } from "@prismrec/core/base";
import type { CrowdSet, Dataset } from "@prismrec/core/data";
import type { Partitions } from "@prismrec/core/interests";
import { loadModel } from "@prismrec/core/models";
import { modelBackend, readCheckpoint, tf } from "@prismrec/core/nn";
import { cudaInfo } from "@prismrec/core/ops";
import { beforeAll, describe, expect, it } from "vitest";
import { evaluate } from "../evaluation/evaluate.js";
import { handMade } from "../testing/hand-made.js";
import { modelBytes, stopAfter } from "../testing/stored-runs.js";
import { TemporaryFolder, TINY_CONFIG_NAMES, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import type { TrainEvent } from "./events.js";
import { type TrainInput, train } from "./train.js";

let input: { readonly dataset: Dataset; readonly partitions: Partitions; readonly crowd: CrowdSet };

beforeAll(async () => {
  input = await tinyInput();
});

async function checkpointNames(dir: string): Promise<string[]> {
  return (await readdir(join(dir, "checkpoints"))).sort();
}

async function failure(promise: Promise<unknown>): Promise<PrismrecError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(PrismrecError);
  return error as PrismrecError;
}

describe("train", () => {
  describe.each(TINY_CONFIG_NAMES)("%s", (name) => {
    it("gives the same bytes when it was stopped and resumed as when it ran through", async () => {
      await using folder = await TemporaryFolder.create();
      const config = tinyConfig(name);
      const whole = await train(input, config, { dir: folder.in("whole") });
      expect(whole.stoppedBy).toBe("epochs");
      const perEpoch = whole.steps / 2;
      expect(perEpoch).toBeGreaterThanOrEqual(2);
      // Inside the first epoch, at its very end, and inside the second.
      for (const step of [1, perEpoch, perEpoch + 1]) {
        const stopped = await train(input, config, stopAfter(step, folder.in("parts")));
        expect(stopped.stoppedBy).toBe("signal");
        expect(stopped.steps).toBe(step);
      }
      const resumed = await train(input, config, { dir: folder.in("parts") });
      expect(resumed.curve).toEqual(whole.curve);
      expect(await modelBytes(folder.in("parts"))).toEqual(await modelBytes(folder.in("whole")));
    });

    it("learns: the loss falls, and every part of it is told", async () => {
      await using folder = await TemporaryFolder.create();
      const optimizer = { learningRate: name === "comirec-dr" ? 2e-2 : 1e-2 };
      const config = tinyConfig(name, { optimizer, stopping: { epochs: 6, patience: 6 } });
      const { curve } = await train(input, config, { dir: folder.path });
      expect(curve.at(-1)!.parts.prediction!).toBeLessThan(curve[0]!.parts.prediction!);
      const expected = name.startsWith("comirec")
        ? ["prediction"]
        : name.startsWith("mixture")
          ? ["crowd", "prediction"]
          : ["alignment", "crowd", "prediction"];
      expect(Object.keys(curve[0]!.parts).sort()).toEqual(expected);
    });
  });

  it("repeats itself byte for byte with a seed and gives other weights with another", async () => {
    await using folder = await TemporaryFolder.create();
    for (const dir of ["a", "b"]) await train(input, tinyConfig("mixture"), { dir: folder.in(dir) });
    await train(input, tinyConfig("mixture", { seed: 2 }), { dir: folder.in("other") });
    const [a, b, other] = await Promise.all(["a", "b", "other"].map((dir) => modelBytes(folder.in(dir))));
    expect(b).toEqual(a);
    expect(other!["tensors.safetensors"]).not.toEqual(a!["tensors.safetensors"]);
  });

  it("writes a checkpoint when the signal comes, and no model of a run that is not over", async () => {
    await using folder = await TemporaryFolder.create();
    const events: TrainEvent[] = [];
    const options = stopAfter(2, folder.path);
    const result = await train(input, tinyConfig("mixture"), {
      ...options,
      onEvent: (event) => {
        events.push(event);
        options.onEvent!(event);
      },
    });
    expect(result.stoppedBy).toBe("signal");
    expect(await checkpointNames(folder.path)).toEqual(["000000002"]);
    expect(await readdir(folder.path)).toEqual(["checkpoints"]);
    expect(events[0]).toEqual({ type: "start", epoch: 1, step: 0, resumed: false, warm: false, device: "cpu" });
    expect(events.at(-1)).toMatchObject({ type: "checkpoint", step: 2 });
    // What it hands back can rank.
    const ranking = await result.model.rank([{ items: Uint32Array.of(1, 2) }], { k: 5 });
    expect(ranking.counts[0]).toBe(5);
  });

  it("says what it resumes, and goes back to the start when told not to", async () => {
    await using folder = await TemporaryFolder.create();
    await train(input, tinyConfig("mixture"), stopAfter(3, folder.path));
    const starts: TrainEvent[] = [];
    const onEvent = (event: TrainEvent) => {
      if (event.type === "start") starts.push(event);
    };
    await train(input, tinyConfig("mixture"), { dir: folder.path, onEvent });
    await train(input, tinyConfig("mixture"), { dir: folder.path, resume: false, onEvent });
    expect(starts).toMatchObject([
      { step: 3, resumed: true },
      { epoch: 1, step: 0, resumed: false },
    ]);
  });

  it("hands back a finished run as it is, without another step", async () => {
    await using folder = await TemporaryFolder.create();
    const first = await train(input, tinyConfig("mixture"), { dir: folder.path });
    const steps: TrainEvent[] = [];
    const again = await train(input, tinyConfig("mixture"), {
      dir: folder.path,
      onEvent: (event) => {
        if (event.type === "step") steps.push(event);
      },
    });
    expect(steps).toEqual([]);
    expect(again.curve).toEqual(first.curve);
    expect(again.model.itemVectors().data).toEqual(first.model.itemVectors().data);
  });

  it("keeps the epoch that is best on validation, and stops when patience runs out", async () => {
    await using folder = await TemporaryFolder.create();
    // A rate at which the small model soon gets worse.
    const config = tinyConfig("mixture", { optimizer: { learningRate: 0.1 }, stopping: { epochs: 60, patience: 2 } });
    const result = await train(input, config, { dir: folder.path });
    expect(result.stoppedBy).toBe("patience");
    expect(result.curve.length).toBe(result.bestEpoch + 2);
    const value = ({ metrics }: (typeof result.curve)[number]) => metrics["recall@50"]! + metrics["ndcg@50"]!;
    const best = Math.max(...result.curve.map(value));
    expect(value(result.curve[result.bestEpoch - 1]!)).toBe(best);
    const { dataset, partitions } = input;
    const stored = await loadModel(folder.in("model"), dataset.catalog);
    const { metrics } = await evaluate(stored, dataset, { part: "valid", partition: partitions.valid });
    expect(metrics["recall@50"]! + metrics["ndcg@50"]!).toBe(best);
  });

  it("keeps the two newest checkpoints", async () => {
    await using folder = await TemporaryFolder.create();
    const { steps } = await train(input, tinyConfig("mixture", { stopping: { epochs: 4, patience: 4 } }), {
      dir: folder.path,
    });
    const padded = (step: number) => String(step).padStart(9, "0");
    expect(await checkpointNames(folder.path)).toEqual([padded((steps / 4) * 3), padded(steps)]);
  });

  describe("that diverges", () => {
    const wild = () => tinyConfig("mixture", { optimizer: { learningRate: 1e30 } });

    it("stops with TRAINING_DIVERGED and keeps the checkpoint before", async () => {
      await using folder = await TemporaryFolder.create();
      await train(input, wild(), stopAfter(1, folder.path));
      const before = await readFile(folder.in("checkpoints", "000000001", "tensors.safetensors"));
      const error = await failure(train(input, wild(), { dir: folder.path }));
      expect(error.code).toBe("TRAINING_DIVERGED");
      expect(error.message).toMatch(/step 2/);
      expect(error.hint).toMatch(/learningRate/);
      expect(await checkpointNames(folder.path)).toEqual(["000000001"]);
      expect(await readFile(folder.in("checkpoints", "000000001", "tensors.safetensors"))).toEqual(before);
    });

    it.each(["comirec-sa", "comirec-dr", "gate"] as const)("says so for %s too, and stores no model", async (name) => {
      await using folder = await TemporaryFolder.create();
      const config = tinyConfig(name, { optimizer: { learningRate: 1e30 } });
      expect((await failure(train(input, config, { dir: folder.path }))).code).toBe("TRAINING_DIVERGED");
      expect(await readdir(folder.path)).toEqual([]);
    });
  });

  describe("with a checkpoint of something else", () => {
    async function refused(next: TrainInput, config = tinyConfig("mixture")): Promise<PrismrecError> {
      await using folder = await TemporaryFolder.create();
      await train(input, tinyConfig("mixture"), stopAfter(1, folder.path));
      const error = await failure(train(next, config, { dir: folder.path }));
      expect(await checkpointNames(folder.path)).toEqual(["000000001"]);
      return error;
    }

    it("refuses another dataset", async () => {
      const error = await refused(await tinyInput(2));
      expect(error.code).toBe("CHECKPOINT_INCOMPATIBLE");
      expect(error.message).toMatch(/another dataset/);
    });

    it("refuses another configuration", async () => {
      const error = await refused(input, tinyConfig("mixture", { positions: 2 }));
      expect(error.code).toBe("CHECKPOINT_INCOMPATIBLE");
      expect(error.message).toMatch(/another configuration/);
    });

    it("refuses other partitions and no crowd, though configuration and dataset are the same", async () => {
      const { dataset, partitions, crowd } = input;
      const assign = partitions.train.assign.slice();
      assign[0] = assign[0]! + 1;
      const others = { ...partitions, train: { ...partitions.train, assign } };
      expect((await refused({ dataset, partitions: others, crowd })).code).toBe("CHECKPOINT_INCOMPATIBLE");
      expect((await refused({ dataset, partitions })).code).toBe("CHECKPOINT_INCOMPATIBLE");
    });
  });

  describe("whose newest checkpoint is damaged", () => {
    const damages = {
      "cut short": (path: string) => truncate(join(path, "tensors.safetensors"), 1000),
      changed: async (path: string) => {
        const bytes = await readFile(join(path, "tensors.safetensors"));
        bytes[bytes.length - 1]! ^= 1;
        await writeFile(join(path, "tensors.safetensors"), bytes);
      },
      "without its manifest": (path: string) => rm(join(path, "manifest.json")),
      "with half a manifest": (path: string) => truncate(join(path, "manifest.json"), 40),
    } as const satisfies Record<string, (path: string) => Promise<void>>;

    it.each(Object.entries(damages))(
      "names it and the one before, loses neither, and goes on from there: %s",
      async (_, damage) => {
        await using folder = await TemporaryFolder.create();
        const whole = folder.in("whole");
        const parts = folder.in("parts");
        const config = tinyConfig("mixture");
        const { steps } = await train(input, config, { dir: whole });
        await train(input, config, stopAfter(steps / 2 + 1, parts));
        const names = await checkpointNames(parts);
        const newest = join(parts, "checkpoints", names[1]!);
        await damage(newest);
        const error = await failure(train(input, config, { dir: parts }));
        expect(error.code).toBe("DATA_FORMAT");
        expect(error.hint).toContain(newest);
        expect(error.hint).toContain(names[0]!);
        expect(await checkpointNames(parts)).toEqual(names);
        await rm(newest, { recursive: true });
        await train(input, config, { dir: parts });
        expect(await modelBytes(parts)).toEqual(await modelBytes(whole));
      },
    );

    it("lets errors of the file system through by their own name", async () => {
      await using folder = await TemporaryFolder.create();
      await writeFile(folder.in("checkpoints"), "a file where a folder should be");
      const error = await failure(train(input, tinyConfig("mixture"), { dir: folder.path }));
      expect(isPrismrecError(error, "IO")).toBe(true);
    });
  });

  it("refuses to learn from what evaluation is about to ask", async () => {
    await using folder = await TemporaryFolder.create();
    const { dataset, partitions, crowd } = input;
    const leaking = { ...crowd, members: crowd.members.map(() => Uint32Array.of(dataset.split.test.users[0]!)) };
    expect(
      (await failure(train({ dataset, partitions, crowd: leaking }, tinyConfig("mixture"), { dir: folder.path }))).code,
    ).toBe("LEAKAGE");
    expect(await readdir(folder.path)).toEqual([]);
  });
});

describe("on a catalog smaller than any usual cut-off", () => {
  const catalogOf = (size: number): Dataset => {
    const lists = Array.from({ length: 24 }, (_, u) =>
      Array.from({ length: Math.min(size, 2 + (u % 5)) }, (_, t) => 1 + ((u + t) % size)),
    );
    const dataset = handMade(lists, { test: lists.slice(0, 6) });
    return { ...dataset, split: { ...dataset.split, valid: dataset.split.test } };
  };

  describe.each([2, 3, 19, 30])("of %i items", (size) => {
    it.each(TINY_CONFIG_NAMES)("trains %s, judged at the cut-offs that it names", async (name) => {
      await using folder = await TemporaryFolder.create();
      const dataset = catalogOf(size);
      const { curve, model } = await train({ dataset }, tinyConfig(name), { dir: folder.in("run") });
      using trained = model;
      const cutoff = size === 30 ? 20 : Math.floor(size / 2);
      for (const { metrics } of curve) {
        expect(Object.keys(metrics)).toEqual([`recall@${cutoff}`, `ndcg@${cutoff}`]);
        expect(Object.values(metrics).every((value) => value >= 0 && value <= 1)).toBe(true);
      }
      const { metrics } = await evaluate(trained, dataset, { part: "test" });
      expect(Object.keys(metrics)).toEqual([`recall@${cutoff}`, `ndcg@${cutoff}`, `hit-rate@${cutoff}`]);
    });
  });

  it("stops by recall and ndcg at the largest cut-off of the settings", async () => {
    await using folder = await TemporaryFolder.create();
    const config = tinyConfig("mixture", { stopping: { epochs: 3, cutoffs: [5, 2] } });
    const { curve, bestEpoch } = await train({ dataset: catalogOf(19) }, config, { dir: folder.in("run") });
    const value = curve.map(({ metrics }) => metrics["recall@5"]! + metrics["ndcg@5"]!);
    expect(bestEpoch).toBe(1 + value.indexOf(Math.max(...value)));
    expect(Object.keys(curve[0]!.metrics)).toEqual(["recall@2", "ndcg@2", "recall@5", "ndcg@5"]);
  });
});

describe("the backend of a run", () => {
  it("is the run's own, whatever tfjs has current, which stays so", async () => {
    await using folder = await TemporaryFolder.create();
    const config = tinyConfig("mixture", { stopping: { epochs: 1 } });
    await train(input, config, { dir: folder.in("first") });
    await tf.setBackend("cpu");
    const x = tf.ones([8, 8]);
    const tensors = tf.memory().numTensors;
    const { model } = await train(input, config, {
      dir: folder.in("second"),
      onEvent: () => expect(tf.getBackend()).toBe("cpu"),
    });
    expect(model.backend).toBe(modelBackend());
    expect(await modelBytes(folder.in("second"))).toEqual(await modelBytes(folder.in("first")));
    expect([tf.getBackend(), tf.memory().numTensors, x.dataSync()[3]]).toEqual(["cpu", tensors, 1]);
    x.dispose();
  });
});

describe("train on a device", () => {
  // No CUDA library is built beside the addon; one is found only where PRISMREC_CUDA_LIBRARY names it.
  it.skipIf(cudaInfo()?.usable === true)(
    "refuses a GPU that is not there before it writes, and says why auto does without",
    async () => {
      await using folder = await TemporaryFolder.create();
      const error = await failure(train(input, tinyConfig("mixture", { device: "cuda" }), { dir: folder.in("cuda") }));
      expect(error.code).toBe("DEVICE_UNAVAILABLE");
      expect(error.hint).toBeDefined();
      await expect(readdir(folder.in("cuda"))).rejects.toThrow();
      const events: TrainEvent[] = [];
      const config = tinyConfig("mixture", { device: "auto", stopping: { epochs: 1 } });
      const { device } = await train(input, config, { dir: folder.in("auto"), onEvent: (event) => events.push(event) });
      expect(device).toBe("cpu");
      expect(events[0]).toMatchObject({ type: "start", device: "cpu", reason: expect.stringMatching(/./) });
      const { content } = await readCheckpoint(folder.in("auto", "model"), "model");
      expect(content.training).toMatchObject({ device: "cpu", config: { device: "auto" } });
    },
  );
});
