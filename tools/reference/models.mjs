import { isNetwork, MODELS } from "@prismrec/core/models";

/** docs/reference/models.md: every model of the registry. */
export function modelsPage() {
  const rows = MODELS.map((model) => {
    const how = isNetwork(model) ? `trained, ${model.recipe.batches}` : "fitted";
    const terms = isNetwork(model) ? model.recipe.terms.map(({ name }) => `\`${name}\``).join(", ") : "";
    return `| \`${model.name}\` | ${model.paper} | ${model.about ?? ""} | ${how} | ${terms} |`;
  });
  return [
    "# Models",
    "",
    "Generated from the registry by `node tools/generate-docs.mjs`. A trained model's batches are random `positions` of every sequence that predict the",
    "items after them, or one random cut (`cuts`) of every sequence and the item after it, among candidates that a batch shares. Its loss is the sum of",
    "its terms. [training.md](training.md) lists the settings of each.",
    "",
    "| model | paper | what is particular | how it learns | terms |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}
