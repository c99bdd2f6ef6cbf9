import { axesOf, sizeOf } from "./geometry.js";
import { tf } from "./tfjs.js";

function single(tensor: tf.Tensor | tf.Tensor[]): tf.Tensor {
  return Array.isArray(tensor) ? tensor[0]! : tensor;
}

/** The gradient of a reduction spread back over what was reduced. */
function spread(dy: tf.Tensor, shape: number[], axis: unknown): tf.Tensor {
  const axes = axesOf(axisNumbers(axis), shape.length);
  const kept = shape.map((size, d) => (axes.includes(d) ? 1 : size));
  return tf.broadcastTo(tf.reshape(dy, kept), shape);
}

function axisNumbers(axis: unknown): number | number[] | undefined {
  if (typeof axis === "number") return axis;
  return Array.isArray(axis) ? axis.map(Number) : undefined;
}

/**
 * Replaces the gradients that tfjs composes around arrays it fills in JavaScript: those of Sum and Mean multiply by a
 * tensor of ones as large as the input. The registry of gradients is one for all backends, and these hold on each.
 */
export function registerGradients(): void {
  for (const kernelName of ["Sum", "Mean"]) tf.unregisterGradient(kernelName);
  tf.registerGradient({
    kernelName: "Sum",
    inputsToSave: ["x"],
    gradFunc: (dy, [x], { axis }) => ({ x: () => spread(single(dy), x!.shape, axis) }),
  });
  tf.registerGradient({
    kernelName: "Mean",
    inputsToSave: ["x"],
    gradFunc: (dy, [x], { axis }) => ({
      x: () => {
        const axes = axesOf(axisNumbers(axis), x!.shape.length);
        const count = sizeOf(axes.map((d) => x!.shape[d]!));
        return spread(tf.div(single(dy), count), x!.shape, axis);
      },
    }),
  });
}
