import { z } from "zod";
import { contrastiveLossSync } from "../../ops/contrastive-loss/contrastive-loss.js";
import { gatherRows } from "../../ops/embedding-rows/embedding-rows.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  weight: z.number().min(0).default(1).describe("lambda_c of the crowd contrast; 0 switches it off"),
  temperature: z.number().positive().default(0.2).describe("tau of the crowd contrast"),
  users: z.int().min(1).default(16).describe("synthesized users per step"),
  warmup: z.int().min(0).default(0).describe("epochs without the extra losses"),
  ramp: z.int().min(1).default(2).describe("epochs over which their weights then grow to full"),
});

export type CrowdSettings = z.infer<typeof settings>;

/** How much of their weights the extra losses have in an epoch, counted from 1. */
export function rampOf({ warmup, ramp }: Pick<CrowdSettings, "warmup" | "ramp">, epoch: number): number {
  return Math.min(1, Math.max(0, epoch - warmup) / ramp);
}

/**
 * Contrast of item vectors inside synthesized users (docs/concepts/method.md, "crowd level"): items of one semantic
 * cluster of a synthesized user are positives, its other items negatives. Draws users with replacement.
 */
export const crowdContrastTerm: Term<CrowdSettings> = {
  name: "crowd",
  settings: settings.prefault({}),
  weight: (own, epoch) => own.weight * rampOf(own, epoch),
  ofItems({ artifacts: { crowd }, items, settings: own, random, weight, device }) {
    if (crowd === undefined) return undefined;
    const rows: number[] = [];
    const groups: number[] = [];
    const labels: number[] = [];
    const count = crowd.indptr.length - 1;
    for (let group = 0; group < own.users && count > 0; group++) {
      const s = random.integer(0, count);
      for (let at = crowd.indptr[s]!; at < crowd.indptr[s + 1]!; at++) {
        rows.push(crowd.items[at]! - 1);
        groups.push(group);
        labels.push(crowd.clusters[at]!);
      }
    }
    const ids = Uint32Array.from(rows);
    const gathered = gatherRows(items, ids);
    if (ids.length === 0) return { loss: 0, gradient: { ids, data: gathered.data } };
    const result = contrastiveLossSync({
      kind: "supervised",
      rows: gathered,
      groups: Int32Array.from(groups),
      labels: Int32Array.from(labels),
      scope: "group",
      similarity: "cosine",
      temperature: own.temperature,
      ...(device === undefined ? {} : { device }),
    });
    const gradient = result.gradients.rows;
    if (weight !== 1) for (let i = 0; i < gradient.length; i++) gradient[i]! *= weight;
    return { loss: result.loss, gradient: { ids, data: gradient } };
  },
};
