import type { Matrix } from "@prismrec/core/base";
import {
  type DropoutSource,
  eventRows,
  gatherEmbedded,
  type InterestNetwork,
  type NetworkOutput,
  type ParameterSet,
  type SequenceBatch,
  tensorOf,
  tf,
  valuesInPlace,
  withScope,
} from "@prismrec/core/nn";
import type { GradientAllocator, RowContribution } from "@prismrec/core/ops";
import type { StepBuffers } from "../training/step-buffers.js";

/** A loss with its gradients on values that the network made, computed outside of tfjs. */
export interface ExternalLoss {
  readonly loss: number;
  /** One array per tensor handed to `externalLoss`, as long as it. */
  readonly gradients: readonly Float32Array[];
}

/**
 * Puts a loss that brings its own gradients on tfjs's tape.
 *
 * @param compute reads the tensors' values; called once, in the forward pass
 * @returns a scalar
 */
export function externalLoss(
  tensors: readonly tf.Tensor[],
  compute: (values: readonly Float32Array[]) => ExternalLoss,
): tf.Scalar {
  const op = tf.customGrad((...inputs) => {
    const given = inputs.filter((input): input is tf.Tensor => input instanceof tf.Tensor);
    const { loss, gradients } = compute(given.map(valuesInPlace));
    const gradFunc = (dy: tf.Tensor): tf.Tensor[] => {
      const factor = dy.dataSync()[0]!;
      return gradients.map((gradient, i) => {
        const scaled = factor === 1 ? gradient : gradient.map((value) => value * factor);
        return tensorOf(scaled, tensors[i]!.shape);
      });
    };
    return { value: tf.scalar(loss), gradFunc };
  });
  return op(...tensors) as tf.Scalar;
}

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
  loss: (output: NetworkOutput, embedded: tf.Tensor3D) => tf.Scalar,
): NetworkGradients {
  return withScope(() => {
    const tensors = parameters.tensors();
    const names = Object.keys(tensors);
    const rows = eventRows(batch);
    const embedded = gatherEmbedded(batch, items, rows);
    const { value, grads } = tf
      .engine()
      .gradients(
        () => loss(network.forward(tensors, embedded, batch, drop), embedded),
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

/**
 * `differentiate` for a loss that reads the interests' values and brings its own gradient: without tfjs's tape where the
 * network needs none.
 *
 * @param loss of the interests [B, P, J, d]; `allocate` is where the loss's gradients are to lie
 */
export function differentiateVectors(
  network: InterestNetwork,
  parameters: ParameterSet,
  items: Matrix,
  batch: SequenceBatch,
  buffers: StepBuffers | undefined,
  loss: (
    vectors: Float32Array,
    allocate: GradientAllocator | undefined,
  ) => { readonly loss: number; readonly gradient: Float32Array },
): NetworkGradients {
  if (network.differentiate === undefined) {
    return differentiate(network, parameters, items, batch, undefined, buffers, ({ vectors }) =>
      externalLoss([vectors], ([values]) => {
        const { loss: value, gradient } = loss(values!, buffers?.tapeGradients);
        return { loss: value, gradients: [gradient] };
      }),
    );
  }
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
