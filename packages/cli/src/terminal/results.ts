import { EXPOSURE } from "../exposure.js";
import { count, points, signedPoints } from "../format.js";
import { type Ablation, minusThis } from "../pipeline/ablate.js";
import { type Comparison, comparisonVerdicts } from "../pipeline/compare.js";
import { type EvaluationReport, probability, verdicts } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";
import type { TuneResult } from "../pipeline/tune.js";
import { plain, type Style } from "./style.js";
import { formatTable } from "./table.js";

/** The metric table in percent, the run's own model first, and the paired verdicts below it. */
export function metricTable(report: EvaluationReport, style: Style, width?: number): string {
  const names = Object.keys(Object.values(report.models)[0] ?? {});
  const rows = Object.entries(report.models).map(([model, values]) => [
    model === report.own ? style.bold(model) : model,
    ...names.map((name) => points(values[name] ?? 0)),
  ]);
  const table = formatTable(
    [{ title: "%, test users" }, ...names.map((title) => ({ title, align: "right" as const }))],
    rows,
    width,
  );
  return [table, "", ...verdicts(report).map((line) => `  ${line}`)].join("\n");
}

/** What the lists of each model do to the catalog, whatever they hit; undefined where nobody has measured it. */
export function exposureTable({ exposure, own }: EvaluationReport, style: Style, width?: number): string | undefined {
  const [first] = Object.values(exposure);
  if (first === undefined) return undefined;
  return formatTable(
    [{ title: `lists of ${first.n}` }, ...EXPOSURE.map(({ title }) => ({ title, align: "right" as const }))],
    Object.entries(exposure).map(([model, values]) => [
      model === own ? style.bold(model) : model,
      ...EXPOSURE.map(({ key, text }) => text(values[key])),
    ]),
    width,
  );
}

/** Whether named interests fit the items; undefined where no model can be asked. */
export function explanationTable({ explanations, own }: EvaluationReport, style: Style): string | undefined {
  const models = Object.entries(explanations);
  if (models.length === 0) return undefined;
  return formatTable(
    [
      { title: "named interests" },
      { title: "judged by" },
      { title: "right %", align: "right" },
      { title: "at random %", align: "right" },
      { title: "difference ± s.e.", align: "right" },
      { title: "users", align: "right" },
    ],
    models.map(([model, { by, right, random, standardError, users }]) => [
      model === own ? style.bold(model) : model,
      by,
      points(right, 1),
      points(random, 1),
      `${points(right - random, 1)} ±${points(standardError, 1)}`,
      count(users),
    ]),
  );
}

export function recoveryTable({ recovery = [] }: EvaluationReport): string {
  return formatTable(
    [
      { title: "interest recovery" },
      { title: "ARI", align: "right" },
      { title: "± s.e.", align: "right" },
      { title: "users", align: "right" },
    ],
    recovery.map(({ clusterer, control, ari, standardError, users }) => [
      control ? `  ${clusterer} (control)` : clusterer,
      ari.toFixed(3),
      standardError.toFixed(3),
      count(users),
    ]),
  );
}

/**
 * The whole `model` beside what it is held against, mean and standard error over seeds, and the verdicts paired over users
 * below; undefined where there is nothing to hold it against.
 */
export function ablationBaselines(
  { variants, baselines }: Ablation,
  model: string,
  width?: number,
): string | undefined {
  const others = Object.entries(baselines);
  if (others.length === 0) return undefined;
  const whole = variants[model];
  const all = [...(whole === undefined ? [] : [[model, whole] as const]), ...others];
  const cut = Object.keys(others[0]?.[1].mean ?? {}).filter((name) => /^(recall|ndcg)@/.test(name));
  const table = formatTable(
    [
      { title: "%, over seeds" },
      { title: "seeds", align: "right" },
      ...cut.map((title) => ({ title, align: "right" as const })),
    ],
    all.map(([name, { trials, mean, standardError }]) => [
      name,
      trials[0]?.seed === undefined ? "–" : String(trials.length),
      ...cut.map((key) => {
        const error = trials.length < 2 ? "" : ` ±${points(standardError[key] ?? 0)}`;
        return `${points(mean[key] ?? 0)}${error}`;
      }),
    ]),
    width,
  );
  if (whole === undefined) return table;
  const comparisons = Object.fromEntries(others.map(([name, summary]) => [name, summary[minusThis(model)] ?? {}]));
  const lines = verdicts({ own: model, comparisons, significance: comparisons });
  return [table, "", ...lines.map((line) => `  ${line}`)].join("\n");
}

/** The variants of `model` beside one another: test metrics, what the whole model has above each, how interests look. */
export function ablationTable({ variants }: Ablation, model: string, width?: number): string {
  const all = Object.values(variants);
  const cut = Object.keys(all[0]?.trials[0]?.metrics ?? {}).filter((name) => /^(recall|ndcg)@/.test(name));
  const shown = [
    ["interestCosine", "cosine"],
    ["assignmentEntropy", "H/ln K"],
    ["semanticMass", "semantic"],
    ["gate", "gate"],
  ].filter(([key = ""]) => all.some(({ mean }) => mean[key] !== undefined));
  const error = (summary: (typeof all)[number], key: string): string =>
    summary.trials.length < 2 ? "" : ` ±${points(summary.standardError[key] ?? 0)}`;
  const headline = headlineMetric(all[0]?.mean ?? {}) ?? "";
  return formatTable(
    [
      { title: `% (${all[0]?.trials.length ?? 0} seeds)` },
      ...cut.map((title) => ({ title, align: "right" as const })),
      { title: `${model} − this (${headline})`, align: "right" },
      ...shown.map(([, title = ""]) => ({ title, align: "right" as const })),
    ],
    Object.entries(variants).map(([name, summary]) => {
      const difference = summary[minusThis(model)]?.[headline];
      return [
        name,
        ...cut.map((key) => `${points(summary.mean[key] ?? 0)}${error(summary, key)}`),
        difference === undefined ? "" : `${points(difference.mean)} ±${points(difference.standardError)}`,
        ...shown.map(([key = ""]) => summary.mean[key]?.toFixed(3) ?? "–"),
      ];
    }),
    width,
  );
}

/** Systems beside a baseline, metric by metric, and one sentence for each in the metric that a sentence speaks of. */
export function comparisonTable(comparison: Comparison, style: Style, width?: number): string {
  const { baseline, users, metrics, systems } = comparison;
  const all = Object.entries(systems);
  const rows = metrics.flatMap((metric) => [
    [style.bold(metric), "", "", "", ""],
    ...all.map(([name, { means, minusBaseline }]) => {
      const difference = minusBaseline?.[metric];
      const mean = points(means[metric]!);
      if (difference === undefined) return [`  ${plain(name)}`, mean, "", "", ""];
      const range = `${signedPoints(difference.low)} to ${signedPoints(difference.high)}`;
      return [
        `  ${plain(name)}`,
        mean,
        signedPoints(difference.mean),
        range,
        probability(difference.adjusted).slice(2),
      ];
    }),
  ]);
  const table = formatTable(
    [
      { title: `%, ${count(users)} test users` },
      { title: "mean", align: "right" },
      { title: `− ${plain(baseline)}`, align: "right" },
      { title: "95 % interval", align: "right" },
      { title: "p, Holm", align: "right" },
    ],
    rows,
    width,
  );
  return [table, "", ...comparisonVerdicts(comparison).map((line) => `  ${plain(line)}`)].join("\n");
}

/** What was tried against the settings in use, round by round. */
export function tuningTable({ chosen, rounds }: TuneResult, width?: number): string {
  const own = rounds[0]?.trials[0]?.steps ?? 1;
  const rows = rounds.flatMap(({ trials, chosen: best }) =>
    trials.map(({ name, epochs, steps, value, difference }, place) => [
      place === 0 ? "in use" : `${name === best ? "✔ " : "  "}${name}`,
      String(epochs),
      (steps / own).toFixed(2),
      value === null ? "diverged" : points(value),
      difference === undefined ? "" : `${points(difference.mean)} ±${points(difference.standardError)}`,
    ]),
  );
  const table = formatTable(
    [
      { title: "validation" },
      { title: "epochs", align: "right" },
      { title: "trainings", align: "right" },
      { title: "recall + ndcg", align: "right" },
      { title: "above what is in use", align: "right" },
    ],
    rows,
    width,
  );
  const outcome = chosen.length === 0 ? "The settings in use stay." : `Chosen: ${chosen.join(", ")}.`;
  return `${table}\n\n${outcome}`;
}
