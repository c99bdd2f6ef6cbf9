import type { Random } from "@prismrec/core/base";
import type { CandidateSampler, DrawnCandidates } from "./log-uniform.js";

/** Candidates that are all equally likely, P(c) = 1 / N for every row of the item table. */
export class UniformSampler implements CandidateSampler {
  constructor(private readonly itemCount: number) {}

  draw(count: number, targets: Uint32Array, random: Random): DrawnCandidates {
    const ids = Uint32Array.from({ length: count }, () => random.integer(0, this.itemCount));
    const expected = Math.log(count / this.itemCount);
    return {
      ids,
      logQ: new Float32Array(count).fill(expected),
      targetLogQ: new Float32Array(targets.length).fill(expected),
    };
  }
}
