import { expect, it } from "vitest";
import { DEFAULT_MODEL_NAME, MODEL_LIST } from "./names.js";
import { DEFAULT_MODEL, isNetwork, isScorer, MODELS } from "./registry.js";

it("the list of names is the registry's: node tools/generate-model-names.mjs writes it", () => {
  const registered = MODELS.map((model) => ({
    name: model.name,
    kind: model.kind,
    reads: isNetwork(model) ? [...(model.reads ?? [])] : [],
    baseline: isScorer(model) && model.baseline === true,
  }));
  expect(MODEL_LIST).toEqual(registered);
  expect(DEFAULT_MODEL_NAME).toBe(DEFAULT_MODEL);
});
