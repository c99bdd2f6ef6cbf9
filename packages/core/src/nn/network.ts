import type { Matrix } from "../base/matrix.js";
import type { Alignment } from "./layers/alignment.js";
import type { FieldReader } from "./layers/event-fields.js";
import type { ParameterSet, ParameterSpec, ParameterTensors } from "./layers/parameters.js";
import type { SequenceBatch } from "./layers/sequence-batch.js";
import type { DropoutSource } from "./layers/transformer.js";
import type { UserReader } from "./layers/user-fields.js";
import type { tf } from "./tensor/tfjs.js";

/** Interests after every predicted position of a batch. */
export interface NetworkOutput {
  /** [B, P, J, d] */
  readonly vectors: tf.Tensor4D;
  /** [B, P, J] log prior, -Infinity where absent; none: every interest present, prior 0. */
  readonly offsets?: tf.Tensor3D;
  /** [B * P * J] 1 where the interest exists: the position is used and, for a cluster, some visible event is in it. */
  readonly present: Uint8Array;
  /** [B, P * J, T] weight of each event in each interest; absent: the network weighs no events. */
  readonly attention?: tf.Tensor3D;
  /** K: interests 0..K-1 are collaborative, interest K + m is semantic cluster m. */
  readonly collaborative: number;
  readonly alignment?: Alignment & { readonly collaborativeVectors: tf.Tensor4D };
}

/** What a network needs to differentiate a loss of its interests' values. */
export interface VectorPass {
  readonly parameters: ParameterSet;
  /** [N, d] */
  readonly items: Matrix;
  /** [B * T] of `items`, for each event; NO_ROW where padded. */
  readonly rows: Uint32Array;
  readonly batch: SequenceBatch;
  /** Turns the interests [B, P, J, d] into their gradient; called once. */
  readonly loss: (vectors: Float32Array) => Float32Array;
  /** Where arrays come from, the result's too; what they hold does not matter. */
  readonly allocate: (length: number) => Float32Array;
}

/** Gradients of a loss, by parameter name and with respect to the embedded rows, [B, T, d]. */
export interface VectorGradients {
  readonly parameters: ReadonlyMap<string, Float32Array>;
  readonly embedded: Float32Array;
}

/** A user encoder as training and serving share it: pure functions of parameters and embedded histories. */
export interface InterestNetwork extends FieldReader, UserReader {
  readonly name: string;
  readonly dim: number;
  readonly maxHistory: number;
  /** M read per user; 0: no semantic side. */
  readonly maxClusters: number;
  readonly readout: "max" | "log-sum-exp";
  readonly hasItemBias: boolean;
  specs(): ParameterSpec[];
  /** @param embedded [B, T, d] item rows, zero where padded; @param drop training only */
  forward(tensors: ParameterTensors, embedded: tf.Tensor3D, batch: SequenceBatch, drop?: DropoutSource): NetworkOutput;
  /** The gradients that `forward` has by tfjs's tape, of a network that is a single operation and so needs no tape. */
  differentiate?(pass: VectorPass): VectorGradients;
}
