// Writes packages/core/src/models/names.ts from the registry (built before): what help and configuration say of models
// without loading one.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_MODEL, MODELS, modelSummary } from "@prismrec/core/models";
import { root, run } from "./lib/run.mjs";

const lines = MODELS.map((model) => `  ${JSON.stringify(modelSummary(model))},`);
const text = `// Written by tools/generate-model-names.mjs from the registry: names without the weight of models.

/** What can be said of a model without loading it. */
export interface ModelSummary {
  readonly name: string;
  readonly kind: "network" | "scorer";
  /** What it learns from beside the events. */
  readonly reads: readonly ("clusters" | "crowd")[];
  /** Whether runs are held against it where they name no others. */
  readonly baseline: boolean;
  /** Whether validation may add it to a network where the settings leave the prior to it. */
  readonly prior: boolean;
}

/** Every model of the registry, in its order. */
export const MODEL_LIST: readonly ModelSummary[] = [
${lines.join("\n")}
];

/** The model that a run is about unless it says otherwise. */
export const DEFAULT_MODEL_NAME = ${JSON.stringify(DEFAULT_MODEL)};
`;
const file = join(root, "packages/core/src/models/names.ts");
await writeFile(file, text);
await run("npx", ["biome", "check", "--write", file]);
