import { createRandom } from "@prismrec/core/base";
import { comirecDrSchema, createNetwork } from "@prismrec/core/models";
import { externalLoss, ParameterSet, useTensorBackend } from "@prismrec/core/nn";
import { beforeAll, describe, expect, it } from "vitest";
import { differentiate, differentiateVectors, needsNoTape } from "./gradients.js";
import { StepBuffers } from "./step-buffers.js";

beforeAll(async () => {
  await useTensorBackend();
});

const DIM = 6;
const ITEMS = 9;
const LENGTH = 4;

describe.each([{ bilinear: "interest" }, { bilinear: "position" }, { bilinear: "shared", initialLogits: "noise" }])(
  "the gradients of comirec-dr without a tape, $bilinear maps",
  (config) => {
    it("are those of the tape, bit for bit, and in memory that is used again", () => {
      const network = createNetwork(comirecDrSchema.parse({ dim: DIM, interests: 3, maxHistory: 5, ...config }));
      const random = createRandom(3);
      const parameters = ParameterSet.create(network.specs(), random);
      const items = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal()), rows: ITEMS, cols: DIM };
      const lengths = Uint32Array.of(LENGTH, 1, 0);
      const batch = {
        size: lengths.length,
        length: LENGTH,
        items: Uint32Array.of(3, 1, 9, 3, 7, 0, 0, 0, 0, 0, 0, 0),
        lengths,
        clusters: new Int16Array(lengths.length * LENGTH).fill(-1),
        clusterCount: 0,
        positionCount: 1,
        positions: Int32Array.of(0, 0, -1),
      };
      const weights = Float32Array.from({ length: lengths.length * 3 * DIM }, () => random.normal());
      const loss = (vectors: Float32Array) => ({
        loss: vectors.reduce((sum, value, i) => sum + weights[i]! * value ** 2, 0),
        gradient: vectors.map((value, i) => 2 * weights[i]! * value),
      });
      if (!needsNoTape(network)) throw new Error("comirec-dr needs a tape");
      const gradientsOf = (buffers?: StepBuffers) =>
        differentiateVectors(network, parameters, items, batch, buffers, loss);
      const expected = differentiate(network, parameters, items, batch, undefined, undefined, ({ vectors }) =>
        externalLoss([vectors], ([values]) => {
          const { loss: value, gradient } = loss(values!);
          return { loss: value, gradients: [gradient] };
        }),
      );
      expect(expected.loss).not.toBe(0);
      expect(expected.network.get("bilinear")!.some((value) => value !== 0)).toBe(true);
      expect(gradientsOf()).toEqual({ ...expected, loss: expect.closeTo(expected.loss, 5) });
      const buffers = new StepBuffers();
      const first = gradientsOf(buffers);
      buffers.release();
      const second = gradientsOf(buffers);
      expect(second.embedded.data.buffer).toBe(first.embedded.data.buffer);
      expect(second).toEqual({ ...expected, loss: first.loss });
    });
  },
);
