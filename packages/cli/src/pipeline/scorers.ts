import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, writeJsonAtomic } from "@prismrec/core/base";
import {
  type Fitted,
  isScorer,
  type Model,
  modelNamed,
  type ScorerDefinition,
  type SettingsRecord,
} from "@prismrec/core/models";
import { writeSafetensors } from "@prismrec/core/nn";
import { cutoffsWithin, evaluate } from "@prismrec/trainer";
import { z } from "zod";
import type { ModelCode } from "./models.js";
import { readDocument } from "./read-document.js";
import { readTensors } from "./tensors.js";

const FACTS = "model.json";
const ARRAYS = "model.safetensors";

const recordSchema = z.record(z.string(), z.unknown());
const fittedSchema = z.object({ settings: recordSchema, facts: recordSchema });
const configSchema = z.object({ settings: recordSchema, metric: z.string().optional() });

/** A model that is fitted at once: its arrays, and the facts of the fit beside them. */
export function scorer(name: string): ModelCode {
  const definition = modelNamed(name);
  if (!isScorer(definition)) throw new PrismrecError("INTERNAL", `${name} is not fitted at once`);
  const { settings: schema, chooses, maxItems } = definition;
  return {
    ...(maxItems === undefined ? {} : { maxItems }),
    files: [FACTS, ARRAYS],
    check(settings) {
      const { error } = schema.safeParse(settings);
      return error === undefined ? undefined : { error, schema };
    },
    config({ catalog }, { models, evaluate: { cutoffs } }) {
      // The validation metric that chooses, where there is anything to choose.
      const metric = chooses ? { metric: `recall@${Math.max(...cutoffsWithin(cutoffs, catalog.size))}` } : {};
      return { config: { settings: schema.parse(models[name] ?? {}), ...metric } };
    },
    async fit({ options, signal }, dir, _label, { dataset }, { config }) {
      const { settings, metric } = configSchema.parse(config);
      const ownMetric = async (model: Model): Promise<number> => {
        const { metrics } = await evaluate(model, dataset, { part: "valid", metrics: [metric ?? ""], signal });
        return metrics[metric ?? ""] ?? 0;
      };
      const fitted = await definition.fit(
        dataset,
        schema.parse(settings),
        options,
        metric === undefined ? undefined : ownMetric,
      );
      await saveScorer(dir, definition, settings, fitted);
    },
    async production(dir) {
      const { settings, facts } = await readFitted(dir);
      return { config: { settings: definition.chosen?.(facts) ?? settings } };
    },
    async open(dir, dataset) {
      return definition.open(dataset, await readTensors(join(dir, ARRAYS)));
    },
    async describe(dir) {
      const { facts } = await readFitted(dir);
      const chosen = Object.entries(facts).filter(([, value]) => typeof value !== "object");
      return chosen.map(([fact, value]) => `${fact} ${value} by validation`).join(", ");
    },
  };
}

/** Writes what `open` and `production` of a model read, over what stands there. */
export async function saveScorer(
  dir: string,
  { name, tensors }: ScorerDefinition,
  settings: SettingsRecord,
  { model, facts }: Fitted,
): Promise<void> {
  await mkdir(dir, { recursive: true });
  await writeSafetensors(join(dir, ARRAYS), tensors(model));
  await writeJsonAtomic(join(dir, FACTS), { model: name, settings, facts });
}

async function readFitted(dir: string): Promise<z.infer<typeof fittedSchema>> {
  return readDocument(join(dir, FACTS), fittedSchema, "Run the train stage again.");
}
