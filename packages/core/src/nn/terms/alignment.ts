import { z } from "zod";
import { contrastiveLossSync } from "../../ops/contrastive-loss/contrastive-loss.js";
import { MASS_EPSILON } from "../layers/alignment.js";
import { type CrowdSettings, rampOf } from "./crowd-contrast.js";
import { externalLoss } from "./external-loss.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  weight: z.number().min(0).default(0.1).describe("lambda_a of the alignment loss (aligned fusions)"),
  temperature: z.number().positive().default(0.1),
});

/**
 * Contrast of each backed semantic side with the collaborative interest that it was fused into, both ways, over the batch
 * (docs/concepts/method.md, "alignment"). Grows to full weight with the crowd's ramp.
 */
export const alignmentTerm: Term<z.infer<typeof settings>> = {
  name: "alignment",
  settings: settings.prefault({}),
  weight: ({ weight }, epoch, { crowd }) => weight * rampOf(crowd as CrowdSettings, epoch),
  ofOutput({ settings: { temperature }, device }, { alignment, present }) {
    if (alignment === undefined) return undefined;
    const mass = alignment.mass.dataSync<"float32">();
    const rows = Array.from(mass.keys()).filter((i) => mass[i]! > MASS_EPSILON && present[i] === 1);
    if (rows.length < 2) return undefined;
    const dim = alignment.semantic.shape[3];
    let loss = 0;
    const value = externalLoss([alignment.semantic, alignment.collaborativeVectors], ([semantic, collaborative]) => {
      const result = contrastiveLossSync({
        kind: "info-nce",
        queries: { data: pick(semantic!, rows, dim), rows: rows.length, cols: dim },
        positives: { data: pick(collaborative!, rows, dim), rows: rows.length, cols: dim },
        similarity: "cosine",
        temperature,
        direction: "symmetric",
        ...(device === undefined ? {} : { device }),
      });
      loss = result.loss;
      return {
        loss,
        gradients: [
          spread(result.gradients.queries, rows, dim, semantic!.length),
          spread(result.gradients.positives, rows, dim, collaborative!.length),
        ],
      };
    });
    return { value, loss };
  },
};

function pick(values: Float32Array, rows: readonly number[], dim: number): Float32Array {
  const picked = new Float32Array(rows.length * dim);
  for (const [i, row] of rows.entries()) picked.set(values.subarray(row * dim, (row + 1) * dim), i * dim);
  return picked;
}

function spread(values: Float32Array, rows: readonly number[], dim: number, length: number): Float32Array {
  const whole = new Float32Array(length);
  for (const [i, row] of rows.entries()) whole.set(values.subarray(i * dim, (i + 1) * dim), row * dim);
  return whole;
}
