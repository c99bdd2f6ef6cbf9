import { tf } from "../../tensor/tfjs.js";

/** [B, T, d] -> [B, heads, T, d / heads]. */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [batch, length, dim] = x.shape;
  return tf.transpose(tf.reshape(x, [batch, length, heads, dim / heads]), [0, 2, 1, 3]);
}

/** [B, heads, T, width] -> [B, T, heads * width], the inverse of `splitHeads`. */
export function mergeHeads(x: tf.Tensor4D): tf.Tensor3D {
  const [batch, heads, length, width] = x.shape;
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [batch, length, heads * width]);
}
