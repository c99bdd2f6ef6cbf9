import { type Term, tf } from "@prismrec/core/nn";
import { z } from "zod";

const settings = z.strictObject({
  weight: z.number().min(0).default(1e-3).describe("factor on the sum of the squared parameters"),
});

/** The squared length of a network's parameters: a loss of what `ofOutput` is given beside the output. */
export const shrinkageTerm: Term<z.infer<typeof settings>> = {
  name: "shrinkage",
  settings: settings.prefault({}),
  weight: ({ weight }) => weight,
  ofOutput(_input, _output, parameters) {
    const squares = Object.values(parameters).map((values) => tf.sum(tf.square(values)));
    return { value: squares.reduce((sum, one) => tf.add(sum, one)) as tf.Scalar };
  },
};
