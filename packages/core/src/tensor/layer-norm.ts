import { tf } from "./tfjs.js";

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
  return tf.tidy(() => {
    const { mean, variance } = tf.moments(x, -1, true);
    const normalised = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, epsilon)));
    return tf.add<T>(tf.mul(normalised, gamma), beta);
  });
}
