// Proof that what a run does by default is sound on every kind of data: generated sets of few users, histories of five,
// repeats, no order and baskets, three draws each. `ldmi` by its recipe with the prior that validation chooses, beside every
// single model, on test users. Writes results/kinds-of-data.csv; exits with 1 where it is further below the best single model than a
// point and two paired standard errors. Usage: npm run proof -- kinds
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Dataset } from "@prismrec/core/data";
import { meanOf } from "@prismrec/core/interests";
import { pairedDifferences } from "@prismrec/core/metrics";
import { isMultiInterest, isScoring, type Model, PriorModel, scorerNamed } from "@prismrec/core/models";
import { defaultTrainConfig, evaluate, PriorJudge, train } from "@prismrec/trainer";
import { benchmarksRoot } from "../lib/paths.js";

const METRIC = "recall@20";
const DRAWS = [1, 2, 3];
const SCORERS = ["most-popular", "item-knn", "ease", "ials", "l3ae"];
const NETWORKS = ["ldmi", "sasrec", "comirec-sa"];
const PRIORS = ["item-knn", "ease", "l3ae"];

// The generators are the tests' own, and in no tarball.
const generators = join(benchmarksRoot, "..", "packages", "trainer", "dist", "testing", "kinds-of-data.js");
const { KINDS_OF_DATA } = (await import(pathToFileURL(generators).href)) as {
  readonly KINDS_OF_DATA: Readonly<Record<string, (seed: number) => Dataset>>;
};

async function valuesOf(model: Model, dataset: Dataset, part: "valid" | "test"): Promise<Float64Array> {
  const { perUser } = await evaluate(model, dataset, { part, metrics: [METRIC], diagnostics: false });
  return perUser[METRIC]!;
}

async function fitted(name: string, dataset: Dataset, judge?: (model: Model) => Promise<number>): Promise<Model> {
  const definition = scorerNamed(name);
  const choose = judge ?? (async (model: Model) => meanOf(await valuesOf(model, dataset, "valid")).mean);
  return (await definition.fit(dataset, definition.settings.parse({}), {}, choose)).model;
}

/** The network with the prior and weight that validation finds best; by itself where it finds none. */
async function withPrior(network: Model, dataset: Dataset): Promise<{ readonly model: Model; readonly name: string }> {
  if (!isMultiInterest(network)) throw new Error(`${network.name} takes no prior`);
  const judge = await PriorJudge.open(network, dataset, { cutoffs: [20] });
  let best = { model: network as Model, name: "none", value: judge.alone ?? 0 };
  for (const name of PRIORS) {
    const found = await fitted(name, dataset, async (model) => {
      const trials = isScoring(model) ? await judge.try(model) : [];
      return Math.max(...trials.map(({ value }) => value));
    });
    if (!isScoring(found)) continue;
    for (const { weight, value } of await judge.try(found)) {
      if (value <= best.value) continue;
      best = { model: new PriorModel(network, found, weight), name: `${name} ${weight}`, value };
    }
  }
  return best;
}

const rows = [
  ["kind", "draw", "users", "prior", "default", "best single", "its value", "difference", "s.e."].join(","),
];
let failed = false;
const folder = await mkdtemp(join(tmpdir(), "prismrec-kinds-"));
try {
  for (const [kind, make] of Object.entries(KINDS_OF_DATA)) {
    for (const draw of DRAWS) {
      const dataset = make(draw);
      const singles = new Map<string, Float64Array>();
      for (const name of SCORERS) singles.set(name, await valuesOf(await fitted(name, dataset), dataset, "test"));
      let own: Awaited<ReturnType<typeof withPrior>> | undefined;
      for (const name of NETWORKS) {
        const dir = join(folder, `${kind}-${draw}-${name}`);
        const { model } = await train({ dataset }, defaultTrainConfig(name, dataset, { seed: draw }), { dir });
        singles.set(name, await valuesOf(model, dataset, "test"));
        own ??= await withPrior(model, dataset);
      }
      if (own === undefined) throw new Error("no network was trained");
      const values = await valuesOf(own.model, dataset, "test");
      const means = [...singles].map(([name, single]) => ({ name, single, mean: meanOf(single).mean }));
      const best = means.reduce((a, b) => (b.mean > a.mean ? b : a));
      const { mean, standardError } = meanOf(pairedDifferences(values, best.single));
      if (mean < -Math.max(0.01, 2 * standardError)) failed = true;
      const figures = [meanOf(values).mean, best.mean, mean, standardError].map((value) => (100 * value).toFixed(2));
      rows.push([kind, draw, values.length, own.name, figures[0], best.name, ...figures.slice(1)].join(","));
      process.stdout.write(`${rows.at(-1)}\n`);
    }
  }
} finally {
  await rm(folder, { recursive: true });
}
await writeFile(join(benchmarksRoot, "results", "kinds-of-data.csv"), `${rows.join("\n")}\n`);
if (failed) process.exitCode = 1;
