import { PrismrecError } from "@prismrec/core/base";
import { CachedModel } from "../cache/cached-model.js";
import type { Capability } from "../model/language-model.js";
import type { ClustererContext } from "./definition.js";

const SAID: Readonly<Record<Capability, string>> = {
  text: "writes texts",
  grammar: "holds texts to a grammar",
  jsonSchema: "holds texts to a JSON schema",
  scoreWords: "gives log-probabilities of given words",
  embeddings: "gives vectors of texts",
  batching: "answers several requests at once",
};

/**
 * The context's model with its cache and budget, where it has what `requires` names.
 *
 * @throws PrismrecError MODEL_UNSUPPORTED where there is no model, or one whose engine lacks something
 */
export function requireModel(
  name: string,
  context: Pick<ClustererContext, "model" | "cache" | "budget">,
  requires: readonly Capability[] = [],
): CachedModel {
  const { model } = context;
  if (model === undefined) {
    throw new PrismrecError("MODEL_UNSUPPORTED", `the clusterer ${name} needs a language model`, {
      expected: "a GGUF file, or a server that speaks OpenAI's interface",
      hint: "give one with --llm, or choose --clusterer category",
    });
  }
  const missing = requires.filter((capability) => !model.capabilities[capability]);
  if (missing.length > 0) {
    throw new PrismrecError("MODEL_UNSUPPORTED", `the clusterer ${name} cannot use ${model.name}`, {
      expected: `a model that ${missing.map((capability) => SAID[capability]).join(" and ")}`,
      received: "one that does not",
      hint:
        missing.includes("scoreWords") && model.capabilities.text
          ? "use --clusterer kinds, which only has it write, or a GGUF file with --llm"
          : "choose another --clusterer, or another model with --llm",
    });
  }
  return new CachedModel(model, context.cache, context.budget);
}
