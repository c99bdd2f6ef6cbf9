import { tf } from "./tfjs.js";

/**
 * Gaussian error linear unit in its exact form (Hendrycks and Gimpel 2016): `x * Phi(x)`, Phi the standard normal
 * distribution function. Differentiable once.
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  return tf.tidy(() => tf.mul<T>(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))));
}
