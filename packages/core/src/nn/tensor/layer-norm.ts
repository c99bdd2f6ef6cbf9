import { hasKernel } from "./has-kernel.js";
import { tf } from "./tfjs.js";

const FORWARD = "PrismrecLayerNorm";
const BACKWARD = "PrismrecLayerNormGrad";

/**
 * Layer normalisation over the last axis (Ba, Kiros and Hinton 2016):
 * `gamma * (x - mean) / sqrt(variance + epsilon) + beta`, variance without Bessel's correction.
 *
 * @param x [..., d]
 * @param gamma [d] scale
 * @param beta [d] shift
 * @returns the shape of `x`; differentiable once in all three.
 */
export function layerNorm<T extends tf.Tensor>(x: T, gamma: tf.Tensor, beta: tf.Tensor, epsilon = 1e-5): T {
  if (hasKernel(FORWARD)) {
    const [y, mean, rstd] = tf.engine().runKernel<tf.Tensor[]>(FORWARD, { x, gamma, beta }, { epsilon });
    mean!.dispose();
    rstd!.dispose();
    return y as T;
  }
  return tf.tidy(() => {
    const { mean, variance } = tf.moments(x, -1, true);
    const normalised = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon)));
    return tf.add<T>(tf.mul(normalised, gamma), beta);
  });
}

tf.registerGradient({
  kernelName: FORWARD,
  inputsToSave: ["x", "gamma"],
  outputsToSave: [false, true, true],
  gradFunc: (dy, saved) => {
    const [x, gamma, mean, rstd] = saved;
    const upstream = Array.isArray(dy) ? dy[0] : dy;
    const inputs = { x: x!, gamma: gamma!, mean: mean!, rstd: rstd!, dy: upstream! };
    const [dx, dgamma, dbeta] = tf.engine().runKernel<tf.Tensor[]>(BACKWARD, inputs);
    return { x: () => dx!, gamma: () => dgamma!, beta: () => dbeta! };
  },
});
