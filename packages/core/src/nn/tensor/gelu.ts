import { hasKernel } from "./has-kernel.js";
import { tf } from "./tfjs.js";

const FORWARD = "PrismrecGelu";
const BACKWARD = "PrismrecGeluGrad";

/**
 * Gaussian error linear unit in its exact form (Hendrycks and Gimpel 2016): `x * Phi(x)`, Phi the standard normal
 * distribution function. Differentiable once.
 */
export function gelu<T extends tf.Tensor>(x: T): T {
  if (hasKernel(FORWARD)) return tf.engine().runKernel<T>(FORWARD, { x });
  return tf.tidy(() => tf.mul<T>(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.mul(x, Math.SQRT1_2)))));
}

tf.registerGradient({
  kernelName: FORWARD,
  inputsToSave: ["x"],
  gradFunc: (dy, saved) => {
    const upstream = Array.isArray(dy) ? dy[0] : dy;
    return { x: () => tf.engine().runKernel<tf.Tensor>(BACKWARD, { x: saved[0]!, dy: upstream! }) };
  },
});
