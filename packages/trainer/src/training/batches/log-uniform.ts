import type { Random } from "@prismrec/core/base";
import type { SampledCandidates } from "@prismrec/core/ops";

export type DrawnCandidates = Required<Omit<SampledCandidates, "perRow">>;

export interface CandidateSampler {
  /** `count` rows with replacement, and the log of the expected count of each of them and of each target. */
  draw(count: number, targets: Uint32Array, random: Random): DrawnCandidates;
}

/**
 * Candidates by the log-uniform (Zipfian) distribution over popularity ranks, P(c) = log((c + 2) / (c + 1)) / log(N + 1)
 * for row c of the item table: dense ids are sorted by popularity, so rank and row agree.
 */
export class LogUniformSampler implements CandidateSampler {
  readonly #span: number;
  /** By row, 0 where not asked for yet. */
  readonly #logProbability: Float64Array;

  constructor(private readonly itemCount: number) {
    this.#span = Math.log(itemCount + 1);
    this.#logProbability = new Float64Array(itemCount);
  }

  draw(count: number, targets: Uint32Array, random: Random): DrawnCandidates {
    const ids = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      ids[i] = Math.min(this.itemCount - 1, Math.floor(Math.exp(random.uniform() * this.#span)) - 1);
    }
    return { ids, logQ: this.#logQ(count, ids), targetLogQ: this.#logQ(count, targets) };
  }

  #logQ(count: number, rows: Uint32Array): Float32Array {
    const logQ = new Float32Array(rows.length);
    const logCount = Math.log(count);
    for (let i = 0; i < rows.length; i++) logQ[i] = logCount + this.#logProbabilityOf(rows[i]!);
    return logQ;
  }

  #logProbabilityOf(row: number): number {
    const known = this.#logProbability[row]!;
    if (known !== 0) return known;
    const found = Math.log(this.probability(row));
    this.#logProbability[row] = found;
    return found;
  }

  probability(row: number): number {
    return Math.log((row + 2) / (row + 1)) / this.#span;
  }
}
