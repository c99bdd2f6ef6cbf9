import { realpath } from "node:fs/promises";
import { basename, resolve } from "node:path";
import { PrismrecError, type RunOptions, suggest } from "@prismrec/core/base";
import { type Dataset, evaluationCases, userItems } from "@prismrec/core/data";
import { meanOf } from "@prismrec/core/interests";
import type { PairedDifference } from "@prismrec/core/metrics";
import { count } from "../format.js";
import { differenceSentence, type EvaluationReport, type PerUser, pairedByMetric, significance } from "./evaluate.js";
import { headlineMetric } from "./metrics.js";
import type { Run } from "./run.js";

/** How a system differs from the baseline in one metric. */
export interface SystemDifference extends PairedDifference {
  /** Wilcoxon's signed-rank test, two-sided. */
  readonly pValue: number;
  /** For all systems that are held against the baseline together (Holm), in this metric. */
  readonly adjusted: number;
}

/** A model as it was judged, and where. */
export interface ComparedSystem {
  readonly run: string;
  readonly model: string;
  /** What is added to its scores, as it was judged. */
  readonly prior: EvaluationReport["prior"];
  readonly seed: number;
  readonly means: Readonly<Record<string, number>>;
  /** This one minus the baseline, paired over test users; absent for the baseline itself. */
  readonly minusBaseline?: Readonly<Record<string, SystemDifference>>;
}

export interface Comparison {
  /** A name of `systems`, the first of them. */
  readonly baseline: string;
  /** Test users. */
  readonly users: number;
  /** Those that every system was judged by. */
  readonly metrics: readonly string[];
  readonly systems: Readonly<Record<string, ComparedSystem>>;
}

export interface CompareOptions extends RunOptions {
  /** A run, by its path or its name, or a model that a run has judged; default: the first run. */
  readonly baseline?: string | undefined;
  /** Where a relative path of the baseline begins; default: the process's own folder. */
  readonly cwd?: string;
  readonly onWarning?: (text: string) => void;
}

/** A system with its metrics of each test user, in the order of the first run's. */
interface Judged extends Omit<ComparedSystem, "means" | "minusBaseline"> {
  readonly name: string;
  readonly perUser: Readonly<Record<string, Float64Array>>;
}

/**
 * Compares the own models of finished runs, paired over the test users that all of them were judged on: every metric that
 * they share, with bootstrap intervals and signed-rank tests against one baseline. Resamples go by the first run's settings.
 *
 * @param runs two, or one and a `baseline` that is another model
 * @throws PrismrecError INVALID_ARGUMENT for a run that is given twice, too few of them, an unknown baseline, and runs
 *   that share no metric; SPLIT_INVALID where they were judged on different data, with what differs; RUN_INVALID for a run that
 *   is not evaluated
 */
export async function compareRuns(runs: readonly Run[], options: CompareOptions = {}): Promise<Comparison> {
  const [first, ...others] = runs;
  if (first === undefined) throw tooFew(0);
  await requireDistinct(runs);
  const names = distinctNames(runs.map(({ path }) => path));
  const evaluations = new Map<string, EvaluationReport>();
  // What is missing is told before anything long is read.
  for (const [n, run] of runs.entries()) evaluations.set(names[n]!, (await run.open("evaluate")).report);
  const { dataset } = await first.open("import");
  const rows = [Array.from(dataset.split.test.users.keys())];
  for (const [n, run] of others.entries()) {
    options.signal?.throwIfAborted();
    const other = (await run.open("import")).dataset;
    const differing = whatDiffers(dataset, other);
    if (differing.length > 0) throw different(names[0]!, names[n + 1]!, differing);
    rows.push(rowsOf(dataset, other));
  }
  const judged: Judged[] = [];
  const judge = async (n: number, model: string, name: string): Promise<Judged> => {
    const { models, own, prior, protocol } = evaluations.get(names[n]!)!;
    const values = await (await runs[n]!.open("evaluate")).perUser();
    const perUser = Object.fromEntries(
      Object.keys(models[model] ?? {}).map((metric) => {
        const column = values.get(`${model}/${metric}`, Float64Array);
        return [metric, Float64Array.from(rows[n]!, (row) => column[row]!)];
      }),
    );
    return { name, run: runs[n]!.path, model, prior: model === own ? prior : null, seed: protocol.seed, perUser };
  };
  for (const [n, name] of names.entries()) judged.push(await judge(n, evaluations.get(name)!.own, name));
  const base = baselineOf(options.baseline, options.cwd ?? process.cwd(), {
    names,
    paths: runs.map(({ path }) => path),
    evaluations,
  });
  if (base.model !== undefined) judged.unshift(await judge(base.at, base.model, `${base.model} of ${names[base.at]}`));
  else judged.unshift(...judged.splice(base.at, 1));
  if (judged.length < 2) throw tooFew(1);
  const { evaluate, seed } = first.settings;
  return compareSystems(judged, { ...options, samples: evaluate.resamples, seed });
}

/** Every system against the first, over the same users. */
async function compareSystems(
  judged: readonly Judged[],
  { samples, seed, onWarning, ...run }: CompareOptions & { readonly samples: number; readonly seed: number },
): Promise<Comparison> {
  const [baseline, ...others] = judged as [Judged, ...Judged[]];
  const all = [...new Set(judged.flatMap(({ perUser }) => Object.keys(perUser)))];
  const metrics = all.filter((metric) => judged.every(({ perUser }) => perUser[metric] !== undefined));
  if (metrics.length === 0) {
    throw new PrismrecError("INVALID_ARGUMENT", "these runs were judged by different metrics", {
      expected: "at least one metric that all share",
      received: judged.map(({ name, perUser }) => `${name}: ${Object.keys(perUser).join(", ")}`).join("; "),
      hint: "Set evaluate.cutoffs alike in each run's configuration, then prismrec evaluate RUN.",
    });
  }
  const left = all.filter((metric) => !metrics.includes(metric));
  if (left.length > 0) onWarning?.(`${left.join(", ")} left out: not every run was judged by it`);
  const shared = ({ perUser }: Judged) => Object.fromEntries(metrics.map((metric) => [metric, perUser[metric]!]));
  const evaluations: PerUser = new Map(judged.map((system) => [system.name, { perUser: shared(system) }]));
  const differences = await pairedByMetric(
    new Map(others.map((system) => [system.name, [shared(system), shared(baseline)] as const])),
    { samples, seed, ...run },
  );
  const tests = significance(baseline.name, evaluations);
  const described = judged.map(({ name, perUser, ...system }): [string, ComparedSystem] => {
    const own = differences[name];
    const means = Object.fromEntries(metrics.map((metric) => [metric, meanOf(perUser[metric]!).mean]));
    if (own === undefined) return [name, { ...system, means }];
    const minusBaseline = metrics.map((metric) => [metric, { ...own[metric]!, ...tests[name]![metric]! }]);
    return [name, { ...system, means, minusBaseline: Object.fromEntries(minusBaseline) }];
  });
  return {
    baseline: baseline.name,
    users: baseline.perUser[metrics[0]!]!.length,
    metrics,
    systems: Object.fromEntries(described),
  };
}

interface Known {
  readonly names: readonly string[];
  readonly paths: readonly string[];
  readonly evaluations: ReadonlyMap<string, EvaluationReport>;
}

/** Which run's own model is the baseline, or with `model` which other model of that run. */
function baselineOf(
  asked: string | undefined,
  cwd: string,
  { names, paths, evaluations }: Known,
): { readonly at: number; readonly model?: string } {
  if (asked === undefined) return { at: 0 };
  const at = names.findIndex((name, n) => name === asked || paths[n] === resolve(cwd, asked));
  if (at >= 0) return { at };
  const has = names.findIndex((name) => evaluations.get(name)?.models[asked] !== undefined);
  if (has >= 0) return evaluations.get(names[has]!)?.own === asked ? { at: has } : { at: has, model: asked };
  const models = [...new Set([...evaluations.values()].flatMap(({ models }) => Object.keys(models)))];
  const near = suggest(asked, [...names, ...models]);
  throw new PrismrecError("INVALID_ARGUMENT", `there is no run and no model ${asked} to be the baseline`, {
    expected: `a run (${names.join(", ")}) or a model (${models.join(", ")})`,
    received: asked,
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}

async function requireDistinct(runs: readonly Run[]): Promise<void> {
  const seen = new Set<string>();
  for (const { path } of runs) {
    const real = await realpath(path);
    if (seen.has(real)) {
      throw new PrismrecError("INVALID_ARGUMENT", "a run is named twice", {
        expected: "runs that are not the same folder",
        received: path,
        hint: "A run cannot differ from itself. Give each run once.",
      });
    }
    seen.add(real);
  }
}

function tooFew(given: number): PrismrecError {
  return new PrismrecError("INVALID_ARGUMENT", "there is nothing to compare with", {
    expected: "two runs, or one run and --baseline with another model of it",
    received: given === 0 ? "no run" : "one run",
  });
}

/** The last part of each path where these differ, else the paths. */
function distinctNames(paths: readonly string[]): string[] {
  const short = paths.map((path) => basename(path));
  return new Set(short).size === short.length ? short : [...paths];
}

/** What two datasets do not share of all that decides what a metric says, in words; nothing where they are alike. */
function whatDiffers(a: Dataset, b: Dataset): string[] {
  const idsOf = (dataset: Dataset, part: "train" | "valid" | "test"): string[] =>
    Array.from(dataset.split[part].users, (user) => dataset.log.userIds[user]!);
  const catalogOf = ({ catalog }: Dataset): string[] => catalog.items.slice(1).map(({ id }) => id);
  const found = [
    setDifference("items of the catalog", catalogOf(a), catalogOf(b)),
    setDifference("test users", idsOf(a, "test"), idsOf(b, "test")),
    setDifference("training users", idsOf(a, "train"), idsOf(b, "train")),
    setDifference("validation users", idsOf(a, "valid"), idsOf(b, "valid")),
  ].filter((text) => text !== undefined);
  if (found.length > 0) return found;
  const events = [
    ["what is read of and asked from test users", judgedEvents("test")],
    ["what is read of and asked from validation users", judgedEvents("valid")],
    ["what training users did", trainingEvents],
  ] as const;
  return events.flatMap(([what, of]) => {
    const [left, right] = [of(a), of(b)];
    const differing = [...left].filter(([user, text]) => right.get(user) !== text).length;
    return differing === 0 ? [] : [`${what} (${count(differing)} of ${count(left.size)} differ)`];
  });
}

function setDifference(what: string, a: readonly string[], b: readonly string[]): string | undefined {
  const other = new Set(b);
  const both = a.filter((id) => other.has(id)).length;
  if (both === a.length && both === b.length) return undefined;
  return `${what} (${count(a.length)} and ${count(b.length)}, ${count(both)} in both)`;
}

/** By user: the history that a list is made for, and the targets that it is judged by. */
function judgedEvents(part: "valid" | "test"): (dataset: Dataset) => ReadonlyMap<string, string> {
  return (dataset) =>
    new Map(
      evaluationCases(dataset, part).map(({ user, history, targets }) => [
        dataset.log.userIds[user]!,
        JSON.stringify([history, targets].map((items) => externalIds(dataset, items))),
      ]),
    );
}

function trainingEvents(dataset: Dataset): ReadonlyMap<string, string> {
  const { log, split } = dataset;
  return new Map(
    Array.from(split.train.users, (user, row) => [
      log.userIds[user]!,
      JSON.stringify(externalIds(dataset, userItems(log, user).subarray(0, split.train.ends[row]))),
    ]),
  );
}

function externalIds({ catalog }: Dataset, items: Uint32Array): string[] {
  return Array.from(items, (item) => catalog.items[item]!.id);
}

function different(first: string, other: string, differing: readonly string[]): PrismrecError {
  return new PrismrecError("SPLIT_INVALID", `${first} and ${other} were not judged on the same data`, {
    expected: "runs with the same items, users and split",
    received: `they differ in ${differing.join("; ")}`,
    hint: "Runs of the same files have one split whatever their --seed; --split-file, --protocol and columns decide it.",
  });
}

/** Where each test user of `a` stands among those of `b`, who are the same. */
function rowsOf(a: Dataset, b: Dataset): number[] {
  const places = new Map(Array.from(b.split.test.users, (user, row) => [b.log.userIds[user]!, row]));
  return Array.from(a.split.test.users, (user) => places.get(a.log.userIds[user]!)!);
}

/** One sentence for each system: does it differ from the baseline? */
export function comparisonVerdicts({ baseline, metrics, systems }: Comparison): string[] {
  const metric = headlineMetric(Object.fromEntries(metrics.map((name) => [name, name]))) ?? metrics[0]!;
  return Object.entries(systems).flatMap(([name, { minusBaseline }]) => {
    const difference = minusBaseline?.[metric];
    return difference === undefined ? [] : [differenceSentence(name, baseline, metric, difference, difference)];
  });
}
