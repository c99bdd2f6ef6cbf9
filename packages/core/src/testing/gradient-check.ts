import { createRandom } from "../base/random.js";
import { tf } from "../nn/tensor/tfjs.js";

/** A random tensor of that shape: standard normal times `scale`. For tests only. */
export function randomTensor(shape: readonly number[], seed: string, scale = 1): tf.Tensor {
  const random = createRandom(seed, "test-tensor");
  const length = shape.reduce((product, extent) => product * extent, 1);
  return tf.tensor(
    Float32Array.from({ length }, () => random.normal() * scale),
    [...shape],
    "float32",
  );
}

/**
 * Largest disagreement between the gradient of `body` (contracted with fixed random weights) and central differences along
 * random directions, relative to the size of the derivative. Entries of the result that are not finite weigh nothing.
 * For tests only.
 */
export function gradientError(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: readonly tf.Tensor[]): number {
  const step = 1e-2;
  const sample = body(...inputs);
  const finite = Float32Array.from(sample.dataSync(), (value) => (Number.isFinite(value) ? 1 : 0));
  const weights = randomTensor(sample.shape, "weights").dataSync<"float32">();
  const contracted = weights.map((weight, i) => weight * finite[i]!);
  const value = (at: readonly tf.Tensor[]): number => {
    const out = body(...at).dataSync();
    let sum = 0;
    for (let i = 0; i < out.length; i++) if (finite[i] === 1) sum += out[i]! * contracted[i]!;
    return sum;
  };
  const dy = tf.tensor(contracted, sample.shape, "float32");
  const { grads } = tf.engine().gradients(() => body(...inputs), [...inputs], dy);
  let worst = 0;
  for (const [i, input] of inputs.entries()) {
    for (let trial = 0; trial < 3; trial++) {
      const direction = randomTensor(input.shape, `direction ${i} ${trial}`);
      const moved = (sign: number) =>
        inputs.map((tensor, j) => (j === i ? tf.add(tensor, tf.mul(direction, sign * step)) : tensor));
      // Fourth order, so that the step can be wide enough for 32-bit values.
      const near = value(moved(1)) - value(moved(-1));
      const far = value(moved(2)) - value(moved(-2));
      const numeric = (8 * near - far) / (12 * step);
      const along = direction.dataSync<"float32">();
      const analytic = grads[i]!.dataSync<"float32">().reduce((sum, g, n) => sum + g * along[n]!, 0);
      worst = Math.max(worst, Math.abs(numeric - analytic) / Math.max(1, Math.abs(numeric)));
    }
  }
  return worst;
}
