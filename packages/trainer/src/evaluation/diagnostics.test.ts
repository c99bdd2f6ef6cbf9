import { setImmediate } from "node:timers/promises";
import { createRandom } from "@prismrec/core/base";
import type { History } from "@prismrec/core/data";
import { createNetwork, InterestModel, networkConfig } from "@prismrec/core/models";
import { ParameterSet, useTensorBackend } from "@prismrec/core/nn";
import { beforeAll, describe, expect, it } from "vitest";
import { randomItems } from "../training/initial-items.js";
import { diagnose } from "./diagnostics.js";

beforeAll(async () => {
  await useTensorBackend();
});

const ITEMS = 20;
const histories: readonly History[] = [
  { items: Uint32Array.of(1, 2, 3, 4, 5), clusters: Int16Array.of(0, 1, 0, 1, 2) },
  { items: Uint32Array.of(6, 7), clusters: Int16Array.of(0, 0) },
  { items: Uint32Array.of(), clusters: Int16Array.of() },
];

/** A network with some of its parameters set: what it then does with interests is known. */
function modelWith(config: Record<string, unknown>, values: Record<string, number>): InterestModel {
  const network = createNetwork(
    networkConfig({ model: "ldmi", dim: 8, interests: 3, layers: 1, maxHistory: 6, ...config }),
  );
  const parameters = ParameterSet.create(network.specs(), createRandom(1));
  for (const [name, value] of Object.entries(values)) parameters.get(name)!.values.fill(value);
  return new InterestModel(network, parameters, randomItems(ITEMS, 8, 2), new Float32Array(ITEMS));
}

async function diagnosticsOf(model: InterestModel) {
  return diagnose(model, histories, await model.rank(histories, { k: 10 }));
}

describe("diagnose", () => {
  it("tells interests that are all the same, and plain averages, as what they are", async () => {
    // Without pooling logits every collaborative interest is the plain average of the history.
    const alike = { "pool/logits/weight": 0, "pool/logits/bias": 0 };
    const found = await diagnosticsOf(modelWith({ fusion: "gate", align: "none" }, alike));
    expect(found.interestCosine).toBeCloseTo(1, 5);
    expect(found.attentionEntropy).toBeCloseTo(1, 5);
    // The first of equals wins every hit, so the others are dead.
    expect(found.deadInterestRate).toBeCloseTo(2 / 3, 12);
    expect(found).not.toHaveProperty("semanticMass");
  });

  it("finds interests that differ less alike", async () => {
    const found = await diagnosticsOf(modelWith({ fusion: "gate", align: "none" }, {}));
    expect(found.interestCosine).toBeLessThan(1 - 1e-4);
    expect(found.attentionEntropy).toBeLessThan(1);
  });

  it("counts a mixture's prior mass and its semantic interests", async () => {
    const even = {
      "prior/collaborative/weight": 0,
      "prior/collaborative/bias": 0,
      "prior/semantic/weight": 0,
      "prior/semantic/bias": 0,
      "prior/size": 0,
      "prior/last": 0,
    };
    const found = await diagnosticsOf(modelWith({ fusion: "mixture" }, even));
    // Three clusters beside three interests, one beside three; the empty history does not count.
    expect(found.semanticInterests).toBeCloseTo(2, 12);
    expect(found.semanticMass).toBeCloseTo((1 / 2 + 1 / 4) / 2, 5);
    expect(found.collaborativeMass).toBeCloseTo((1 / 2 + 3 / 4) / 2, 5);
  });

  it("shows an alignment that does nothing by its entropy, and the gate's mean", async () => {
    const { assignmentEntropy, gate } = await diagnosticsOf(
      modelWith(
        { fusion: "gate", align: "soft" },
        { "align/cluster/weight": 0, "align/cluster/bias": 0, "align/gate/weight": 0, "align/gate/bias": 0 },
      ),
    );
    expect(assignmentEntropy).toBeCloseTo(1, 5);
    expect(gate).toBeCloseTo(0.5, 5);
    const sharp = await diagnosticsOf(modelWith({ fusion: "gate", align: "soft", alignTemperature: 0.001 }, {}));
    expect(sharp.assignmentEntropy).toBeLessThan(0.5);
  });

  it("gives way to the event loop between batches, and stops there when told", async () => {
    using model = modelWith({ fusion: "mixture" }, {});
    const many = Array.from({ length: 400 }, (_, n) => ({ items: Uint32Array.of(1 + (n % ITEMS), 1 + (n % 3)) }));
    const ranking = await model.rank(many, { k: 3 });
    let turns = 0;
    let diagnosing = true;
    const counting = (async () => {
      while (diagnosing) {
        await setImmediate();
        turns++;
      }
    })();
    const done: number[] = [];
    await diagnose(model, many, ranking, { onProgress: (progress) => done.push(progress.done) });
    diagnosing = false;
    await counting;
    expect(turns).toBeGreaterThanOrEqual(done.length - 1);
    expect(done).toEqual([128, 256, 384, 400]);

    const stop = new AbortController();
    const reason = new Error("enough");
    const running = diagnose(model, many, ranking, {
      signal: stop.signal,
      onProgress: (progress) => {
        done.push(progress.done);
        stop.abort(reason);
      },
    });
    await expect(running).rejects.toBe(reason);
    expect(done.slice(4)).toEqual([128]);
  });
});
