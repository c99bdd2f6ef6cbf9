import type { Random, SampledCandidates } from "@prismrec/core";

/**
 * Candidates by the log-uniform (Zipfian) distribution over popularity ranks, P(c) = log((c + 2) / (c + 1)) / log(N + 1)
 * for row c of the item table: dense ids are sorted by popularity, so rank and row agree.
 */
export class LogUniformSampler {
  readonly #span: number;

  constructor(private readonly itemCount: number) {
    this.#span = Math.log(itemCount + 1);
  }

  /** `count` rows with replacement, and the log of the expected count of each of them and of each target. */
  draw(count: number, targets: Uint32Array, random: Random): Required<SampledCandidates> {
    const ids = Uint32Array.from({ length: count }, () =>
      Math.min(this.itemCount - 1, Math.floor(Math.exp(random.uniform() * this.#span)) - 1),
    );
    const logQ = (row: number): number => Math.log(count * this.probability(row));
    return { ids, logQ: Float32Array.from(ids, logQ), targetLogQ: Float32Array.from(targets, logQ) };
  }

  probability(row: number): number {
    return Math.log((row + 2) / (row + 1)) / this.#span;
  }
}
