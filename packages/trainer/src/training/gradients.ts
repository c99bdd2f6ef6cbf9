import type { Matrix } from "@prismrec/core/base";
import {
  type DropoutSource,
  eventRows,
  gatherEmbedded,
  type InterestNetwork,
  type NetworkOutput,
  type ParameterSet,
  type ParameterTensors,
  type SequenceBatch,
  tf,
  valuesInPlace,
  withScope,
} from "@prismrec/core/nn";
import type { GradientAllocator, RowContribution } from "@prismrec/core/ops";
import type { StepBuffers } from "./step-buffers.js";

export interface NetworkGradients {
  readonly loss: number;
  /** By parameter name; parameters the batch did not reach are absent. */
  readonly network: ReadonlyMap<string, Float32Array>;
  /** With respect to the item rows of the batch's events. */
  readonly embedded: RowContribution;
}

/**
 * One forward and backward pass: gathers the item rows of the batch, runs the network, lets `loss` turn its output into
 * a scalar, and differentiates with respect to the parameters and those rows.
 *
 * @param buffers where the gradients lie until they are released; absent: memory of their own
 */
export function differentiate(
  network: InterestNetwork,
  parameters: ParameterSet,
  items: Matrix,
  batch: SequenceBatch,
  drop: DropoutSource | undefined,
  buffers: StepBuffers | undefined,
  loss: (output: NetworkOutput, parameters: ParameterTensors) => tf.Scalar,
): NetworkGradients {
  return withScope(() => {
    const tensors = parameters.tensors();
    const names = Object.keys(tensors);
    const rows = eventRows(batch);
    const embedded = gatherEmbedded(batch, items, rows);
    const { value, grads } = tf
      .engine()
      .gradients(
        () => loss(network.forward(tensors, embedded, batch, drop), tensors),
        [embedded, ...Object.values(tensors)],
        undefined,
        true,
      );
    const valuesOf = (gradient: tf.Tensor) => buffers?.hold(gradient) ?? valuesInPlace(gradient).slice();
    const reached = new Map<string, Float32Array>();
    for (const [i, name] of names.entries()) {
      const gradient = grads[i + 1];
      if (gradient != null) reached.set(name, valuesOf(gradient));
    }
    return {
      loss: value.dataSync()[0]!,
      network: reached,
      embedded: { ids: rows, data: valuesOf(grads[0]!) },
    };
  });
}

/** A network that is a single operation and so needs no tape. */
export type TapelessNetwork = InterestNetwork & Required<Pick<InterestNetwork, "differentiate">>;

export function needsNoTape(network: InterestNetwork): network is TapelessNetwork {
  return network.differentiate !== undefined;
}

/**
 * `differentiate` for a loss that reads the interests' values and brings its own gradient, of a network that needs no
 * tape.
 *
 * @param loss of the interests [B, P, J, d]; `allocate` is where the loss's gradients are to lie
 */
export function differentiateVectors(
  network: TapelessNetwork,
  parameters: ParameterSet,
  items: Matrix,
  batch: SequenceBatch,
  buffers: StepBuffers | undefined,
  loss: (
    vectors: Float32Array,
    allocate: GradientAllocator | undefined,
  ) => { readonly loss: number; readonly gradient: Float32Array },
): NetworkGradients {
  const allocate = buffers?.allocate ?? ((length: number) => new Float32Array(length));
  const rows = eventRows(batch);
  let value = 0;
  const gradients = network.differentiate({
    parameters,
    items,
    rows,
    batch,
    loss: (vectors) => {
      const { loss: found, gradient } = loss(vectors, buffers?.gradients);
      value = found;
      return gradient;
    },
    allocate,
  });
  return { loss: value, network: gradients.parameters, embedded: { ids: rows, data: gradients.embedded } };
}
