import { createHash } from "node:crypto";
import { createRandom, PrismrecError, type Random } from "@prismrec/core/base";
import { createCatalog, createLog, type Dataset, type EvaluationPart, type Item } from "@prismrec/core/data";
import { byFirstAppearance, type Clusterer, type Partition, type PartitionRequest } from "@prismrec/core/interests";

/** Size and shape of planted data; the defaults are those of the figures in docs/concepts/planted-data.md. */
export interface PlantedConfig {
  readonly users: number;
  readonly items: number;
  /** Number of planted interests; categories are drawn independently of them. */
  readonly interests: number;
  /** Median number of events of a user before filtering (log-normal, sigma .5). */
  readonly medianLength: number;
  /** Share of training users; a tenth of all users validate, the rest test. */
  readonly trainShare: number;
  readonly seed: number;
}

export const PLANTED_DEFAULTS: PlantedConfig = {
  users: 5000,
  items: 2000,
  interests: 20,
  medianLength: 8,
  trainShare: 0.5,
  seed: 1,
};

const CATEGORIES = 8;
const POPULARITY_EXPONENT = 0.8;
/** Probability of staying with the current interest at the next event. */
const STICKINESS = 0.6;
/** Probability that an event has nothing to do with the user's interests. */
const NOISE = 0.05;
const DIRICHLET_CONCENTRATION = 1.5;
const CORE = 5;

export interface PlantedData {
  readonly dataset: Dataset;
  /** [N + 1] planted interest of each dense item id; entry 0 is 0. */
  readonly truth: Uint16Array;
}

/**
 * Data whose interests are known: every item belongs to one of `interests`, every user mixes 2 to 4 of them in sticky
 * runs, and categories say nothing. A part that cannot use a true partition here is broken, whatever it does elsewhere.
 */
export function plantedData(overrides: Partial<PlantedConfig> = {}): PlantedData {
  const config = { ...PLANTED_DEFAULTS, ...overrides };
  if (config.interests < 4 || config.items < config.interests * 2) {
    throw new PrismrecError("INVALID_ARGUMENT", "planted data needs at least 4 interests of two items each", {
      expected: "interests >= 4, items >= 2 * interests",
      received: `interests ${config.interests}, items ${config.items}`,
    });
  }
  const random = createRandom(config.seed, "planted-data");
  const truth = Array.from({ length: config.items }, () => random.integer(0, config.interests));
  const category = Array.from({ length: config.items }, () => random.integer(0, CATEGORIES));
  const weight = random.shuffle(Array.from({ length: config.items }, (_, i) => (i + 1) ** -POPULARITY_EXPONENT));
  const byInterest = Array.from({ length: config.interests }, (_, interest) => {
    const members = truth.flatMap((of, item) => (of === interest ? [item] : []));
    return { members, draw: categorical(members.map((item) => weight[item]!)) };
  });

  const sequences: number[][] = [];
  for (let user = 0; user < config.users; user++) {
    const own = distinct(random, 2 + random.integer(0, 3), config.interests);
    const nextInterest = categorical(own.map(() => gamma(random, DIRICHLET_CONCENTRATION)));
    const length = Math.max(CORE, Math.floor(config.medianLength * Math.exp(0.5 * random.normal())));
    const sequence = new Set<number>();
    let current = own[nextInterest(random)]!;
    for (let attempt = 0; attempt < 3 * length && sequence.size < length; attempt++) {
      if (random.uniform() > STICKINESS) current = own[nextInterest(random)]!;
      const { members, draw } = byInterest[current]!;
      const noise = members.length === 0 || random.uniform() < NOISE;
      sequence.add(noise ? random.integer(0, config.items) : members[draw(random)]!);
    }
    if (sequence.size >= CORE) sequences.push([...sequence]);
  }
  const kept = random.shuffle(iterativeCore(sequences));
  return freeze(kept, truth, category, config);
}

/** Splits by the planted interest itself: the partition a perfect clusterer would give. */
export class TruthClusterer implements Clusterer {
  readonly name = "truth";
  readonly fingerprint: string;
  readonly #truth: Uint16Array;

  /** @param truth [N + 1] interest of each dense item id */
  constructor(truth: Uint16Array) {
    this.#truth = truth;
    this.fingerprint = createHash("sha256").update("truth-1").update(truth).digest("hex");
  }

  async partition(requests: readonly PartitionRequest[]): Promise<Partition[]> {
    return requests.map(({ key, items, maxClusters }) => {
      const { assign, order } = byFirstAppearance(Array.from(items, (item) => this.#truth[item]!));
      // The last cluster takes what is over, so that the limit holds.
      for (let i = 0; i < assign.length; i++) assign[i] = Math.min(assign[i]!, maxClusters - 1);
      return { key, assign, labels: order.slice(0, maxClusters).map((interest) => `interest ${interest}`) };
    });
  }
}

function freeze(sequences: number[][], truth: number[], category: number[], config: PlantedConfig): PlantedData {
  const trainUsers = Math.floor(config.trainShare * sequences.length);
  const validEnd = trainUsers + Math.floor(0.1 * sequences.length);
  const count = new Map<number, number>();
  for (const item of sequences.flat()) count.set(item, count.get(item) ?? 0);
  for (const item of sequences.slice(0, trainUsers).flat()) count.set(item, count.get(item)! + 1);
  const order = [...count.keys()].sort((a, b) => count.get(b)! - count.get(a)! || a - b);
  const dense = new Map(order.map((item, rank) => [item, rank + 1]));

  const items: Item[] = [{ id: "", title: "", categories: [] }];
  for (const item of order) {
    items.push({ id: `i${item}`, title: `item ${item}`, categories: [`category ${category[item]}`] });
  }
  const catalog = createCatalog(items, Uint32Array.from([0, ...order.map((item) => count.get(item)!)]));

  const indptr = new Uint32Array(sequences.length + 1);
  for (const [user, sequence] of sequences.entries()) indptr[user + 1] = indptr[user]! + sequence.length;
  const log = createLog({
    userIds: sequences.map((_, user) => `u${user}`),
    indptr,
    items: Uint32Array.from(sequences.flatMap((sequence) => sequence.map((item) => dense.get(item)!))),
  });

  const part = (from: number, to: number): EvaluationPart => {
    const rows = Uint32Array.from({ length: to - from }, (_, r) => from + r);
    return {
      users: rows,
      historyEnds: rows.map((user) => Math.floor(0.8 * sequences[user]!.length)),
      targetEnds: rows.map((user) => sequences[user]!.length),
    };
  };
  const trainRows = Uint32Array.from({ length: trainUsers }, (_, user) => user);
  return {
    dataset: {
      fingerprint: createHash("sha256")
        .update(`planted-1:${JSON.stringify(config)}`)
        .digest("hex"),
      catalog,
      log,
      split: {
        protocol: "user-disjoint",
        train: { users: trainRows, ends: trainRows.map((user) => sequences[user]!.length) },
        valid: part(trainUsers, validEnd),
        test: part(validEnd, sequences.length),
      },
    },
    truth: Uint16Array.from([0, ...order.map((item) => truth[item]!)]),
  };
}

/** Drops users and items with fewer than `CORE` events until nothing changes. */
function iterativeCore(sequences: number[][]): number[][] {
  let current = sequences;
  for (;;) {
    const count = new Map<number, number>();
    for (const sequence of current) for (const item of sequence) count.set(item, (count.get(item) ?? 0) + 1);
    const next = current
      .map((sequence) => sequence.filter((item) => count.get(item)! >= CORE))
      .filter((sequence) => sequence.length >= CORE);
    const size = (lists: number[][]) => lists.reduce((sum, list) => sum + list.length, 0);
    if (size(next) === size(current)) return next;
    current = next;
  }
}

/** A sampler over 0..weights.length - 1 in proportion to `weights` (inverse transform on the cumulative sums). */
function categorical(weights: readonly number[]): (random: Random) => number {
  const cumulative = new Float64Array(weights.length);
  let total = 0;
  for (const [i, weight] of weights.entries()) {
    total += weight;
    cumulative[i] = total;
  }
  return (random) => {
    const at = random.uniform() * total;
    let low = 0;
    let high = weights.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle]! > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** `count` distinct integers of 0..limit - 1. */
function distinct(random: Random, count: number, limit: number): number[] {
  const chosen = new Set<number>();
  while (chosen.size < count) chosen.add(random.integer(0, limit));
  return [...chosen];
}

/** Gamma(shape, 1) for shape >= 1 (Marsaglia and Tsang, 2000); normalised gammas are a Dirichlet draw. */
function gamma(random: Random, shape: number): number {
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(1 - random.uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}
