// Proof of what serving a prior leaves out: the spread over up to 1,024 fixed items instead of all, and whole rows cut to
// a user's largest entries, on the test users of finished runs that have chosen a prior. Writes
// results/prior.csv; exits with 1 where a figure is more than BAR away from the exact one.
// Usage: npm run proof -- prior RUN [RUN ...]
import { writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { isMultiInterest, isScoring, PriorModel, type PriorOptions } from "@prismrec/core/models";
import { evaluate } from "@prismrec/trainer";
import { openRun } from "prismrec/pipeline";
import { benchmarksRoot } from "../lib/paths.js";

const BAR = 0.005;
const METRICS = ["recall@20", "ndcg@20", "recall@50", "ndcg@50"];

const FORMS = (items: number): readonly (readonly [string, PriorOptions])[] => {
  const all = Uint32Array.from({ length: items }, (_, place) => place);
  return [
    ["all items, whole rows", { measured: all }],
    ["as served", {}],
    ["400 entries", { entries: 400 }],
    ["200 entries", { entries: 200 }],
    ["100 entries", { entries: 100 }],
  ];
};

const rows = [["run", "prior", "weight", "users", "form", ...METRICS].join(",")];
let worst = 0;
for (const dir of process.argv.slice(3)) {
  await using run = await openRun(dir, undefined, { readOnly: true });
  const { dataset } = await run.open("import");
  const { partitions } = await (await run.open("cluster")).contents();
  const { choice, added } = await run.open("prior");
  const trained = await run.open("train");
  const [network, prior] = [await trained.model(), await added?.model()];
  if (prior === undefined || choice.chosen === null || !isScoring(prior) || !isMultiInterest(network)) {
    process.stdout.write(`${dir}: no prior was chosen\n`);
    continue;
  }
  const { prior: name, weight } = choice.chosen;
  let exact: readonly number[] | undefined;
  for (const [form, options] of FORMS(dataset.catalog.size)) {
    using model = new PriorModel(network, prior, weight, options);
    const { metrics, users } = await evaluate(model, dataset, {
      part: "test",
      metrics: METRICS,
      diagnostics: false,
      ...(trained.readsClusters && partitions !== undefined ? { partition: partitions.test } : {}),
    });
    const values = METRICS.map((metric) => metrics[metric]!);
    exact ??= values;
    if (form === "as served") worst = Math.max(worst, ...values.map((value, n) => Math.abs(value - exact![n]!)));
    rows.push([basename(dir), name, weight, users.length, form, ...values.map((value) => value.toFixed(4))].join(","));
    process.stdout.write(`${rows.at(-1)}\n`);
  }
}
await writeFile(join(benchmarksRoot, "results", "prior.csv"), `${rows.join("\n")}\n`);
if (worst > BAR) process.exitCode = 1;
