import type { History, MultiInterestModel, Ranking, RankOptions } from "./model.js";

/**
 * Exact lists for a batch of histories: `score(i) = readout_j(<h_j, e_i> + b_i + offset_j)`, score descending, then
 * dense id ascending. A history without events gets an empty list.
 *
 * @param firstRow row of `options.exclude` that belongs to the first history
 */
export async function rankInterests(
  model: MultiInterestModel,
  histories: readonly History[],
  firstRow: number,
  options: RankOptions,
): Promise<Ranking & { interests: Uint16Array }> {
  const { k } = options;
  const items = model.itemVectors();
  const bias = model.itemBias();
  const batch = model.interests(histories);
  const ids = new Uint32Array(histories.length * k);
  const scores = new Float32Array(histories.length * k);
  const counts = new Uint32Array(histories.length);
  const interests = new Uint16Array(histories.length * k);
  const score = new Float64Array(items.rows);
  const winner = new Uint16Array(items.rows);
  for (let b = 0; b < histories.length; b++) {
    const history = histories[b]!;
    if (history.items.length === 0) continue;
    scoreItems(
      model.readout,
      items.data,
      items.cols,
      bias,
      batch.vectors.data,
      batch.offsets,
      b,
      batch.count,
      score,
      winner,
    );
    const hidden = new Uint8Array(items.rows + 1);
    if (options.excludeHistory !== false) for (const id of history.items) hidden[id] = 1;
    const { exclude } = options;
    if (exclude !== undefined) {
      const row = firstRow + b;
      for (let i = exclude.indptr[row]!; i < exclude.indptr[row + 1]!; i++) hidden[exclude.indices[i]!] = 1;
    }
    const order = Array.from({ length: items.rows }, (_, i) => i).filter((i) => hidden[i + 1] === 0);
    order.sort((x, y) => score[y]! - score[x]! || x - y);
    counts[b] = Math.min(k, order.length);
    for (let i = 0; i < counts[b]!; i++) {
      ids[b * k + i] = order[i]! + 1;
      scores[b * k + i] = score[order[i]!]!;
      interests[b * k + i] = winner[order[i]!]!;
    }
  }
  return { k, ids, scores, counts, interests };
}

function scoreItems(
  readout: "max" | "log-sum-exp",
  items: Float32Array,
  dim: number,
  bias: Float32Array | undefined,
  vectors: Float32Array,
  offsets: Float32Array,
  b: number,
  count: number,
  score: Float64Array,
  winner: Uint16Array,
): void {
  const terms = new Float64Array(count);
  for (let i = 0; i < score.length; i++) {
    let top = -Infinity;
    for (let j = 0; j < count; j++) {
      const offset = offsets[b * count + j]!;
      if (offset === -Infinity) {
        terms[j] = -Infinity;
        continue;
      }
      let dot = offset;
      const base = (b * count + j) * dim;
      for (let x = 0; x < dim; x++) dot += vectors[base + x]! * items[i * dim + x]!;
      terms[j] = dot;
      if (dot > top) {
        top = dot;
        winner[i] = j;
      }
    }
    let value = top;
    if (readout === "log-sum-exp") {
      let sum = 0;
      for (let j = 0; j < count; j++) sum += Math.exp(terms[j]! - top);
      value += Math.log(sum);
    }
    score[i] = value + (bias?.[i] ?? 0);
  }
}
