import { userVocabulary } from "@prismrec/core/data";
import {
  bestInterestTerm,
  everyInterest,
  gaussian,
  identity,
  linear,
  linearSpecs,
  parameter,
  tf,
} from "@prismrec/core/nn";
import { z } from "zod";

const schema = z.strictObject({
  model: z.literal("profile-pool").default("profile-pool"),
  dim: z.int().min(2).default(16).describe("d"),
  maxHistory: z.int().min(1).default(50).describe("T, most recent events read"),
  profile: z.boolean().default(true).describe("whether the users' country and age are read"),
  countries: z.array(z.string()).default([""]).describe("the countries told apart; the first stands for all others"),
});

/**
 * The mean of the history, a vector of the user's country, and one that the user's age scales. In JavaScript, so that a
 * process of its own can import it as it stands.
 */
class ProfilePoolNetwork {
  name = "profile-pool";
  /** @type {"max"} */
  readout = "max";
  hasItemBias = false;
  maxClusters = 0;

  /** @param {z.infer<typeof schema>} config */
  constructor({ dim, maxHistory, profile, countries }) {
    this.dim = dim;
    this.maxHistory = maxHistory;
    this.countries = countries;
    /** @type {import("@prismrec/core/nn").UserField[]} */
    this.userFields = profile
      ? [
          { kind: "category", name: "country", vocabulary: countries },
          { kind: "number", name: "age" },
        ]
      : [];
  }

  specs() {
    const { dim, countries, userFields } = this;
    const map = linearSpecs("map", dim, dim, { weight: identity, bias: false });
    if (userFields.length === 0) return map;
    return [
      ...map,
      { name: "country", shape: [countries.length, dim], init: gaussian(0.1) },
      { name: "age", shape: [1, dim], init: gaussian(0.1) },
    ];
  }

  /**
   * @param {import("@prismrec/core/nn").ParameterTensors} tensors
   * @param {import("@prismrec/core/nn").tf.Tensor3D} embedded
   * @param {import("@prismrec/core/nn").SequenceBatch} batch
   */
  forward(tensors, embedded, batch) {
    const { size, length, lengths } = batch;
    const weights = new Float32Array(size * length);
    for (let b = 0; b < size; b++) weights.fill(1 / lengths[b], b * length, b * length + lengths[b]);
    const attention = tf.tensor3d(weights, [size, 1, length]);
    const pooled = tf.reshape(linear(tensors, "map", tf.matMul(attention, embedded)), [size, this.dim]);
    return {
      vectors: /** @type {tf.Tensor4D} */ (
        tf.reshape(this.#withProfile(pooled, tensors, batch), [size, 1, 1, this.dim])
      ),
      present: everyInterest(batch, 1),
      attention,
      collaborative: 1,
    };
  }

  #withProfile(pooled, tensors, batch) {
    const { size, userFields } = batch;
    if (userFields === undefined) return pooled;
    const count = this.countries.length;
    const countries = new Float32Array(size * count);
    userFields.categories.get("country").forEach((code, b) => {
      countries[b * count + code] = 1;
    });
    // An age that is not known says nothing.
    const ages = Float32Array.from(userFields.numbers.get("age"), (age) => (Number.isNaN(age) ? 0 : (age - 40) / 20));
    const ofCountry = tf.matMul(tf.tensor2d(countries, [size, count]), parameter(tensors, "country"));
    return tf.addN([pooled, ofCountry, tf.matMul(tf.tensor2d(ages, [size, 1]), parameter(tensors, "age"))]);
  }
}

/** @type {import("@prismrec/core/models").NetworkDefinition<z.infer<typeof schema>>} */
export const profilePool = {
  kind: "network",
  name: "profile-pool",
  paper: "a toy: the mean of the history beside what the users' profiles say",
  config: schema,
  fromData: (dataset) => ({ countries: userVocabulary(dataset, "country") }),
  create: (config) => new ProfilePoolNetwork(config),
  recipe: {
    batches: "cuts",
    terms: [bestInterestTerm],
    presets: [{ name: "profile-pool", settings: { optimizer: { learningRate: 0.02 } } }],
  },
};
