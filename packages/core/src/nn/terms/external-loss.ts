import { tensorOf, valuesInPlace } from "../tensor/in-place.js";
import { tf } from "../tensor/tfjs.js";

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
