import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { fitItemKnn, PriorModel } from "@prismrec/core/models";
import { native } from "@prismrec/core/ops";
import { beforeAll, describe, expect, it } from "vitest";
import { evaluate } from "../evaluation/evaluate.js";
import { TemporaryFolder, type TinyConfigName, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import type { TrainEvent } from "./events.js";
import { type TrainInput, train } from "./train.js";

// Built with the native tests: the CUDA library on the GPU that they pretend.
const library = fileURLToPath(new URL("../../../../native/build/test/prismrec_cuda_host.so", import.meta.url));
const there = native() !== undefined && existsSync(library);
if (!there) process.stderr.write("skipped: the pretended GPU is not built; npm run test:cuda-host builds it\n");

let input: TrainInput;

describe.skipIf(!there)("training on a GPU, as far as one can pretend", () => {
  beforeAll(async () => {
    process.env.PRISMREC_CUDA_LIBRARY = library; // read when the first call opens it
    input = await tinyInput();
  });

  it.each(["mixture", "mixture, sampled softmax", "gate", "comirec-sa"] satisfies TinyConfigName[])(
    "%s learns as on the processor, up to rounding",
    async (name) => {
      await using folder = await TemporaryFolder.create();
      // The pretended machine is slow: small steps.
      const positions = name === "comirec-sa" ? {} : { positions: 1 };
      const settings = { ...positions, batchSize: 16, stopping: { epochs: 1 } };
      const here = await train(input, tinyConfig(name, settings), { dir: folder.in("cpu") });
      const events: TrainEvent[] = [];
      const there = await train(input, tinyConfig(name, { ...settings, device: "cuda" }), {
        dir: folder.in("cuda"),
        onEvent: (event) => events.push(event),
      });
      expect([here.device, there.device]).toEqual(["cpu", "cuda"]);
      expect(events[0]).toMatchObject({ type: "start", device: "cuda" });
      expect(there.steps).toBe(here.steps);
      const [own, other] = [here.curve[0]!, there.curve[0]!];
      for (const [term, value] of Object.entries(own.parts)) {
        // Other kernels round otherwise: the same bits would say that the processor has done it.
        expect(other.parts[term], term).not.toBe(value);
        expect(Math.abs(other.parts[term]! - value) / Math.abs(value), term).toBeLessThan(1e-4);
      }
      for (const [metric, value] of Object.entries(own.metrics)) expect(other.metrics[metric]).toBeCloseTo(value, 1);
      const [a, b] = [here.model.itemVectors().data, there.model.itemVectors().data];
      const largest = a.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
      expect(a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0) / largest).toBeLessThan(1e-2);
    },
    60_000,
  );

  it("searches for evaluation there, and with a prior, which no kernel adds, on the processor", async () => {
    await using folder = await TemporaryFolder.create();
    const { dataset } = input;
    const { model } = await train(input, tinyConfig("mixture", { stopping: { epochs: 1 } }), { dir: folder.path });
    const options = { part: "test", metrics: ["ndcg@10", "recall@10"], diagnostics: false } as const;
    const here = await evaluate(model, dataset, options);
    const there = await evaluate(model, dataset, { ...options, device: "cuda" });
    expect(there.perUser).toEqual(here.perUser);
    const query = [{ items: Uint32Array.of(1, 2, 3) }];
    const [own, other] = [await model.rank(query, { k: 20 }), await model.rank(query, { k: 20, device: "cuda" })];
    expect(other.ids).toEqual(own.ids);
    expect(other.scores).not.toEqual(own.scores);
    using both = new PriorModel(model, await fitItemKnn(dataset), 0.5);
    expect(await both.rank(query, { k: 20, device: "cuda" })).toEqual(await both.rank(query, { k: 20 }));
  });
});
