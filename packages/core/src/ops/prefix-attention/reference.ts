import type { PrefixAttentionProblem } from "./types.js";

export function prefixAttentionReference(problem: PrefixAttentionProblem, logits: Float32Array): Float32Array {
  const { size, length, lengths, clusters, clusterCount, positionCount, positions } = problem;
  const { collaborative } = problem;
  const interests = collaborative + clusterCount;
  const weights = new Float32Array(size * positionCount * interests * length);
  const exponentials = new Float64Array((collaborative + 1) * length);
  const running = new Float64Array((collaborative + clusterCount) * length);
  for (let b = 0; b < size; b++) {
    const end = lengths[b]!;
    const rows = collaborative + (clusterCount > 0 ? 1 : 0);
    for (let r = 0; r < rows; r++) {
      const base = (b * (collaborative + 1) + r) * length;
      let top = -Infinity;
      for (let t = 0; t < end; t++) top = Math.max(top, logits[base + t]!);
      // Doubles reach 1e-308, so an old event keeps its weight unless it trails the newest by 700 in the logit.
      for (let t = 0; t < end; t++) exponentials[r * length + t] = Math.exp(logits[base + t]! - top) + 1e-300;
    }
    running.fill(0);
    for (let k = 0; k < collaborative; k++) {
      let sum = 0;
      for (let t = end - 1; t >= 0; t--) {
        sum += exponentials[k * length + t]!;
        running[k * length + t] = sum;
      }
    }
    for (let m = 0; m < clusterCount; m++) {
      let sum = 0;
      for (let t = end - 1; t >= 0; t--) {
        if (clusters[b * length + t] === m) sum += exponentials[collaborative * length + t]!;
        running[(collaborative + m) * length + t] = sum;
      }
    }
    for (let p = 0; p < positionCount; p++) {
      const start = positions[b * positionCount + p]!;
      if (start < 0) continue;
      const row = (b * positionCount + p) * interests;
      for (let k = 0; k < collaborative; k++) {
        const scale = 1 / running[k * length + start]!;
        for (let t = start; t < end; t++) weights[(row + k) * length + t] = exponentials[k * length + t]! * scale;
      }
      if (clusterCount === 0) continue;
      for (let t = start; t < end; t++) {
        const m = clusters[b * length + t]!;
        if (m < 0 || m >= clusterCount) continue;
        weights[(row + collaborative + m) * length + t] =
          exponentials[collaborative * length + t]! / running[(collaborative + m) * length + start]!;
      }
    }
  }
  return weights;
}

/** Softmax backward of every row, `w (dw - <w, dw>)`, summed over positions and, for the shared row, clusters. */
export function prefixAttentionGradientReference(
  problem: PrefixAttentionProblem,
  weights: Float32Array,
  dWeights: Float32Array,
): Float32Array {
  const { size, length, lengths, clusters, clusterCount, positionCount, positions } = problem;
  const { collaborative } = problem;
  const interests = collaborative + clusterCount;
  const dLogits = new Float32Array(size * (collaborative + 1) * length);
  const inner = new Float64Array(interests);
  for (let b = 0; b < size; b++) {
    const end = lengths[b]!;
    for (let p = 0; p < positionCount; p++) {
      const start = positions[b * positionCount + p]!;
      if (start < 0) continue;
      const row = (b * positionCount + p) * interests;
      for (let k = 0; k < collaborative; k++) {
        const from = (row + k) * length;
        const to = (b * (collaborative + 1) + k) * length;
        let dot = 0;
        for (let t = start; t < end; t++) dot += weights[from + t]! * dWeights[from + t]!;
        for (let t = start; t < end; t++) {
          dLogits[to + t] = dLogits[to + t]! + weights[from + t]! * (dWeights[from + t]! - dot);
        }
      }
      if (clusterCount === 0) continue;
      inner.fill(0);
      for (let t = start; t < end; t++) {
        const m = clusters[b * length + t]!;
        if (m < 0 || m >= clusterCount) continue;
        const at = (row + collaborative + m) * length + t;
        inner[m] = inner[m]! + weights[at]! * dWeights[at]!;
      }
      const to = (b * (collaborative + 1) + collaborative) * length;
      for (let t = start; t < end; t++) {
        const m = clusters[b * length + t]!;
        if (m < 0 || m >= clusterCount) continue;
        const at = (row + collaborative + m) * length + t;
        dLogits[to + t] = dLogits[to + t]! + weights[at]! * (dWeights[at]! - inner[m]!);
      }
    }
  }
  return dLogits;
}
