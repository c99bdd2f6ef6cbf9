import { count, points, signedPoints } from "../format.js";
import { type Comparison, comparisonVerdicts } from "../pipeline/compare.js";
import { probability } from "../pipeline/evaluate.js";
import { intervalDots, kindOf } from "./charts.js";
import { html } from "./html.js";
import { page, table } from "./page.js";
import { beside, definitions } from "./sections.js";

/** A comparison of runs as one file that needs no network. */
export function renderComparison(comparison: Comparison): string {
  const { baseline, users, metrics, systems } = comparison;
  const all = Object.entries(systems);
  const charts = metrics.map((metric) => {
    const dots = all.flatMap(([name, { minusBaseline }]) => {
      const difference = minusBaseline?.[metric];
      if (difference === undefined) return [];
      const { mean, low, high } = difference;
      return [
        {
          label: name,
          mean: 100 * mean,
          low: 100 * low,
          high: 100 * high,
          kind: kindOf(difference),
          ...beside(difference),
        },
      ];
    });
    return html`<section><h2>${metric}</h2><figure>${intervalDots(`${metric}: each minus ${baseline}`, dots, { x: `minus ${baseline}, points →`, zero: true })}</figure>
${table(
  metric,
  ["%", "mean", `− ${baseline}`, "from", "to", "p (Wilcoxon, Holm)"],
  all.map(([name, { means, minusBaseline }]) => {
    const own = minusBaseline?.[metric];
    const difference =
      own === undefined
        ? ["", "", "", ""]
        : [signedPoints(own.mean), signedPoints(own.low), signedPoints(own.high), probability(own.adjusted).slice(2)];
    return { own: name === baseline, cells: [name, points(means[metric]!), ...difference] };
  }),
)}</section>`;
  });
  const title = `${all.map(([name]) => name).join(", ")}: prismrec comparison`;
  return page({
    title,
    data: { "comparison-data": comparison },
    body: html`<h1>${title}</h1>
<p class="verdict">${count(all.length)} systems on the same ${count(users)} test users</p>
<ul class="notes">${comparisonVerdicts(comparison).map((line) => html`<li>${line}</li>`)}</ul>
${charts}
<section><h2>What is compared</h2>
${table(
  "Systems",
  ["system", "model", "prior", "seed", "run"],
  all.map(([name, { model, prior, seed, run }]) => ({
    own: name === baseline,
    cells: [name, model, prior === null ? "none" : `${prior.name}, weight ${prior.weight}`, String(seed), run],
  })),
  "left",
)}
${definitions(metrics)}
<p class="soft">Differences are paired over test users; intervals hold 95 % of the means of resampled users. P-values are two-sided and adjusted for all systems of a metric together. Where runs differ by their seed alone, a difference is what chance in training does.</p></section>`,
  });
}
