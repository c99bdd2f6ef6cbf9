import { tf } from "../../tensor/tfjs.js";

/**
 * [B, T, d] -> [B, heads, T, d / heads]. A plain block copy and its inverse as gradient: a general transpose is the
 * slowest op of tfjs's CPU backend.
 */
export function splitHeads(x: tf.Tensor3D, heads: number): tf.Tensor4D {
  const [batch, length, dim] = x.shape;
  const op = tf.customGrad((input) => ({
    value: moveHeads(input as tf.Tensor, batch, length, heads, dim / heads, true),
    gradFunc: (dy: tf.Tensor) => moveHeads(dy, batch, length, heads, dim / heads, false),
  }));
  return op(x) as tf.Tensor4D;
}

/** [B, heads, T, width] -> [B, T, heads * width], the inverse of `splitHeads`. */
export function mergeHeads(x: tf.Tensor4D): tf.Tensor3D {
  const [batch, heads, length, width] = x.shape;
  const op = tf.customGrad((input) => ({
    value: moveHeads(input as tf.Tensor, batch, length, heads, width, false),
    gradFunc: (dy: tf.Tensor) => moveHeads(dy, batch, length, heads, width, true),
  }));
  return op(x) as tf.Tensor3D;
}

function moveHeads(
  x: tf.Tensor,
  batch: number,
  length: number,
  heads: number,
  width: number,
  split: boolean,
): tf.Tensor {
  const from = x.dataSync<"float32">();
  const to = new Float32Array(from.length);
  for (let b = 0; b < batch; b++) {
    for (let t = 0; t < length; t++) {
      for (let h = 0; h < heads; h++) {
        const merged = ((b * length + t) * heads + h) * width;
        const apart = ((b * heads + h) * length + t) * width;
        if (split) for (let j = 0; j < width; j++) to[apart + j] = from[merged + j]!;
        else for (let j = 0; j < width; j++) to[merged + j] = from[apart + j]!;
      }
    }
  }
  return tf.tensor(to, split ? [batch, heads, length, width] : [batch, length, heads * width], "float32");
}
