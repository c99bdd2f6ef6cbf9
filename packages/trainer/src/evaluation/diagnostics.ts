import { type RunOptions, yieldToEventLoop } from "@prismrec/core/base";
import type { History } from "@prismrec/core/data";
import type { Ranking } from "@prismrec/core/metrics";
import { INTEREST_BATCH, type InterestModel } from "@prismrec/core/models";

/** Whether a model's interests are several, used, and moved by the clusters; means over users. */
export interface ModelDiagnostics {
  /** Mean pairwise cosine of a user's present interests: 1 = all the same. Absent with fewer than two interests. */
  readonly interestCosine?: number;
  /** Mean entropy of an interest's weights over the history, over log of its length: 1 = plain average. */
  readonly attentionEntropy?: number;
  /** Share of collaborative interests that stand behind no hit of any user's list. */
  readonly deadInterestRate: number;
  /** Prior mass of collaborative interests (mixtures). */
  readonly collaborativeMass?: number;
  /** Prior mass of semantic interests (mixtures). */
  readonly semanticMass?: number;
  /** Semantic interests per user (mixtures). */
  readonly semanticInterests?: number;
  /** Entropy of the assignment of clusters to interests over ln K (aligned fusions): 1 = the alignment does nothing. */
  readonly assignmentEntropy?: number;
  /** Mean gate (`fusion: "gate"`). */
  readonly gate?: number;
}

/**
 * Runs the network over the histories once more, a batch of users at a time, and gives way to the event loop in between.
 *
 * @param histories what the model is to read; those without events are passed over
 * @param ranking its lists for them
 * @throws what an aborted signal gives as its reason
 */
export async function diagnose(
  model: InterestModel,
  histories: readonly History[],
  ranking: Ranking,
  { signal, onProgress }: RunOptions = {},
): Promise<ModelDiagnostics> {
  const cosine = new Mean();
  const attention = new Mean();
  const collaborative = new Mean();
  const semantic = new Mean();
  const present = new Mean();
  const assignment = new Mean();
  const gate = new Mean();
  const wins = new Map<number, number>();
  let collaborativeCount = 0;
  const read = histories.filter(({ items }) => items.length > 0);
  for (let row = 0; row < ranking.counts.length; row++) {
    if (row % COUNTED_AT_ONCE === 0) await yieldToEventLoop(signal);
    for (let i = row * ranking.k; i < row * ranking.k + ranking.counts[row]!; i++) {
      const winner = ranking.interests?.[i] ?? 0;
      wins.set(winner, (wins.get(winner) ?? 0) + 1);
    }
  }
  for (let start = 0; start < read.length; start += INTEREST_BATCH) {
    await yieldToEventLoop(signal);
    const part = read.slice(start, start + INTEREST_BATCH);
    const { interests, diagnostics } = model.inspect(part);
    const { count, clusters, offsets } = interests;
    for (let b = 0; b < part.length; b++) {
      const here = Array.from({ length: count }, (_, j) => b * count + j).filter((row) => offsets[row]! > -Infinity);
      cosine.add(pairwiseCosine(interests.vectors.data, model.dim, here));
      const own = here.filter((row) => clusters[row] === -1);
      if (interests.attention !== undefined) {
        const length = interests.attention.length / (part.length * count);
        const events = Math.min(part[b]!.items.length, model.maxHistory);
        for (const row of own) attention.add(relativeEntropy(interests.attention, row * length, events));
      }
      collaborativeCount = Math.max(collaborativeCount, own.length);
      for (const row of own) wins.set(row % count, wins.get(row % count) ?? 0);
      if (here.length > 0 && here.some((row) => offsets[row] !== 0)) {
        const massOf = (rows: readonly number[]) => rows.reduce((sum, row) => sum + Math.exp(offsets[row]!), 0);
        collaborative.add(massOf(own));
        semantic.add(massOf(here.filter((row) => clusters[row] !== -1)));
        present.add(here.length - own.length);
      }
    }
    const { assignment: shares } = diagnostics;
    if (shares !== undefined) {
      for (let at = 0; at < shares.length; at += count) assignment.add(relativeEntropy(shares, at, count));
    }
    diagnostics.gate?.forEach((value) => {
      if (value > 0) gate.add(value);
    });
    onProgress?.({ stage: "diagnose", done: start + part.length, total: read.length, unit: "users" });
  }
  const collaborativeWins = [...wins].filter(([interest]) => interest < collaborativeCount);
  const dead = collaborativeWins.filter(([, won]) => won === 0).length;
  return {
    ...optional("interestCosine", cosine),
    ...optional("attentionEntropy", attention),
    deadInterestRate: dead / Math.max(1, collaborativeWins.length),
    ...optional("collaborativeMass", collaborative),
    ...optional("semanticMass", semantic),
    ...optional("semanticInterests", present),
    ...optional("assignmentEntropy", assignment),
    ...optional("gate", gate),
  };
}

/** Lists whose winners are counted between two looks at the event loop. */
const COUNTED_AT_ONCE = 8192;

class Mean {
  #sum = 0;
  #count = 0;

  add(value: number | undefined): void {
    if (value === undefined) return;
    this.#sum += value;
    this.#count++;
  }

  get value(): number | undefined {
    return this.#count === 0 ? undefined : this.#sum / this.#count;
  }
}

function optional<K extends string>(key: K, mean: Mean): { [key in K]?: number } {
  const result: { [key in K]?: number } = {};
  if (mean.value !== undefined) result[key] = mean.value;
  return result;
}

function pairwiseCosine(vectors: Float32Array, dim: number, rows: readonly number[]): number | undefined {
  if (rows.length < 2) return undefined;
  // The squared length of the sum of unit vectors holds every pair twice and every vector once.
  const sum = new Float64Array(dim);
  for (const row of rows) {
    let squared = 0;
    for (let c = 0; c < dim; c++) squared += vectors[row * dim + c]! ** 2;
    const scale = squared > 0 ? 1 / Math.sqrt(squared) : 0;
    for (let c = 0; c < dim; c++) sum[c]! += vectors[row * dim + c]! * scale;
  }
  const total = sum.reduce((all, value) => all + value * value, 0);
  return (total - rows.length) / (rows.length * (rows.length - 1));
}

/** Entropy of `length` weights, scaled to sum 1, over log(length); undefined where nothing weighs or there is no choice. */
function relativeEntropy(weights: Float32Array, start: number, length: number): number | undefined {
  if (length < 2) return undefined;
  const own = weights.subarray(start, start + length);
  const sum = own.reduce((total, weight) => total + weight, 0);
  if (sum === 0) return undefined;
  let entropy = 0;
  for (const weight of own) if (weight > 0) entropy -= (weight / sum) * Math.log(weight / sum);
  return entropy / Math.log(length);
}
