import type { CsrMatrix, Random } from "@prismrec/core/base";
import type { DropoutSource, SequenceBatch } from "@prismrec/core/nn";
import type { SampledCandidates } from "@prismrec/core/ops";

/** One step's worth of predictions: row b * P + p of the matrices belongs to position p of user b. */
export interface DrawnBatch {
  readonly batch: SequenceBatch;
  /** [B * P, N] what each position is to predict; columns are dense ids minus one. */
  readonly targets: CsrMatrix;
  /** [B * P, N] what the softmax leaves out. */
  readonly mask?: CsrMatrix;
  /** Candidates in place of the catalog. */
  readonly sampled?: SampledCandidates;
  /** What this batch counts beside the others of the epoch: 1 on average. */
  readonly weight: number;
  /** Draws its seeds from the step's generator as the network asks for them. */
  readonly drop?: DropoutSource;
}

/** Which batches make an epoch; a kind of recipe each. */
export interface BatchSource {
  /** Fixes the batches of an epoch, counted from 1. */
  beginEpoch(epoch: number): { readonly steps: number };
  /**
   * @param index in the epoch, from 0
   * @param random the step's own
   */
  draw(index: number, random: Random): DrawnBatch;
}
