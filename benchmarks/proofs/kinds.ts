// Proof that what a run does by default is sound on every kind of data: generated sets of few users, histories of five,
// repeats, no order and baskets, three draws each. `ldmi` by its recipe with the prior that validation chooses, beside every
// single model, on test users. Writes results/kinds-of-data.csv; exits with 1 where it is further below the best single model than a
// point and two paired standard errors. Goes on where it was stopped. Usage: npm run proof -- kinds [--fresh]
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Dataset } from "@prismrec/core/data";
import { meanOf } from "@prismrec/core/interests";
import { pairedDifferences } from "@prismrec/core/metrics";
import { MODELS, type Model, PriorModel, type SettingsRecord, scorerNamed } from "@prismrec/core/models";
import {
  asPrior,
  defaultTrainConfig,
  evaluate,
  PriorChoice,
  PriorJudge,
  type TrainConfig,
  type TrainResult,
  train,
  trainFolds,
} from "@prismrec/trainer";
import { benchmarksRoot } from "../lib/paths.js";

const CUTOFF = 20;
const METRIC = `recall@${CUTOFF}`;
const DRAWS = [1, 2, 3];
const SCORERS = ["most-popular", "item-knn", "ease", "ials", "l3ae"];
const NETWORKS = ["ldmi", "sasrec"];
/** Steps that choosing may take, as a multiple of those of the training. */
const BUDGET = 2;

// The generators are the tests' own, and in no tarball.
const generators = join(benchmarksRoot, "..", "packages", "trainer", "dist", "testing", "kinds-of-data.js");
const { KINDS_OF_DATA } = (await import(pathToFileURL(generators).href)) as {
  readonly KINDS_OF_DATA: Readonly<Record<string, (seed: number) => Dataset>>;
};

async function valuesOf(model: Model, dataset: Dataset, part: "valid" | "test"): Promise<Float64Array> {
  const { perUser } = await evaluate(model, dataset, { part, metrics: [METRIC], diagnostics: false });
  return perUser[METRIC]!;
}

async function fitted(name: string, dataset: Dataset): Promise<Model> {
  const definition = scorerNamed(name);
  const choose = async (model: Model) => meanOf(await valuesOf(model, dataset, "valid")).mean;
  return (await definition.fit(dataset, definition.settings.parse({}), {}, choose)).model;
}

/** The network with the prior and weight that a run chooses by default; by itself where it finds none. */
async function withPrior(
  trained: TrainResult,
  dataset: Dataset,
  config: TrainConfig,
  dir: string,
): Promise<{ readonly model: Model; readonly name: string; readonly users: number }> {
  const { model: network, bestEpoch, steps, curve } = trained;
  const cutoffs = [CUTOFF];
  const own = { config, bestEpoch, steps, epochs: curve.length };
  const folds = await trainFolds({ dataset }, own, { dir, budget: BUDGET * steps, cutoffs });
  const judge = await PriorJudge.open(network, dataset, { cutoffs });
  const choice = new PriorChoice({ learn: dataset, judge }, folds.parts);
  const fitted = new Map<string, Model>();
  for (const definition of MODELS) {
    if (definition.kind !== "scorer" || (definition.priorUpTo ?? 0) < dataset.catalog.size) continue;
    fitted.set(definition.name, (await choice.try(definition, record(definition.settings.parse({})))).model);
  }
  const { chosen, users } = choice;
  const prior = chosen === null ? undefined : fitted.get(chosen.prior);
  if (prior === undefined || chosen === null) return { model: network, name: "none", users };
  return {
    model: new PriorModel(network, asPrior(prior), chosen.weight),
    name: `${chosen.prior} ${chosen.weight}`,
    users,
  };
}

const record = (settings: unknown): SettingsRecord => ({ ...(settings as SettingsRecord) });

const HEADER = [
  "kind",
  "draw",
  "users",
  "choosing",
  "prior",
  "default",
  "best single",
  "its value",
  "difference",
  "s.e.",
];
const path = join(benchmarksRoot, "results", "kinds-of-data.csv");
// What an interrupted proof has written is gone on from: `--fresh` begins anew.
const former = process.argv.includes("--fresh") ? "" : await readFile(path, "utf8").catch(() => "");
const kept = new Map(former.split("\n").map((line) => [line.split(",").slice(0, 2).join(","), line]));
const rows = [HEADER.join(",")];
let failed = false;

function note(row: readonly string[]): void {
  rows.push(row.join(","));
  process.stdout.write(`${rows.at(-1)}\n`);
  const [difference, standardError] = row.slice(-2).map(Number);
  if (difference! < -Math.max(1, 2 * standardError!)) failed = true;
}

const folder = await mkdtemp(join(tmpdir(), "prismrec-kinds-"));
try {
  for (const [kind, make] of Object.entries(KINDS_OF_DATA)) {
    for (const draw of DRAWS) {
      const before = kept.get(`${kind},${draw}`)?.split(",");
      if (before?.length === HEADER.length) {
        note(before);
        continue;
      }
      const dataset = make(draw);
      const singles = new Map<string, Float64Array>();
      for (const name of SCORERS) singles.set(name, await valuesOf(await fitted(name, dataset), dataset, "test"));
      let own: Awaited<ReturnType<typeof withPrior>> | undefined;
      for (const name of NETWORKS) {
        const dir = join(folder, `${kind}-${draw}-${name}`);
        const config = defaultTrainConfig(name, dataset, { seed: draw });
        const trained = await train({ dataset }, config, { dir });
        singles.set(name, await valuesOf(trained.model, dataset, "test"));
        own ??= await withPrior(trained, dataset, config, `${dir}-folds`);
      }
      if (own === undefined) throw new Error("no network was trained");
      const values = await valuesOf(own.model, dataset, "test");
      const means = [...singles].map(([name, single]) => ({ name, single, mean: meanOf(single).mean }));
      const best = means.reduce((a, b) => (b.mean > a.mean ? b : a));
      const { mean, standardError } = meanOf(pairedDifferences(values, best.single));
      const figures = [meanOf(values).mean, best.mean, mean, standardError].map((value) => (100 * value).toFixed(2));
      note([kind, draw, values.length, own.users, own.name, figures[0], best.name, ...figures.slice(1)].map(String));
      await writeFile(path, `${rows.join("\n")}\n`);
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
if (failed) process.exitCode = 1;
