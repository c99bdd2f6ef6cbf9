// Small valid arguments for every function of the addon, made anew at each call, and what native/binding.d.ts says of the
// functions' parameters: what the border is tested with.
import { readFileSync } from "node:fs";

/** @typedef {{ name: string, type: string, optional: boolean }} Parameter */

const declarations = readFileSync(new URL("../binding.d.ts", import.meta.url), "utf8")
  .replace(/\/\*[\s\S]*?\*\//g, "")
  .replace(/\/\/.*$/gm, "");

/** @param {string} text @returns {Parameter[]} */
function parameters(text) {
  return text
    .split(/[;,\n]/)
    .map((part) => /^\s*(?:readonly )?(\w+)(\??): (.+?)\s*$/.exec(part))
    .filter((match) => match !== null)
    .map(([, name = "", optional, type = ""]) => ({ name, type, optional: optional === "?" }));
}

/** The fields of an interface and of those it extends. @param {string} name @returns {Parameter[]} */
function fields(name) {
  const match = new RegExp(`interface ${name}(?: extends (\\w+))? \\{([^}]*)\\}`).exec(declarations);
  if (match === null) throw new Error(`native/binding.d.ts declares no ${name}`);
  const [, base, body = ""] = match;
  return [...(base === undefined ? [] : fields(base)), ...parameters(body)];
}

/**
 * Every function of the addon with its parameters: those of the one argument object where it takes one.
 * @returns {Map<string, { named: boolean, parameters: Parameter[] }>}
 */
export function declaredFunctions() {
  const body = /interface NativeBinding \{([\s\S]*?)\n\}/.exec(declarations)?.[1] ?? "";
  const functions = new Map();
  for (const [, name = "", list = ""] of body.matchAll(/(\w+)\(([^)]*)\):/g)) {
    const named = /^args: (\w+)/.exec(list.trim());
    functions.set(name, {
      named: named !== null,
      parameters: named === null ? parameters(list) : fields(named[1] ?? ""),
    });
  }
  return functions;
}

/** @param {number} length */
const floats = (length) => Float32Array.from({ length }, (_, i) => ((i * 7) % 11) / 11 - 0.4);
/** @param {number[]} values */
const words = (...values) => Uint32Array.from(values);

/**
 * Arguments that each function takes; the asynchronous form and the synchronous one take the same.
 * @param {import("../binding.d.ts").NativeBinding} binding
 * @param {string} folder for files
 * @returns {Record<string, () => unknown[]>}
 */
export function validArguments(binding, folder) {
  const sparse = () => ({ indptr: words(0, 2, 3, 6), indices: words(0, 2, 1, 0, 1, 3), rows: 3, cols: 4 });
  const square = () => ({ indptr: words(0, 1, 3, 4), indices: words(1, 0, 2, 1), rows: 3, cols: 3 });
  const symmetric = () => {
    const a = new Float32Array(9).fill(0.1);
    for (let i = 0; i < 3; i++) a[4 * i] = 2;
    return a;
  };
  const build = () => ({ items: floats(40), rows: 10, cols: 4, metric: "dot", bias: floats(10) });
  const index = binding.similarityIndexBuildSync({ ...build(), metric: "dot" });
  const path = `${folder}/${process.pid}.index`;
  binding.similarityIndexSaveSync({ index, path });
  const routing = () => ({
    users: 2,
    length: 3,
    interests: 2,
    dim: 4,
    lengths: words(3, 2),
    events: floats(20),
    rows: words(0, 1, 2, 3, 4, 0),
    maps: floats(32),
    mapCount: 1,
  });
  /** @type {Record<string, () => object>} */
  const named = {
    sgemm: () => ({ m: 3, n: 4, k: 5, a: floats(15), b: floats(20), c: floats(12), alpha: 1, beta: 0.5 }),
    cooccurrence: () => ({ ...sparse(), weights: floats(3) }),
    itemNeighbours: () => ({ ...sparse(), squaredNorms: floats(4).map(Math.abs), neighbours: 2 }),
    gram: () => ({ ...sparse(), weights: floats(3), ridge: 1 }),
    ppmi: () => ({ ...square(), values: new Float32Array(4).fill(1), contextSmoothing: 0.75 }),
    truncatedSvd: () => ({
      ...sparse(),
      values: floats(6),
      rank: 2,
      width: 2,
      blocks: 2,
      start: Float32Array.of(1, 0, 0, 1, 0.5, 0.25, 0.1, 0.7),
    }),
    choleskyInverse: () => ({ n: 3, a: symmetric() }),
    similarityIndexBuild: build,
    similarityIndexOpen: () => ({ path, mapped: false }),
    similarityIndexSave: () => ({ index, path: `${path}.copy` }),
    similaritySearch: () => ({
      index,
      queries: floats(24),
      queryCount: 3,
      interestsPerQuery: 2,
      k: 4,
      readout: "max",
      offsets: floats(6),
      excludeIndptr: words(0, 1, 1, 3),
      excludeIndices: words(2, 0, 9),
      filter: words(0x3ff),
      additive: floats(5),
      additiveIndptr: words(0, 2, 2, 5),
      additiveIndices: words(9, 4, 3, 0, 7),
    }),
    maxCover: () => ({
      indptr: words(0, 2, 3, 6),
      indices: words(0, 2, 1, 0, 1, 3),
      elementCount: 4,
      weights: new Float32Array(4).fill(1),
      costs: new Float32Array(3).fill(1),
      maxSets: 2,
      maxCost: 3,
      repeats: 1,
      minGain: 0,
      solver: "exact",
      sampleLoss: 0.1,
      seed: 1,
    }),
    softmaxLoss: () => ({
      rows: 3,
      interestsPerRow: 2,
      itemCount: 5,
      dim: 4,
      interests: floats(24),
      offsets: floats(6),
      items: floats(20),
      itemBias: floats(5),
      targetIndptr: words(0, 1, 2, 4),
      targetIndices: words(0, 1, 2, 3),
      maskIndptr: words(0, 1, 1, 1),
      maskIndices: words(4),
      readout: "log-sum-exp",
      candidates: words(0, 3, 4),
      candidatesPerRow: false,
      logQ: floats(3),
      targetLogQ: floats(4),
      gradients: true,
      interestGradient: floats(24),
      itemGradient: floats(20),
    }),
    contrastiveLoss: () => ({
      kind: "info-nce",
      similarity: "cosine",
      temperature: 0.1,
      reduction: "mean",
      rowCount: 3,
      dim: 4,
      rows: floats(12),
      positives: floats(12).reverse(),
      negativeCount: 2,
      negatives: floats(8),
      logQ: floats(5),
      positiveIds: words(0, 1, 2),
      negativeIds: words(3, 4),
      symmetric: false,
      gradients: true,
    }),
    dynamicRouting: () => ({
      ...routing(),
      iterations: 2,
      initial: floats(6),
      vectors: floats(16),
      sums: floats(16),
      coefficients: floats(12),
    }),
    dynamicRoutingGrad: () => ({
      ...routing(),
      coefficients: floats(12),
      sums: floats(16),
      vectorGradient: floats(16),
      eventGradient: floats(24),
      mapGradient: floats(32),
    }),
  };
  const adam = [1, 0.01, 0.9, 0.999, 1e-8, 0.01, 1];
  const attention = () => [words(3, 2), Int16Array.of(0, 1, -1, 1, 0, 0), Int32Array.of(0, 1, 1, -1), 3, 1, 2];
  const geometry = () => Int32Array.of(2, 2, 3, 3, 1, 0, 1);
  /** @type {Record<string, () => unknown[]>} */
  const positional = {
    runtimeInfo: () => [],
    cudaInfo: () => [],
    setThreads: () => [2],
    similarityIndexInfo: () => [index],
    similarityIndexRelease: () => [binding.similarityIndexBuildSync({ ...build(), metric: "dot" })],
    tensorBinary: () => [0, floats(6), floats(3), floats(6), geometry()],
    tensorCompare: () => [0, floats(6), floats(3), new Uint8Array(6), geometry()],
    tensorUnary: () => [0, floats(6), floats(6), 0, 1],
    tensorReduce: () => [0, floats(12), floats(4), 2, 3, 2, 1],
    tensorArgMax: () => [floats(12), new Int32Array(4), 2, 3, 2],
    tensorSoftmax: () => [floats(6), floats(6), 2, 3, false],
    tensorSoftmaxGrad: () => [floats(6), floats(6), floats(6), 2, 3, false],
    tensorMaskedSoftmax: () => [floats(6), new Uint8Array(3).fill(1), floats(6), Int32Array.of(1, 2, 1, 0), 3],
    tensorLayerNorm: () => [floats(6), floats(3), floats(3), floats(6), floats(2), floats(2), 2, 3, 1e-5],
    tensorLayerNormGrad: () => [
      floats(6),
      floats(3),
      floats(2),
      floats(2),
      floats(6),
      floats(6),
      floats(3),
      floats(3),
      2,
      3,
    ],
    tensorGeluGrad: () => [floats(6), floats(6), floats(6)],
    tensorDropout: () => [floats(6), floats(6), 7, 1000, 2],
    tensorSelect: () => [Uint8Array.of(0, 1, 0), floats(3), floats(3), floats(3)],
    tensorCopy: () => [floats(8), 1, floats(8), 2, Int32Array.of(2, 2, 3, 3, 1, 3, 1)],
    tensorGather: () => [floats(12), Int32Array.of(2, 0), floats(8), 1, 2, 3, 2, 2],
    tensorSegmentSum: () => [floats(12), Int32Array.of(0, 1, 0), floats(8), 2, 4],
    tensorMatmul: () => [floats(12), floats(12), floats(8), words(0, 6), words(0, 6), 2, 2, 3, false, false],
    prefixAttention: () => [floats(12), floats(36), ...attention()],
    prefixAttentionGrad: () => [floats(36), floats(36), floats(12), ...attention()],
    embeddingAdam: () => [floats(8), floats(8), floats(8).map(Math.abs), floats(8), ...adam],
    embeddingLazyAdam: () => [
      floats(12),
      floats(12),
      floats(12).map(Math.abs),
      new Uint32Array(3),
      words(0, 2),
      floats(8),
      4,
      true,
      ...adam,
    ],
    embeddingGatherRows: () => [floats(12), words(2, 0, 0xffffffff), floats(12), 4],
    embeddingScatterAddRows: () => [floats(12), words(2, 0, 0xffffffff), floats(12), 4],
    embeddingUniqueRows: () => [words(5, 2, 5), new Int32Array(3)],
    embeddingMergeRows: () => [words(5, 2, 5), [floats(8), floats(4)], floats(12), 4],
    embeddingAdviseLargePages: () => [floats(8)],
    embeddingSquaredNorm: () => [[floats(8), floats(3)]],
  };
  for (const [name, made] of Object.entries(named)) {
    positional[name] = positional[`${name}Sync`] = () => [made()];
  }
  return positional;
}
