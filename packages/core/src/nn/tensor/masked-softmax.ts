import { hasKernel } from "./has-kernel.js";
import { tf } from "./tfjs.js";

const FORWARD = "PrismrecMaskedSoftmax";
const BACKWARD = "PrismrecSoftmaxGrad";

/**
 * Softmax over the last axis that sees only the entries where `mask` is non-zero; the others get exactly 0. A row with
 * nothing to attend to is all zeros, with zero gradient, never NaN.
 *
 * @param logits [..., n]
 * @param mask broadcasts to the shape of `logits`; bool, int32 or float32; no gradient
 */
export function maskedSoftmax<T extends tf.Tensor>(logits: T, mask: tf.Tensor): T {
  // A mask that is one value for a whole row is rare enough to be spread out here.
  const columns = mask.shape.at(-1) === logits.shape.at(-1);
  if (columns && hasKernel(FORWARD)) return tf.engine().runKernel<T>(FORWARD, { x: logits, mask });
  const composed = tf.customGrad((x) => {
    if (!(x instanceof tf.Tensor)) throw new TypeError("maskedSoftmax takes one tensor");
    const value = tf.tidy(() => {
      const seen = tf.broadcastTo(tf.cast(mask, "bool"), x.shape);
      const masked = tf.where(seen, x, tf.fill(x.shape, -3e38));
      const exponentials = tf.where(seen, tf.exp(tf.sub(masked, tf.max(masked, -1, true))), tf.zerosLike(x));
      return tf.divNoNan(exponentials, tf.sum(exponentials, -1, true));
    });
    return {
      value,
      gradFunc: (dy: tf.Tensor) => tf.tidy(() => tf.mul(value, tf.sub(dy, tf.sum(tf.mul(dy, value), -1, true)))),
    };
  });
  return composed(logits) as T;
}

tf.registerGradient({
  kernelName: FORWARD,
  inputsToSave: ["mask"],
  outputsToSave: [true],
  gradFunc: (dy, saved) => {
    const [mask, y] = saved;
    const upstream = Array.isArray(dy) ? dy[0] : dy;
    return {
      x: () => tf.engine().runKernel<tf.Tensor>(BACKWARD, { y: y!, dy: upstream! }),
      mask: () => tf.zeros(mask!.shape),
    };
  },
});
