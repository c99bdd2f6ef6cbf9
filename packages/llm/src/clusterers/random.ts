import { RandomClusterer } from "@prismrec/core/interests";
import type { ClustererDefinition } from "./definition.js";

/** The floor of the controls: groups drawn at random, of random number and size. */
export const randomClusterer: ClustererDefinition = {
  name: "random",
  needs: "nothing",
  description: "control: groups drawn at random",
  async create({ seed = 1 }) {
    return { clusterer: new RandomClusterer(seed), report: { name: "random" } };
  },
};
