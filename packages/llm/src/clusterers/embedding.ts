import { hashJson, type Matrix, PrismrecError } from "@prismrec/core/base";
import { SignatureClusterer } from "@prismrec/core/interests";
import { itemText } from "../facets/item-text.js";
import type { Capability } from "../model/language-model.js";
import { DEFAULT_CUT, pairQuantile } from "./cut.js";
import type { ClustererDefinition } from "./definition.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["embeddings"];

/** Item vectors of a GGUF embedding model, minus their mean (which all texts share), grouped like facet signatures. */
export const embeddingClusterer: ClustererDefinition = {
  name: "embedding",
  needs: "embedding-model",
  requires: REQUIRES,
  asksAbout: "items",
  description: "histories are grouped by the cosine of an embedding model's vectors of the items' titles",
  async create(context) {
    const start = performance.now();
    const model = requireModel("embedding", context, REQUIRES);
    const { catalog, cut = DEFAULT_CUT, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const vectors = await model.embed(texts, context);
    const signatures = centredUnit(vectors, model.model.name);
    const threshold = cut === "silhouette" ? cut : pairQuantile(signatures, cut, 0);
    const clusterer = new SignatureClusterer({
      name: "embedding",
      fingerprint: hashJson([
        "embedding-1",
        model.model.hash,
        threshold,
        catalog.items.slice(1).map(({ id }, i) => [id, texts[i]]),
      ]),
      catalog,
      signatures,
      facets: [],
      threshold,
    });
    const seconds = (performance.now() - start) / 1000;
    return { clusterer, report: { name: "embedding", model: model.model.name, threshold, seconds } };
  },
  async estimate(context) {
    const model = requireModel("embedding", context, REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const texts = [...new Set(catalog.items.slice(1).map((item) => itemText(item, textMode)))];
    const kept = model.keptVectors(texts);
    const characters = texts.reduce((sum, text) => sum + text.length, 0);
    return {
      calls: texts.length,
      kept,
      tokens: Math.ceil(((characters / 4) * (texts.length - kept)) / Math.max(1, texts.length)),
    };
  },
};

function centredUnit(vectors: readonly Float32Array[], name: string): Matrix {
  const rows = vectors.length;
  const cols = vectors[0]?.length ?? 0;
  if (cols === 0 || vectors.some((vector) => vector.length !== cols || !vector.every(Number.isFinite))) {
    throw new PrismrecError("LLM_OUTPUT_INVALID", `${name} gave vectors that cannot be compared`, {
      expected: `${rows} vectors of finite numbers, all of one length`,
      hint: "use a GGUF embedding model, for example all-MiniLM-L6-v2",
    });
  }
  const data = new Float32Array(rows * cols);
  for (let k = 0; k < cols; k++) {
    let sum = 0;
    for (const vector of vectors) sum += vector[k]!;
    vectors.forEach((vector, i) => {
      data[i * cols + k] = vector[k]! - sum / rows;
    });
  }
  for (let i = 0; i < rows; i++) {
    const row = data.subarray(i * cols, (i + 1) * cols);
    const norm = Math.hypot(...row);
    if (norm > 0)
      row.forEach((x, k) => {
        row[k] = x / norm;
      });
  }
  return { data, rows, cols };
}
