import type { Matrix, Random } from "@prismrec/core/base";
import type { CrowdSet } from "@prismrec/core/data";
import { contrastiveLossSync, gatherRows, type RowContribution } from "@prismrec/core/ops";

/**
 * Contrast of item vectors inside synthesized users (docs/concepts/method.md, "crowd level"): items of one semantic
 * cluster of a synthesized user are positives, its other items negatives. Draws users with replacement.
 *
 * @param items [N, d], rows are dense ids minus one
 * @param weight factor on the gradient; `loss` is without it
 */
export function crowdContrast(
  crowd: CrowdSet,
  items: Matrix,
  settings: { readonly users: number; readonly temperature: number },
  weight: number,
  random: Random,
): { readonly loss: number; readonly gradient: RowContribution } {
  const rows: number[] = [];
  const groups: number[] = [];
  const labels: number[] = [];
  const count = crowd.indptr.length - 1;
  for (let group = 0; group < settings.users && count > 0; group++) {
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
    temperature: settings.temperature,
  });
  const gradient = result.gradients.rows;
  if (weight !== 1) for (let i = 0; i < gradient.length; i++) gradient[i]! *= weight;
  return { loss: result.loss, gradient: { ids, data: gradient } };
}
