import { hashJson, PrismrecError } from "@prismrec/core/base";
import { parseKind } from "../kinds/prompts.js";
import { bySignatures } from "./by-signatures.js";
import { signaturesOfKinds } from "./kinds.js";

/** `kinds` as a model gave them before, from a file: the same groups with no model at hand. */
export const recordedKindsClusterer = bySignatures({
  name: "recorded-kinds",
  needs: "nothing",
  asksAbout: "items",
  description: "what a language model said of the items before, from the file of cluster.kinds; grouped as kinds are",
  async signatures(context) {
    const { catalog, recordedKinds } = context;
    const kinds = catalog.items.slice(1).map(({ id }) => parseKind(recordedKinds?.get(id) ?? ""));
    if (kinds.every((kind) => kind === "")) {
      throw new PrismrecError("CONFIG_INVALID", "the clusterer recorded-kinds knows nothing of these items", {
        expected: `kinds of items such as ${JSON.stringify(catalog.items[1]?.id ?? "")}`,
        received: recordedKinds === undefined ? "no file" : `kinds of ${recordedKinds.size} others`,
        hint: "name the file with the columns id and kind as cluster.kinds, or read the catalog with --clusterer kinds",
      });
    }
    const made = await signaturesOfKinds(catalog, kinds, context);
    return { ...made, fingerprint: hashJson(["recorded-kinds", made.fingerprint]) };
  },
});
