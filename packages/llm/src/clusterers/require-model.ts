import { PrismrecError } from "@prismrec/core/base";
import { CachedModel } from "../cache/cached-model.js";
import type { ClustererContext } from "./definition.js";

export function requireModel(name: string, context: ClustererContext): CachedModel {
  if (context.model === undefined) {
    throw new PrismrecError("MODEL_UNSUPPORTED", `the clusterer ${name} needs a language model`, {
      expected: "a GGUF file",
      hint: "give one with --llm FILE, or choose --clusterer category",
    });
  }
  return new CachedModel(context.model, context.cache, context.budget);
}
