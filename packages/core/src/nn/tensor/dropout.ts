import { PrismrecError } from "../../base/errors.js";
import { hasKernel } from "./has-kernel.js";
import { tf } from "./tfjs.js";

const KERNEL = "PrismrecDropout";

/**
 * Inverted dropout: each entry is kept with probability `1 - rate` and scaled by `1 / (1 - rate)`. Which entries stay
 * is a function of `seed` and the entry's flat index alone, so that a step can be repeated bit for bit; give every
 * call of a step its own seed. Differentiable once.
 *
 * @param rate in [0, 1); 0 returns the values unchanged
 * @param seed an integer in [0, 2^32)
 * @throws PrismrecError INVALID_ARGUMENT for a rate or seed out of range
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: number): T {
  if (!(rate >= 0 && rate < 1)) {
    throw new PrismrecError("INVALID_ARGUMENT", "dropout rate out of range", {
      expected: "0 <= rate < 1",
      received: String(rate),
      hint: "Pass 0 to switch dropout off.",
    });
  }
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 32) {
    throw new PrismrecError("INVALID_ARGUMENT", "dropout seed out of range", {
      expected: "an integer in [0, 2^32)",
      received: String(seed),
      hint: "Draw it with Random.integer(0, 2 ** 32).",
    });
  }
  if (rate === 0) return tf.clone(x);
  if (hasKernel(KERNEL)) {
    const attrs = { key: dropoutKey(seed), threshold: dropThreshold(rate), scale: keepScale(rate) };
    return tf.engine().runKernel<T>(KERNEL, { x }, attrs);
  }
  return tf.tidy(() => {
    const mask = tf.tensor(dropoutMask(x.size, rate, seed), x.shape, "float32");
    return tf.mul<T>(x, mask);
  });
}

/** Entry i is 0 where dropped, else 1 / (1 - rate). */
export function dropoutMask(length: number, rate: number, seed: number): Float32Array {
  const mask = new Float32Array(length);
  const threshold = dropThreshold(rate);
  const scale = keepScale(rate);
  const key = dropoutKey(seed);
  for (let i = 0; i < length; i++) {
    if (mix32(mix32(i) ^ key) >>> 0 >= threshold) mask[i] = scale;
  }
  return mask;
}

// The gradient drops the same entries: no mask is stored.
tf.registerGradient({
  kernelName: KERNEL,
  gradFunc: (dy, _saved, attrs) => {
    const upstream = Array.isArray(dy) ? dy[0] : dy;
    return { x: () => tf.engine().runKernel<tf.Tensor>(KERNEL, { x: upstream! }, attrs) };
  },
});

/** The seed, spread over all bits. */
function dropoutKey(seed: number): number {
  return mix32(seed ^ 0x9e3779b9) >>> 0;
}

/** An entry is dropped when its 32-bit hash is below this. */
function dropThreshold(rate: number): number {
  return Math.round(rate * 2 ** 32);
}

function keepScale(rate: number): number {
  return Math.fround(1 / (1 - rate));
}

// A bijective avalanche hash of 32 bits (two xor-shift-multiply rounds): enough to choose entries, and the same
// arithmetic in JavaScript and C++.
function mix32(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}
