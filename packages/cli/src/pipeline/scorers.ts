import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, readJson, writeFileAtomic, writeJsonAtomic } from "@prismrec/core/base";
import { isScorer, type Model, modelNamed, type SettingsRecord } from "@prismrec/core/models";
import { decodeSafetensors, encodeSafetensors } from "@prismrec/core/nn";
import { cutoffsWithin, evaluate } from "@prismrec/trainer";
import { z } from "zod";
import type { ModelCode } from "./models.js";

const FACTS = "model.json";
const ARRAYS = "model.safetensors";

const factsSchema = z.record(z.string(), z.unknown());
const configSchema = z.object({ settings: z.record(z.string(), z.unknown()), metric: z.string().optional() });

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
      const choose = async (model: Model): Promise<number> => {
        const { metrics } = await evaluate(model, dataset, { part: "valid", metrics: [metric ?? ""], signal });
        return metrics[metric ?? ""] ?? 0;
      };
      const { model, facts } = await definition.fit(
        dataset,
        schema.parse(settings),
        options,
        metric === undefined ? undefined : choose,
      );
      await writeFileAtomic(join(dir, ARRAYS), encodeSafetensors(definition.tensors(model)));
      await writeJsonAtomic(join(dir, FACTS), { model: name, ...facts });
    },
    async production(dir) {
      const { model: _, ...facts } = await readFacts(dir);
      return { config: { settings: definition.chosen?.(facts) ?? {} } };
    },
    async open(dir, dataset) {
      const path = join(dir, ARRAYS);
      const bytes = await readFile(path).catch((cause: unknown) => {
        throw new PrismrecError("RUN_INVALID", `${path} cannot be read`, { hint: "Run the stage again.", cause });
      });
      return definition.open(dataset, decodeSafetensors(bytes, path).tensors);
    },
    async describe(dir) {
      const { model: _, ...facts } = await readFacts(dir);
      const chosen = Object.entries(facts).filter(([, value]) => typeof value !== "object");
      return chosen.map(([fact, value]) => `${fact} ${value} by validation`).join(", ");
    },
  };
}

async function readFacts(dir: string): Promise<SettingsRecord> {
  return factsSchema.parse(await readJson(join(dir, FACTS), "RUN_INVALID"));
}
