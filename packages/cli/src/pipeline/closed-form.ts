import { join } from "node:path";
import {
  EASE_MAX_ITEMS,
  Ease,
  fitEase,
  fitItemKnn,
  fitMostPopular,
  ItemKnn,
  PrismrecError,
  readJson,
  writeJsonAtomic,
} from "@prismrec/core";
import { cutoffsWithin, evaluate } from "@prismrec/trainer";
import { z } from "zod";
import type { ModelCode } from "./models.js";
import { readArrays, writeArrays } from "./tensors.js";

const CHOICE = "model.json";
const ARRAYS = "model.safetensors";

export const mostPopular: ModelCode = {
  files: [CHOICE],
  config: () => ({ config: {} }),
  fit: (_context, dir) => writeJsonAtomic(join(dir, CHOICE), { model: "most-popular" }),
  production: async () => ({ config: {} }),
  open: async (_dir, dataset) => fitMostPopular(dataset),
};

export const itemKnn: ModelCode = {
  files: [ARRAYS],
  config: () => ({ config: {} }),
  async fit({ options }, dir, _label, { dataset }) {
    const { indptr, indices, values } = (await fitItemKnn(dataset, options)).votes;
    await writeArrays(join(dir, ARRAYS), { indptr, indices, values: values ?? new Float32Array() });
  },
  production: async () => ({ config: {} }),
  async open(dir, { catalog }) {
    const arrays = await readArrays(join(dir, ARRAYS));
    return new ItemKnn({
      indptr: arrays.get("indptr", Uint32Array),
      indices: arrays.get("indices", Uint32Array),
      values: arrays.get("values", Float32Array),
      rows: catalog.size,
      cols: catalog.size,
    });
  },
};

/** The penalties to try, and the validation metric that chooses among them. */
const easeChoice = z.object({ lambdas: z.array(z.number()), metric: z.string() });
const easeFound = z.object({ lambda: z.number(), validation: z.record(z.string(), z.number()) });

export const ease: ModelCode = {
  maxItems: EASE_MAX_ITEMS,
  files: [CHOICE, ARRAYS],
  config({ catalog }, settings) {
    const cutoff = Math.max(...cutoffsWithin(settings.evaluate.cutoffs, catalog.size));
    return { config: { lambdas: [...settings.ease.lambdas], metric: `recall@${cutoff}` } };
  },
  async fit({ options, signal }, dir, _label, { dataset }, { config }) {
    const { lambdas, metric } = easeChoice.parse(config);
    const validation: Record<string, number> = {};
    let best: { model: Ease; lambda: number; value: number } | undefined;
    for (const lambda of lambdas) {
      const model = await fitEase(dataset, { lambda, ...options });
      const judged = lambdas.length > 1 || dataset.split.valid.users.length > 0;
      const { metrics } = judged ? await evaluate(model, dataset, { part: "valid", metrics: [metric], signal }) : {};
      const value = metrics?.[metric] ?? 0;
      validation[String(lambda)] = value;
      if (best === undefined || value > best.value) best = { model, lambda, value };
    }
    if (best === undefined) throw new PrismrecError("CONFIG_INVALID", "ease needs at least one penalty");
    await writeArrays(join(dir, ARRAYS), { weights: best.model.weights.data });
    await writeJsonAtomic(join(dir, CHOICE), { lambda: best.lambda, validation } satisfies z.infer<typeof easeFound>);
  },
  async production(dir) {
    const { lambda } = easeFound.parse(await readJson(join(dir, CHOICE), "RUN_INVALID"));
    return { config: { lambdas: [lambda], metric: "" } };
  },
  async open(dir, { catalog }) {
    const arrays = await readArrays(join(dir, ARRAYS));
    return new Ease({ data: arrays.get("weights", Float32Array), rows: catalog.size, cols: catalog.size });
  },
  async describe(dir) {
    const { lambda } = easeFound.parse(await readJson(join(dir, CHOICE), "RUN_INVALID"));
    return `lambda ${lambda} by validation`;
  },
};
