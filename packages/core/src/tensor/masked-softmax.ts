import { tf } from "./tfjs.js";

/**
 * Softmax over the last axis that sees only the entries where `mask` is non-zero; the others get exactly 0. A row with
 * nothing to attend to is all zeros, with zero gradient, never NaN.
 *
 * @param logits [..., n]
 * @param mask broadcasts to the shape of `logits`; bool, int32 or float32; no gradient
 */
export function maskedSoftmax<T extends tf.Tensor>(logits: T, mask: tf.Tensor): T {
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
