import { z } from "zod";
import { parameter } from "../layers/parameters.js";
import { tf } from "../tensor/tfjs.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  weight: z.number().min(0).default(0.1).describe("lambda of the penalty; 0 switches it off"),
});

/**
 * A penalty on the rows of a parameter [L, d] that keeps them from being alike (Tan et al. 2021, equation 12):
 * `(||M||_F^2 - ||diag M||^2) / 2` with `M = (C - mean_d C)(C - mean_d C)^T / d`.
 *
 * @param of the parameter's name
 */
export function covariancePenalty(of: string): Term<z.infer<typeof settings>> {
  return {
    name: "penalty",
    settings: settings.prefault({}),
    weight: ({ weight }) => weight,
    ofOutput(_input, _output, parameters) {
      const rows = parameter(parameters, of) as tf.Tensor2D;
      const centred = tf.sub(rows, tf.mean(rows, 1, true)) as tf.Tensor2D;
      const covariance = tf.div(tf.matMul(centred, centred, false, true), rows.shape[1]);
      const own = tf.div(tf.sum(tf.square(centred), 1), rows.shape[1]);
      const value = tf.mul(tf.sub(tf.sum(tf.square(covariance)), tf.sum(tf.square(own))), 0.5);
      return { value: value as tf.Scalar };
    },
  };
}
