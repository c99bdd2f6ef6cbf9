// Proof of what `prismrec run --llm none` gives with nothing else set: movietweetings-100k and steam of the shared data under
// their split.csv, five seeds, beside every single model with six trials of its settings, chosen on validation. Writes
// results/defaults.csv, and results/defaults-paired.csv: differences paired over test users, whose values are means over
// the seeds. Every model of a set and seed is kept in FOLDER, so that it goes on where it was stopped. Exits with 1 where
// it is not above a single model in recall@50 or ndcg@50. Takes hours.
// Usage: npm run proof -- defaults [FOLDER [SET ...]]     default: runs/defaults, both sets; a SET: a folder with
// interactions.csv, items.csv and perhaps split.csv, whose tables are written into FOLDER
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { writeJsonAtomic } from "@prismrec/core/base";
import type { Dataset } from "@prismrec/core/data";
import type { PartitionTable } from "@prismrec/core/interests";
import { holm, type PairedDifference, pairedBootstraps, wilcoxonSignedRank } from "@prismrec/core/metrics";
import { type Model, type SettingsRecord, scorerNamed } from "@prismrec/core/models";
import { defaultTrainConfig, evaluate, mergeSettings, train } from "@prismrec/trainer";
import { openRun, type Run, spentSteps } from "prismrec/pipeline";
import { benchmarksRoot } from "../lib/paths.js";

const SEEDS = [1, 2, 3, 4, 5];
const SETS = ["movietweetings-100k", "steam"];
const METRICS = ["recall@20", "ndcg@20", "recall@50", "ndcg@50"];
const JUDGED = ["recall@50", "ndcg@50"];
const DEFAULT = "ldmi";

const learningRate = (rate: number): SettingsRecord => ({ optimizer: { learningRate: rate } });
/** Six trials each. Those fitted at once draw nothing that a seed of the run decides. */
const SCORERS: Readonly<Record<string, readonly SettingsRecord[]>> = {
  ease: [50, 100, 250, 500, 1000, 2000].map((lambda) => ({ lambdas: [lambda] })),
  ials: [
    {},
    { alpha: 0.03 },
    { alpha: 0.3 },
    { regularization: 0.01 },
    { regularization: 0.1 },
    { factors: 128, regularization: 0.1 },
  ],
  "item-knn": [10, 20, 50, 100, 200, 500].map((neighbours) => ({ neighbours })),
  l3ae: [250, 500, 1000].flatMap((lambda) =>
    [0.25, 0.5].map((share) => ({ lambdas: [lambda], featureShares: [share] })),
  ),
};
const SASREC: readonly SettingsRecord[] = [
  {},
  { dropout: 0.5 },
  { dropout: 0.1 },
  learningRate(3e-4),
  learningRate(3e-3),
  { dropout: 0.5, ...learningRate(3e-4) },
];
const SINGLES = [...Object.keys(SCORERS), "sasrec"];

/** What one model did on the test users of a set under a seed. */
interface Result {
  readonly chosen: string;
  readonly prior?: string;
  /** Steps of everything that was trained, over those of one training. */
  readonly trainings?: number;
  /** Of all attempts together. */
  readonly cpuSeconds: number;
  readonly perUser: Readonly<Record<string, readonly number[]>>;
}

const read = async (path: string): Promise<unknown> => JSON.parse(await readFile(path, "utf8"));

/** A result that is kept, or is made and kept; `tick` notes what processor time an attempt has taken so far. */
async function kept(
  path: string,
  make: (tick: () => Promise<void>) => Promise<Omit<Result, "cpuSeconds">>,
): Promise<Result> {
  if (existsSync(path)) return (await read(path)) as Result;
  const clock = `${path}.cpu`;
  const former = existsSync(clock) ? Number(await read(clock)) : 0;
  const before = process.cpuUsage();
  const spent = (): number => {
    const { user, system } = process.cpuUsage(before);
    return former + (user + system) / 1e6;
  };
  const made = await make(() => writeJsonAtomic(clock, spent()));
  const result = { ...made, cpuSeconds: spent() };
  await writeJsonAtomic(path, result);
  await rm(clock, { force: true });
  return result;
}

async function perUserOf(
  model: Model,
  dataset: Dataset,
  part: "valid" | "test",
  partition?: PartitionTable,
): Promise<Record<string, number[]>> {
  const { perUser } = await evaluate(model, dataset, {
    part,
    metrics: METRICS,
    diagnostics: false,
    ...(partition === undefined ? {} : { partition }),
  });
  return Object.fromEntries(METRICS.map((metric) => [metric, [...perUser[metric]!]]));
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const worth = (perUser: Readonly<Record<string, readonly number[]>>): number =>
  JUDGED.reduce((sum, metric) => sum + mean(perUser[metric]!), 0);

/** The best of trials by validation recall + ndcg. */
async function bestOf(
  trials: readonly SettingsRecord[],
  dataset: Dataset,
  make: (settings: SettingsRecord, trial: number) => Promise<Model>,
): Promise<{ readonly settings: SettingsRecord; readonly model: Model }> {
  let best: { readonly settings: SettingsRecord; readonly model: Model; readonly value: number } | undefined;
  for (const [trial, settings] of trials.entries()) {
    const model = await make(settings, trial);
    const value = worth(await perUserOf(model, dataset, "valid"));
    if (best === undefined || value > best.value) best = { settings, model, value };
  }
  if (best === undefined) throw new Error("there is nothing to try");
  return best;
}

function openDefault(folder: string, set: string, seed: number, onEpoch?: () => void): Promise<Run> {
  const splitFile = join(set, "split.csv");
  const settings = {
    interactions: join(set, "interactions.csv"),
    items: join(set, "items.csv"),
    ...(existsSync(splitFile) ? { splitFile } : {}),
    llm: "none",
    baselines: [],
    seed,
  };
  return openRun(join(folder, `run-${seed}`), settings, {
    onEvent: (event) => {
      if (event.type === "training" && event.event.type === "epoch") onEpoch?.();
    },
  });
}

/** `prismrec run`, and its network by itself. */
async function runDefault(
  folder: string,
  set: string,
  seed: number,
): Promise<{ readonly own: Result; readonly alone: Result }> {
  const own = await kept(join(folder, `${DEFAULT}-${seed}.json`), async (tick) => {
    await using run = await openDefault(folder, set, seed, () => void tick().catch(() => undefined));
    await run.run({ to: "prior" });
    const { dataset } = await run.open("import");
    const { partitions } = await (await run.open("cluster")).contents();
    const served = await run.open("prior");
    const { rounds, chosen } = (await run.open("tune")).result;
    const once = rounds[0]!.trials[0]!.steps;
    const settings = chosen.length === 0 ? "recipe" : chosen.join(" and ");
    const prior = served.choice.chosen;
    return {
      chosen: served.choice.folds === 0 ? settings : `${settings}; ${served.choice.folds} folds`,
      prior: prior === null ? "none" : `${prior.prior} ${prior.weight}`,
      trainings: (spentSteps({ rounds }) + served.choice.steps) / once,
      perUser: await perUserOf(await served.model(), dataset, "test", partitions?.test),
    };
  });
  const alone = await kept(join(folder, `${DEFAULT}-alone-${seed}.json`), async () => {
    await using run = await openDefault(folder, set, seed);
    const { dataset } = await run.open("import");
    const { partitions } = await (await run.open("cluster")).contents();
    const network = await run.open("train");
    return { chosen: own.chosen, perUser: await perUserOf(await network.model(), dataset, "test", partitions?.test) };
  });
  return { own, alone };
}

function scorer(folder: string, name: string, dataset: Dataset): Promise<Result> {
  const definition = scorerNamed(name);
  return kept(join(folder, `${name}.json`), async () => {
    const { settings, model } = await bestOf(
      SCORERS[name]!,
      dataset,
      async (trial) => (await definition.fit(dataset, definition.settings.parse(trial) as SettingsRecord)).model,
    );
    return { chosen: JSON.stringify(settings), perUser: await perUserOf(model, dataset, "test") };
  });
}

async function sasrec(folder: string, dataset: Dataset): Promise<Result[]> {
  const steps: number[] = [];
  const trainedOn = async (settings: SettingsRecord, seed: number, dir: string, tick: () => Promise<void>) => {
    const config = defaultTrainConfig("sasrec", dataset, mergeSettings({ seed }, settings));
    const found = await train({ dataset }, config, {
      dir: join(folder, dir),
      onEvent: ({ type }) => {
        if (type === "epoch") void tick().catch(() => undefined);
      },
    });
    steps.push(found.steps);
    return found.model;
  };
  const first = await kept(join(folder, `sasrec-${SEEDS[0]}.json`), async (tick) => {
    const { settings, model } = await bestOf(SASREC, dataset, (trial, n) =>
      trainedOn(trial, SEEDS[0]!, `sasrec-trial-${n + 1}`, tick),
    );
    const trainings = steps.reduce((sum, own) => sum + own, 0) / steps[0]!;
    const perUser = await perUserOf(model, dataset, "test");
    return { chosen: JSON.stringify(settings), trainings, perUser };
  });
  const results = [first];
  for (const seed of SEEDS.slice(1)) {
    const other = await kept(join(folder, `sasrec-${seed}.json`), async (tick) => {
      const model = await trainedOn(JSON.parse(first.chosen) as SettingsRecord, seed, `sasrec-seed-${seed}`, tick);
      return { chosen: first.chosen, trainings: 1, perUser: await perUserOf(model, dataset, "test") };
    });
    results.push(other);
  }
  return results;
}

const quoted = (text: string): string => (/[",]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const [given = join(benchmarksRoot, "..", "runs", "defaults"), ...own] = process.argv.slice(3);
const shared = resolve(benchmarksRoot, "..", process.env.PRISMREC_SHARED ?? "../shared", "data");
const folder = resolve(given);
const sets = own.length > 0 ? own.map((path) => resolve(path)) : SETS.map((name) => join(shared, name));
const tables = own.length > 0 ? folder : join(benchmarksRoot, "results");

const HEADER = ["set", "seed", "model", "prior", ...METRICS, "chosen", "trainings", "cpu seconds"];
const rows = [HEADER.join(",")];
const PAIRED = ["set", "metric", "single", "default", "its value", "difference", "low", "high", "p", "p by Holm"];
const paired = [PAIRED.join(",")];
let ahead = true;

async function note(set: string, seed: number | string, model: string, result: Result): Promise<void> {
  const { prior = "", perUser, chosen, trainings, cpuSeconds } = result;
  const figures = METRICS.map((metric) => mean(perUser[metric]!).toFixed(4));
  const spent = [trainings?.toFixed(2) ?? "", cpuSeconds.toFixed(0)];
  rows.push([set, seed, model, prior, ...figures, quoted(chosen), ...spent].join(","));
  process.stdout.write(`${rows.at(-1)}\n`);
  await writeFile(join(tables, "defaults.csv"), `${rows.join("\n")}\n`);
}

/** [users] the mean over the seeds. */
function overSeeds(results: readonly Result[], metric: string): Float64Array {
  const all = results.map(({ perUser }) => perUser[metric]!);
  return Float64Array.from(all[0]!, (_, u) => mean(all.map((values) => values[u]!)));
}

async function compare(set: string, defaults: readonly Result[], singles: ReadonlyMap<string, readonly Result[]>) {
  for (const metric of METRICS) {
    const values = overSeeds(defaults, metric);
    const pairs = Object.fromEntries(
      [...singles].map(([name, results]) => [name, [values, overSeeds(results, metric)] as const]),
    );
    const differences: Record<string, PairedDifference> = await pairedBootstraps(pairs);
    const p = Object.fromEntries(
      Object.entries(pairs).map(([name, [a, b]]) => [name, wilcoxonSignedRank(a, b).pValue]),
    );
    const corrected = holm(p);
    for (const [name, { mean: above, low, high }] of Object.entries(differences)) {
      if (JUDGED.includes(metric) && above <= 0) ahead = false;
      const figures = [mean([...values]), mean([...pairs[name]![1]]), above, low, high];
      const points = figures.map((value) => (100 * value).toFixed(2));
      paired.push([set, metric, name, ...points, p[name]!.toFixed(4), corrected[name]!.toFixed(4)].join(","));
    }
  }
  await writeFile(join(tables, "defaults-paired.csv"), `${paired.join("\n")}\n`);
}

for (const set of sets) {
  const name = basename(set);
  const place = join(folder, name);
  await mkdir(place, { recursive: true });
  const defaults: Result[] = [];
  for (const seed of SEEDS) {
    const { own: found, alone } = await runDefault(place, set, seed);
    defaults.push(found);
    await note(name, seed, DEFAULT, found);
    await note(name, seed, `${DEFAULT}-alone`, alone);
  }
  await using run = await openDefault(place, set, SEEDS[0]!);
  const { dataset } = await run.open("import");
  const singles = new Map<string, readonly Result[]>();
  for (const single of SINGLES) {
    const results = single === "sasrec" ? await sasrec(place, dataset) : [await scorer(place, single, dataset)];
    singles.set(single, results);
    for (const [n, result] of results.entries()) {
      await note(name, results.length === 1 ? "" : SEEDS[n]!, single, result);
    }
  }
  await compare(name, defaults, singles);
}
if (!ahead) process.exitCode = 1;
