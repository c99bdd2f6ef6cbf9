import { createRandom, type Matrix, type RunOptions, type SparseMatrix } from "@prismrec/core/base";
import {
  adjustedRandIndex,
  type Mean,
  meanOf,
  type PartitionRequest,
  SignatureClusterer,
} from "@prismrec/core/interests";
import type { AnswerCache } from "../cache/answer-cache.js";
import { CachedModel } from "../cache/cached-model.js";
import { DEFAULT_CUT, pairQuantile } from "../clusterers/cut.js";
import { LEAST_COSINE } from "../clusterers/facets.js";
import { PartitionClusterer } from "../clusterers/partition.js";
import { pairAuc } from "../diagnostics/pair-auc.js";
import { facetPrefix, facetPreset, facetQuestion } from "../facets/prompts.js";
import { centred, facetSignatures } from "../facets/signatures.js";
import { readKinds } from "../kinds/read-kinds.js";
import type { LanguageModel } from "../model/language-model.js";
import { centredVectors } from "../signatures/centred-vectors.js";
import { wordSignatures } from "../signatures/word-signatures.js";
import { plantedUsers } from "./planted-users.js";
import { probeCatalog } from "./probe-catalog.js";

const LEAST_STABILITY = 0.3;
const STANDARD_ERRORS = 3;
const SCORED_USERS = 60;
/** Most of the items that a model may have one answer for, or none. */
const MOST_ALIKE = 0.5;
/** Facets that a signature keeps by default. */
const KEPT_FACETS = 40;
/** Words that describe an item, at eight bytes each. */
const WORDS_OF_A_KIND = 6;

export interface ProbeOptions extends RunOptions {
  /** Size of the catalog whose cost is wanted. */
  readonly items?: number;
  /** Histories whose cost is wanted. */
  readonly users?: number;
  /** Histories that the partition strategy is tried on, each twice (default 8; 0 leaves it out, it is the slow part). */
  readonly histories?: number;
  /** Kept answers: a model that was probed before is not asked again, and has no speed then. */
  readonly cache?: AnswerCache;
}

export type ProbedClusterer = "kinds" | "facets" | "embedding" | "partition";

export interface StrategyProbe {
  readonly clusterer: ProbedClusterer;
  readonly usable: boolean;
  /** What makes it usable, or all that stands against it, in words with figures. */
  readonly why: string;
  readonly failures: readonly string[];
  /** Probability that two items of one known group are more alike than two of different ones; absent for partition. */
  readonly auc?: number;
  /** Adjusted Rand index of a partition with its repetition: other worked examples, or another order of the items. */
  readonly stability: Mean;
  /** Adjusted Rand index with the probe's known groups, and the same with members permuted inside each history. */
  readonly planted: Mean;
  readonly shuffled: Mean;
  /** Nats that an item's place tells about its group, and the most that chance gives; for partition alone. */
  readonly positionBias?: { readonly nats: number; readonly byChance: number };
  /** Largest share of items with one and the same answer, or without any (partition: entropy of the sizes, 0 = one group). */
  readonly degeneracy: number;
  /** Items (histories for partition) per second of all processes together; absent where all was answered before. */
  readonly perSecond?: number;
  /** Hours for the catalog or the users asked about, where they were given. */
  readonly hours?: number;
  /** Bytes of what is kept of the catalog, where its size was given; the model's own memory is not in it. */
  readonly bytes?: number;
}

export interface ModelProbe {
  readonly model: string;
  readonly hash: string;
  readonly seconds: number;
  /** Tokens, prompt and answer, per second of all processes together; absent where all was answered before. */
  readonly tokensPerSecond?: number;
  readonly strategies: readonly StrategyProbe[];
  /** What the words of the titles say with no model: a strategy that does no better is refused. */
  readonly titleWords: { readonly auc: number; readonly planted: Mean };
  /** The clusterer to use with this model: of those that are usable the one that finds the known groups best. */
  readonly recommended: ProbedClusterer | "category";
  readonly because: string;
}

/** One reading of the probe's items. */
interface Reading {
  readonly matrix: Matrix | SparseMatrix;
  readonly threshold: number;
  /** The answers, where they can be compared. */
  readonly answers?: readonly string[];
}

/**
 * Tells what a model can do and what it costs: every strategy that its engine allows on a small catalog of known groups,
 * each asked twice in different words or orders. A strategy is usable when its partitions are stable (at least .3), beat
 * their shuffled selves by three standard errors and what the titles' words alone find, and are not all the same. Two
 * minutes on two cores for a model of 1.5 B parameters; the same answers, and so the same choice, at any speed.
 */
export async function probeModel(model: LanguageModel, options: ProbeOptions = {}): Promise<ModelProbe> {
  const { items, users, histories = 8, cache } = options;
  const run = runOptions(options);
  const asked = new CachedModel(model, cache);
  const { capabilities } = model;
  const before = model.usage();
  const start = performance.now();
  const { catalog, truth } = probeCatalog();
  const texts = catalog.items.slice(1).map(({ title }) => title);
  const words = wordSignatures(texts);
  const requests = plantedUsers(SCORED_USERS, truth);
  const control: Reading = { matrix: words.matrix, threshold: pairQuantile(words.matrix, DEFAULT_CUT, LEAST_COSINE) };
  const groups = truth.subarray(1);
  const titleWords = {
    auc: pairAuc(words.matrix, groups),
    planted: agreement(await partitionBy(control, requests), requests, truth),
  };

  const strategies: StrategyProbe[] = [];
  const bySignature = async (
    clusterer: ProbedClusterer,
    bytesPerItem: number,
    read: (set: 0 | 1) => Promise<Reading>,
  ): Promise<void> => {
    const clock = stopwatch(model);
    const first = await read(0);
    const second = await read(1);
    const perSecond = clock(2 * catalog.size);
    strategies.push({
      ...judge({
        clusterer,
        requests,
        truth,
        partitions: await partitionBy(first, requests),
        again: await partitionBy(second, requests),
        control: titleWords.planted,
        degeneracy: first.answers === undefined ? 0 : alike(first.answers),
      }),
      auc: pairAuc(first.matrix, groups),
      ...cost(perSecond, items),
      ...(items === undefined ? {} : { bytes: items * bytesPerItem }),
    });
  };
  if (capabilities.text) {
    await bySignature("kinds", 8 * WORDS_OF_A_KIND, async (set) => {
      const answers = await readKinds(asked, "general", texts, run, set);
      const { matrix } = wordSignatures(answers);
      return { matrix, threshold: pairQuantile(matrix, DEFAULT_CUT, LEAST_COSINE), answers };
    });
  }
  if (capabilities.scoreWords) {
    const preset = facetPreset([]);
    await bySignature("facets", 4 * KEPT_FACETS, async (set) => {
      const { logProbs } = await asked.scoreNext(
        {
          prefix: facetPrefix(preset, set),
          continuations: texts.map((text) => facetQuestion(preset, text)),
          words: preset.words,
        },
        run,
      );
      const matrix = facetSignatures(centred(logProbs));
      return { matrix, threshold: pairQuantile(matrix, DEFAULT_CUT, LEAST_COSINE) };
    });
  }
  // A model that writes has vectors too, but was not made to compare texts by them.
  if (capabilities.embeddings && !capabilities.text) {
    let length = 0;
    await bySignature("embedding", 0, async (set) => {
      const vectors = await asked.embed(set === 0 ? texts : texts.map((text) => `The title is: ${text}`), run);
      length = vectors[0]?.length ?? 0;
      const matrix = centredVectors(vectors, model.name);
      return { matrix, threshold: pairQuantile(matrix, DEFAULT_CUT, 0) };
    });
    const embedding = strategies.pop()!;
    strategies.push(items === undefined ? embedding : { ...embedding, bytes: items * 4 * length });
  }
  if (capabilities.text && histories > 0) {
    const clock = stopwatch(model);
    const some = plantedUsers(histories, truth);
    const { first, second, tests } = await new PartitionClusterer(asked, catalog).askTwice(some, run);
    strategies.push({
      ...judge({
        clusterer: "partition",
        requests: some,
        truth,
        partitions: first,
        again: second,
        control: titleWords.planted,
        degeneracy: tests.entropy,
        tested: tests.failures,
      }),
      positionBias: { nats: tests.positionInformation, byChance: tests.positionLimit },
      // Labels come on top and are short beside the histories.
      ...cost(clock(2 * histories), users),
    });
  }

  const seconds = (performance.now() - start) / 1000;
  const after = model.usage();
  const tokens = after.promptTokens + after.generatedTokens - before.promptTokens - before.generatedTokens;
  const usable = strategies.filter((strategy) => strategy.usable);
  const best = usable.reduce<StrategyProbe | undefined>(
    (most, one) => (most === undefined || one.planted.mean > most.planted.mean ? one : most),
    undefined,
  );
  return {
    model: model.name,
    hash: model.hash,
    seconds,
    ...(tokens === 0 ? {} : { tokensPerSecond: tokens / seconds }),
    strategies,
    titleWords,
    recommended: best?.clusterer ?? "category",
    because:
      best?.why ??
      (strategies.length === 0
        ? "its engine can do nothing that a clusterer asks for"
        : strategies.map(({ clusterer, why }) => `${clusterer}: ${why}`).join("; ")),
  };
}

function runOptions({ signal, onProgress }: RunOptions): RunOptions {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(onProgress === undefined ? {} : { onProgress }),
  };
}

/** Counts what a model is asked from now on; the reading is per second, undefined where nothing had to be asked. */
function stopwatch(model: LanguageModel): (count: number) => number | undefined {
  const calls = model.usage().calls;
  const start = performance.now();
  return (count) => (model.usage().calls === calls ? undefined : (1000 * count) / (performance.now() - start));
}

function cost(perSecond: number | undefined, count: number | undefined): Pick<StrategyProbe, "perSecond" | "hours"> {
  if (perSecond === undefined) return {};
  return { perSecond, ...(count === undefined ? {} : { hours: count / perSecond / 3600 }) };
}

async function partitionBy(reading: Reading, requests: readonly PartitionRequest[]): Promise<ArrayLike<number>[]> {
  const clusterer = new SignatureClusterer({
    name: "probe",
    fingerprint: "probe",
    catalog: probeCatalog().catalog,
    signatures: reading.matrix,
    facets: [],
    threshold: reading.threshold,
  });
  return (await clusterer.partition(requests)).map(({ assign }) => assign);
}

function agreement(
  partitions: readonly ArrayLike<number>[],
  requests: readonly PartitionRequest[],
  truth: Int16Array,
): Mean {
  return meanOf(
    partitions.map((groups, r) =>
      adjustedRandIndex(
        groups,
        Array.from(requests[r]!.items, (id) => truth[id]!),
      ),
    ),
  );
}

/** The share of the most common answer, or of empty ones. */
function alike(answers: readonly string[]): number {
  const counts = new Map<string, number>();
  for (const answer of answers) counts.set(answer, (counts.get(answer) ?? 0) + 1);
  return Math.max(...counts.values()) / answers.length;
}

function judge(asked: {
  readonly clusterer: ProbedClusterer;
  readonly requests: readonly PartitionRequest[];
  readonly truth: Int16Array;
  readonly partitions: readonly ArrayLike<number>[];
  readonly again: readonly ArrayLike<number>[];
  readonly control: Mean;
  readonly degeneracy: number;
  /** What another test says already of stability and degeneracy. */
  readonly tested?: readonly string[];
}): StrategyProbe {
  const { clusterer, requests, truth, partitions, again, control, degeneracy, tested } = asked;
  const random = createRandom(1, "probe-shuffled");
  const stability = meanOf(partitions.map((groups, r) => adjustedRandIndex(groups, again[r]!)));
  const planted = agreement(partitions, requests, truth);
  const shuffled = agreement(
    partitions.map((groups) => random.shuffle(Array.from(groups))),
    requests,
    truth,
  );
  const margin = STANDARD_ERRORS * Math.hypot(planted.standardError, shuffled.standardError);
  const failures = [...(tested ?? [])];
  if (tested === undefined && stability.mean < LEAST_STABILITY) {
    failures.push(
      `its answers change with the way of asking (${stability.mean.toFixed(2)}, ${LEAST_STABILITY} is needed)`,
    );
  }
  if (tested === undefined && degeneracy > MOST_ALIKE) {
    failures.push(`it says the same of ${Math.round(100 * degeneracy)} % of the items`);
  }
  if (planted.mean - shuffled.mean <= margin) {
    failures.push(
      `known groups do not come back (${planted.mean.toFixed(2)} against ${shuffled.mean.toFixed(2)} shuffled)`,
    );
  } else if (planted.mean <= control.mean) {
    failures.push(
      `the words of the titles alone find as much (${planted.mean.toFixed(2)} against ${control.mean.toFixed(2)})`,
    );
  }
  const usable = failures.length === 0;
  const why = usable
    ? `known groups come back (${planted.mean.toFixed(2)} against ${shuffled.mean.toFixed(2)} shuffled and ` +
      `${control.mean.toFixed(2)} by the titles' words; 1 is all of them)`
    : failures.join("; ");
  return { clusterer, usable, why, failures, stability, planted, shuffled, degeneracy };
}
