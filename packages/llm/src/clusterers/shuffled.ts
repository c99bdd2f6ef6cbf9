import { ShuffledClusterer } from "@prismrec/core/interests";
import { categoryClusterer } from "./category.js";
import type { ClustererDefinition } from "./definition.js";
import { facetsClusterer } from "./facets.js";

/** The negative control: another clusterer's cluster sizes with the members permuted inside each history. */
export const shuffledClusterer: ClustererDefinition = {
  name: "shuffled",
  needs: "nothing",
  asksAbout: "items",
  description: "control: the same cluster sizes as facets (or category), members permuted inside each history",
  async create(context) {
    const { seed = 1, inner, model } = context;
    if (inner !== undefined) {
      return { clusterer: new ShuffledClusterer(inner, seed), report: { name: "shuffled" } };
    }
    const { clusterer, report } = await (model === undefined ? categoryClusterer : facetsClusterer).create(context);
    return { clusterer: new ShuffledClusterer(clusterer, seed), report: { ...report, name: "shuffled" } };
  },
};
