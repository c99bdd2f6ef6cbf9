import { z } from "zod";
import { PrismrecError } from "../../base/errors.js";
import { visibleEvents } from "../layers/sequence-batch.js";
import { tf } from "../tensor/tfjs.js";
import type { Term } from "./term.js";

const settings = z.strictObject({
  weight: z
    .number()
    .min(0)
    .default(10)
    .describe("of the penalty on interests that attend to one event alone; 0 switches it off"),
});

/**
 * Routing regularisation (Xie et al. 2023, equations 8 to 10): with `s_bk = sum_t (a_bkt - mean_t a_bk)^2` over the events
 * that user b has, the mean over users and interests of `s_bk^2`. The released code sums over the batch and divides each
 * s by d: its weight of 100, a batch of 128, K = 4 and d = 64 are a weight of 12.5 here.
 */
export const routingVarianceTerm: Term<z.infer<typeof settings>> = {
  name: "routing",
  settings: settings.prefault({}),
  weight: ({ weight }) => weight,
  ofOutput({ batch }, { attention }) {
    if (attention === undefined || batch.positionCount !== 1) {
      throw new PrismrecError(
        "CONFIG_INVALID",
        "the routing term needs a network that weighs events, and one cut a user",
        {
          expected: "attention [B, K, T]",
          received: attention === undefined ? "no attention" : `${batch.positionCount} positions a user`,
        },
      );
    }
    const { size, length, lengths } = batch;
    const visible = tf.tensor3d(visibleEvents(batch), [size, 1, length]);
    const means = Float32Array.from(lengths, (events) => 1 / Math.max(1, events));
    const away = tf.mul(tf.sub(attention, tf.tensor3d(means, [size, 1, 1])), visible);
    const variances = tf.sum(tf.square(away), -1);
    return { value: tf.mean(tf.square(variances)) as tf.Scalar };
  },
};
