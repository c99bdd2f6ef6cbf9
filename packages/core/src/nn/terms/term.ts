import type { z } from "zod";
import type { CsrMatrix, Matrix } from "../../base/matrix.js";
import type { Random } from "../../base/random.js";
import type { DevicePreference } from "../../base/run-options.js";
import type { CrowdSet } from "../../data/crowd-set.js";
import type { RowContribution } from "../../ops/embedding-rows/types.js";
import type { GradientAllocator, SampledCandidates } from "../../ops/softmax-loss/types.js";
import type { ParameterTensors } from "../layers/parameters.js";
import type { SequenceBatch } from "../layers/sequence-batch.js";
import type { InterestNetwork, NetworkOutput } from "../network.js";
import type { tf } from "../tensor/tfjs.js";

/** What some terms read beside the batch; a run has what it was given. */
export interface TermArtifacts {
  /** Synthesized users with their clusters. */
  readonly crowd?: CrowdSet;
}

/** What a term is told of one training step. Row r = b * P + p of the matrices belongs to position p of user b. */
export interface TermInput<S = unknown> {
  readonly settings: S;
  /** Factor on the term in this epoch, as its `weight` gave it. */
  readonly weight: number;
  readonly network: InterestNetwork;
  readonly batch: SequenceBatch;
  /** [B * P, N] what each position is to predict; columns are dense ids minus one. */
  readonly targets: CsrMatrix;
  /** [B * P, N] what the softmax leaves out. */
  readonly mask?: CsrMatrix;
  /** What this batch counts beside the others of the epoch: 1 on average. */
  readonly batchWeight: number;
  /** [N, d], row i belongs to dense id i + 1. */
  readonly items: Matrix;
  /** [N], where the network has an item bias. */
  readonly itemBias?: Float32Array;
  /** Candidates in place of the catalog. */
  readonly sampled?: SampledCandidates;
  readonly artifacts: TermArtifacts;
  /** The step's own; a term that draws does so when it is evaluated. */
  readonly random: Random;
  /** Where the term's losses run; absent: the processor. */
  readonly device?: DevicePreference;
  /** Where gradients are to lie; absent: memory of their own. */
  readonly allocate?: GradientAllocator;
}

/** A gradient with respect to rows of the item table: all of them, or those that `ids` names. */
export interface RowGradient {
  /** Rows, strictly ascending; absent: all N. */
  readonly ids?: Uint32Array;
  /** [rows, d] */
  readonly data: Float32Array;
  /** [rows], where the network has an item bias. */
  readonly bias?: Float32Array;
}

/** A loss of the interests' values, with its gradients. */
export interface VectorLoss {
  readonly loss: number;
  /** [B, P, J, d] */
  readonly vectors: Float32Array;
  /** [B, P, J], where the network gives offsets. */
  readonly offsets?: Float32Array;
  readonly items?: RowGradient;
}

/** A loss of the item table alone. */
export interface ItemLoss {
  readonly loss: number;
  readonly gradient: RowContribution;
}

/**
 * One term of a training loss; a model's recipe lists its own, and the trainer adds them up. A term says what it is a
 * function of by the one method that it has:
 *
 * - `ofVectors`: of the interests' values. It brings its own gradients, so that a network which is a single operation
 *   trains without a tape.
 * - `ofOutput`: of all that the network gives and of its parameters, by tfjs on the tape.
 * - `ofItems`: of the item table alone.
 *
 * undefined: the term has nothing to say of this step.
 */
export interface Term<S = unknown> {
  /** Its name in the learning curve and, where it has settings, their key in the training configuration. */
  readonly name: string;
  readonly settings?: z.ZodType<S>;
  /** Factor in that epoch, counted from 1; 0 leaves the term out. Absent: 1. `config` is the whole configuration. */
  weight?(settings: S, epoch: number, config: Readonly<Record<string, unknown>>): number;
  ofVectors?(input: TermInput<S>, vectors: Float32Array, offsets: Float32Array | undefined): VectorLoss | undefined;
  ofOutput?(input: TermInput<S>, output: NetworkOutput, parameters: ParameterTensors): OutputLoss | undefined;
  ofItems?(input: TermInput<S>): ItemLoss | undefined;
}

/** A loss on tfjs's tape, without the term's weight. */
export interface OutputLoss {
  readonly value: tf.Scalar;
  /** The same, where it is known more exactly than fp32 holds it. */
  readonly loss?: number;
}
