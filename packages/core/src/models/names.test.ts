import { expect, it } from "vitest";
import { DEFAULT_MODEL_NAME, MODEL_LIST } from "./names.js";
import { DEFAULT_MODEL, MODELS, modelSummary } from "./registry.js";

it("the list of names is the registry's: node tools/generate-model-names.mjs writes it", () => {
  expect(MODEL_LIST).toEqual(MODELS.map(modelSummary));
  expect(DEFAULT_MODEL_NAME).toBe(DEFAULT_MODEL);
});
