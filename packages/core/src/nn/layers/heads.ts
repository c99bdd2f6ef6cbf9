import { PrismrecError } from "../../base/errors.js";
import { tf } from "../tensor/tfjs.js";

interface Heads {
  readonly dim: number;
  readonly heads: number;
}

export const headsDivideDim = ({ dim, heads }: Heads): boolean => dim % heads === 0;

/** What a schema says where they do not. */
export const HEADS_FAULT = {
  path: ["heads"],
  message: "heads must divide dim: what is left over would be channels that no head reads",
};

/** Throws CONFIG_INVALID unless every channel belongs to a head: reshaping would leave the rest zero, in silence. */
export function checkHeads({ dim, heads }: Heads): void {
  if (headsDivideDim({ dim, heads })) return;
  throw new PrismrecError("CONFIG_INVALID", "the attention heads must divide the dimension", {
    expected: `heads that divide ${dim}`,
    received: `${heads} heads`,
    hint: "Change network.heads or network.dim.",
  });
}

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
