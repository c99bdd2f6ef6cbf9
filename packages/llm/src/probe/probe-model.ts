import { createRandom, type RunOptions } from "@prismrec/core/base";
import { adjustedRandIndex, averageLinkage, type Mean, meanOf, type PartitionRequest } from "@prismrec/core/interests";
import { CachedModel } from "../cache/cached-model.js";
import { DEFAULT_CUT, pairQuantile } from "../clusterers/cut.js";
import { LEAST_COSINE } from "../clusterers/facets.js";
import { PartitionClusterer } from "../clusterers/partition.js";
import { facetPrefix, facetPreset, facetQuestion } from "../facets/prompts.js";
import { centred, facetSignatures } from "../facets/signatures.js";
import type { LanguageModel } from "../model/language-model.js";
import { probeCatalog } from "./probe-catalog.js";

const LEAST_STABILITY = 0.3;
const STANDARD_ERRORS = 3;
const SCORED_USERS = 60;

export interface ProbeOptions extends RunOptions {
  /** Size of the catalog whose cost is wanted. */
  readonly items?: number;
  /** Histories whose cost is wanted. */
  readonly users?: number;
  /** Histories that the generate strategy is tried on (default 12; 0 leaves it out, it is the slow part). */
  readonly generateUsers?: number;
}

export interface StrategyProbe {
  readonly clusterer: "facets" | "partition";
  readonly passed: boolean;
  /** Adjusted Rand index of a partition with its repetition: other worked examples, or another order of the items. */
  readonly stability: Mean;
  /** Adjusted Rand index with the probe's known groups, and the same with members permuted inside each history. */
  readonly planted: Mean;
  readonly shuffled: Mean;
  readonly failures: readonly string[];
  /** Items (facets) or histories (partition) per second. */
  readonly perSecond: number;
  /** Hours for the catalog or the users asked about, where they were given. */
  readonly hours?: number;
}

export interface ModelProbe {
  readonly model: string;
  readonly hash: string;
  /** Tokens, prompt and answer, per second of all processes together. */
  readonly tokensPerSecond: number;
  readonly strategies: readonly StrategyProbe[];
  /** The clusterer to use with this model. */
  readonly recommended: "facets" | "partition" | "category";
}

/**
 * Tells what a model can do and what it costs: both strategies on a small catalog of known groups. A strategy passes
 * when its partitions are stable (at least .3) and beat their shuffled selves by three standard errors.
 */
export async function probeModel(model: LanguageModel, options: ProbeOptions = {}): Promise<ModelProbe> {
  const { items, users, generateUsers = 12, signal, onProgress } = options;
  const run: RunOptions = {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  const before = model.usage();
  const start = performance.now();
  const strategies: StrategyProbe[] = [];
  // A server scores no given words.
  if (model.capabilities.scoreWords) strategies.push(hoursFor(await probeFacets(model, run), items));
  if (generateUsers > 0) strategies.push(hoursFor(await probePartition(model, generateUsers, run), users));
  const after = model.usage();
  const tokens = after.promptTokens + after.generatedTokens - before.promptTokens - before.generatedTokens;
  // A model that can partition reads a user's items together; facets is the fallback for those that cannot.
  const recommended = [...strategies].reverse().find(({ passed }) => passed)?.clusterer ?? "category";
  return {
    model: model.name,
    hash: model.hash,
    tokensPerSecond: tokens / ((performance.now() - start) / 1000),
    strategies,
    recommended,
  };
}

function hoursFor(probe: StrategyProbe, count: number | undefined): StrategyProbe {
  return count === undefined ? probe : { ...probe, hours: count / probe.perSecond / 3600 };
}

/** Histories of two or three groups, three items of each, in random order. */
function plantedUsers(count: number, truth: Int16Array): PartitionRequest[] {
  const random = createRandom(1, "probe-users");
  const groups = Array.from({ length: Math.max(...truth) + 1 }, (_, group) => group);
  return Array.from({ length: count }, (_, u) => {
    const own = random.shuffle([...groups]).slice(0, random.integer(2, 4));
    const items = own.flatMap((group) =>
      random.shuffle(Array.from(truth.keys()).filter((id) => truth[id] === group)).slice(0, 3),
    );
    return { key: `probe:${u}`, items: Uint32Array.from(random.shuffle(items)), maxClusters: 8 };
  });
}

function judge(
  clusterer: StrategyProbe["clusterer"],
  requests: readonly PartitionRequest[],
  partitions: readonly ArrayLike<number>[],
  again: readonly ArrayLike<number>[],
  truth: Int16Array,
  perSecond: number,
  tested?: readonly string[],
): StrategyProbe {
  const random = createRandom(1, "probe-shuffled");
  const known = requests.map(({ items }) => Array.from(items, (id) => truth[id]!));
  const stability = meanOf(partitions.map((groups, r) => adjustedRandIndex(groups, again[r]!)));
  const planted = meanOf(partitions.map((groups, r) => adjustedRandIndex(groups, known[r]!)));
  const shuffled = meanOf(
    partitions.map((groups, r) => adjustedRandIndex(random.shuffle(Array.from(groups)), known[r]!)),
  );
  const margin = STANDARD_ERRORS * Math.hypot(planted.standardError, shuffled.standardError);
  const failures = [...(tested ?? [])];
  if (tested === undefined && stability.mean < LEAST_STABILITY) {
    failures.push(
      `its answers change with the way of asking (${stability.mean.toFixed(2)}, ${LEAST_STABILITY} is needed)`,
    );
  }
  if (planted.mean - shuffled.mean <= margin) {
    failures.push(
      `known groups do not come back (${planted.mean.toFixed(2)} against ${shuffled.mean.toFixed(2)} shuffled)`,
    );
  }
  return { clusterer, passed: failures.length === 0, stability, planted, shuffled, failures, perSecond };
}

async function probeFacets(model: LanguageModel, run: RunOptions): Promise<StrategyProbe> {
  const { catalog, truth } = probeCatalog();
  const requests = plantedUsers(SCORED_USERS, truth);
  const start = performance.now();
  const partitions: Int16Array[][] = [];
  const preset = facetPreset([]);
  for (const set of [0, 1] as const) {
    const { logProbs } = await model.scoreNext(
      {
        prefix: facetPrefix(preset, set),
        continuations: catalog.items.slice(1).map(({ title }) => facetQuestion(preset, title)),
        words: preset.words,
      },
      run,
    );
    const signatures = facetSignatures(centred(logProbs));
    const { cols, data } = signatures;
    const threshold = pairQuantile(signatures, DEFAULT_CUT, LEAST_COSINE);
    partitions.push(
      requests.map(({ items, maxClusters }) => {
        const rows = new Float32Array(items.length * cols);
        items.forEach((id, i) => {
          rows.set(data.subarray((id - 1) * cols, id * cols), i * cols);
        });
        return averageLinkage({ data: rows, rows: items.length, cols }, { maxClusters, threshold });
      }),
    );
  }
  const seconds = (performance.now() - start) / 1000;
  const perSecond = (partitions.length * catalog.size) / seconds;
  return judge("facets", requests, partitions[0]!, partitions[1]!, truth, perSecond);
}

async function probePartition(model: LanguageModel, users: number, run: RunOptions): Promise<StrategyProbe> {
  const { catalog, truth } = probeCatalog();
  const requests = plantedUsers(users, truth);
  const start = performance.now();
  const clusterer = new PartitionClusterer(new CachedModel(model, undefined), catalog);
  const { first, second, tests } = await clusterer.askTwice(requests, run);
  // Labels come on top and are short beside the histories.
  const perSecond = (2 * users) / ((performance.now() - start) / 1000);
  return judge("partition", requests, first, second, truth, perSecond, tests.failures);
}
