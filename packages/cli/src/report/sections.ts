import { RANKING_METRICS } from "@prismrec/core/metrics";
import { parseHTML } from "linkedom";
import { EXPOSURE } from "../exposure.js";
import { count, duration, fixed, percent, points, signedPoints } from "../format.js";
import { minusThis } from "../pipeline/ablate.js";
import { probability, verdicts } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";
import { coverCurve, intervalDots, kindOf, learningCurve } from "./charts.js";
import { type Check, type CheckState, checksOf } from "./checks.js";
import type { ReportData } from "./data.js";
import { findUsers, type PageDocument } from "./find-users.js";
import { type Html, html, trusted } from "./html.js";
import { dataTable, table } from "./page.js";
import { SERIES } from "./palette.js";
import { bestBaseline } from "./verdict.js";

/** A part of the report: nothing where the run has nothing to tell of it. */
export interface Section {
  readonly id: string;
  readonly title: string;
  readonly body: (data: ReportData) => Html | undefined;
}

/** In the order of the page: what is gained, whether to believe it, then all else. */
export const SECTIONS: readonly Section[] = [
  { id: "gain", title: "What is gained", body: gain },
  { id: "checks", title: "Checks", body: checks },
  { id: "twins", title: "Were the known interests found?", body: recovery },
  { id: "accuracy", title: "Accuracy on test users", body: accuracy },
  { id: "groups", title: "For whom, and for which items", body: groups },
  { id: "catalog", title: "What the lists do to the catalog", body: exposure },
  { id: "explanations", title: "Do the named interests fit?", body: explanations },
  { id: "choices", title: "What validation has chosen", body: choices },
  { id: "ablation", title: "What each part gives", body: ablation },
  { id: "curve", title: "Learning curve", body: curve },
  { id: "crowd", title: "Crowd", body: crowd },
  { id: "users", title: "Test users", body: users },
  { id: "data", title: "Data", body: dataOf },
  { id: "reproduce", title: "How to reproduce", body: reproduce },
];

/** `+2.70 [+1.70, +3.70]` beside a dot, and what is left of it on a phone. */
export function beside({ mean, low, high }: { readonly mean: number; readonly low: number; readonly high: number }) {
  return {
    text: `${signedPoints(mean)} [${signedPoints(low)}, ${signedPoints(high)}]`,
    short: signedPoints(mean, 1),
  };
}

/** What each of these metrics is, in a line. */
export function definitions(metrics: readonly string[]): Html {
  const cutoffs = new Map<string, string[]>();
  for (const metric of metrics) {
    const [name = "", n = ""] = metric.split("@");
    cutoffs.set(name, [...(cutoffs.get(name) ?? []), n]);
  }
  return html`<dl>${[...cutoffs].map(([name, at]) => {
    const known = RANKING_METRICS.find((metric) => metric.name === name);
    return html`<dt>${name}@N</dt><dd>${known?.description ?? "a metric of another program's"} (N = ${at.join(", ")})</dd>`;
  })}</dl>
<p class="soft">Each is a mean over test users, in percent. Hits are items among the first N of a user's list that the user took next; targets all that the user took next. Every item outside the history is ranked.</p>`;
}

function gain({ evaluation }: ReportData): Html | undefined {
  const best = bestBaseline(evaluation);
  const differences = Object.entries(evaluation.comparisons[best ?? ""] ?? {});
  if (best === undefined || differences.length === 0) return undefined;
  const { own, significance, protocol } = evaluation;
  const dots = differences.map(([metric, difference]) => ({
    label: metric,
    mean: 100 * difference.mean,
    low: 100 * difference.low,
    high: 100 * difference.high,
    kind: kindOf(difference),
    ...beside(difference),
  }));
  return html`<figure>${intervalDots(`${own} minus ${best}, by metric`, dots, { x: `${own} minus ${best}, points →`, zero: true })}
<figcaption>${own} minus ${best}, the baseline that is best on the same ${count(protocol.users.test)} users: means of paired differences with 95 % intervals from resampled users. A hollow dot's interval holds zero.</figcaption></figure>
${dataTable(
  ["points", "difference", "from", "to", "p (Wilcoxon, Holm)"],
  differences.map(([metric, { mean, low, high }]) => {
    const tested = significance[best]?.[metric];
    return [
      metric,
      signedPoints(mean),
      signedPoints(low),
      signedPoints(high),
      tested === undefined ? "" : probability(tested.adjusted).slice(2),
    ];
  }),
)}`;
}

const MARKS: Readonly<Record<CheckState, Html>> = {
  failed: html`<span class="state bad">✖ failed</span>`,
  open: html`<span class="state open">? open</span>`,
  passed: html`<span class="state good">✔ passed</span>`,
};

function checks(data: ReportData): Html {
  const all = checksOf(data);
  const list = (some: readonly Check[]): Html =>
    html`<ul class="checks">${some.map(({ state, text }) => html`<li>${MARKS[state]}<span>${text}</span></li>`)}</ul>`;
  const good = all.filter(({ state }) => state === "passed");
  const others = all.filter(({ state }) => state !== "passed");
  return html`${others.length === 0 ? html`<p>Nothing failed, and nothing is left open.</p>` : list(others)}
<details><summary>${count(good.length)} of ${count(all.length)} checks passed</summary>${list(good)}</details>`;
}

function recovery({ evaluation }: ReportData): Html | undefined {
  const found = evaluation.recovery ?? [];
  if (found.length === 0) return undefined;
  const dots = found.map(({ clusterer, control, ari, standardError }) => ({
    label: control ? `${clusterer} (control)` : clusterer,
    mean: ari,
    low: ari - 2 * standardError,
    high: ari + 2 * standardError,
    kind: control ? ("other" as const) : ("own" as const),
    text: `${fixed(ari, 3)} ± ${fixed(standardError, 3)}`,
    short: fixed(ari, 3),
  }));
  return html`<figure>${intervalDots("Interest recovery beside its controls", dots, { x: "adjusted Rand index →", zero: true })}
<figcaption>Adjusted Rand index of each user's clusters against the known interests: mean over users with two standard errors; 0 is chance, 1 is perfect. Controls split the same histories: shuffled and random ones without reading them.</figcaption></figure>
${dataTable(
  ["clusterer", "ARI", "standard error", "users"],
  found.map(({ clusterer, ari, standardError, users }) => [
    clusterer,
    fixed(ari, 4),
    standardError.toFixed(4),
    count(users),
  ]),
)}`;
}

function accuracy({ evaluation }: ReportData): Html {
  const { models, own, intervals } = evaluation;
  const names = Object.keys(Object.values(models)[0] ?? {});
  const headline = headlineMetric(models[own] ?? {});
  const dots = Object.keys(models).flatMap((model) => {
    const interval = intervals[model]?.[headline ?? ""];
    if (interval === undefined) return [];
    const { mean, low, high } = interval;
    return [
      {
        label: model,
        mean: 100 * mean,
        low: 100 * low,
        high: 100 * high,
        kind: model === own ? ("own" as const) : ("other" as const),
        text: `${points(mean)} [${points(low)}, ${points(high)}]`,
        short: points(mean, 1),
      },
    ];
  });
  const rows = Object.entries(models).map(([model, values]) => ({
    own: model === own,
    cells: [
      model,
      ...names.map((name) => {
        const interval = intervals[model]?.[name];
        const range =
          interval === undefined ? "" : html`<small>${points(interval.low, 1)} – ${points(interval.high, 1)}</small>`;
        return html`${points(values[name] ?? 0)}${range}`;
      }),
    ],
  }));
  return html`${
    dots.length === 0
      ? ""
      : html`<figure>${intervalDots(`${headline} of every model`, dots, { x: `${headline}, % →`, zero: false })}
<figcaption>${headline} with 95 % intervals from resampled users. Two intervals may overlap where the paired difference does not hold zero: the paired comparisons, folded below, decide.</figcaption></figure>`
  }
${table("Accuracy of every model", ["%", ...names], rows)}
${definitions(names)}
<details><summary>Every baseline, paired over the same users</summary><ul class="notes">${verdicts(evaluation).map(
    (line) => html`<li>${line}</li>`,
  )}</ul></details>`;
}

function groups({ evaluation }: ReportData): Html | undefined {
  const { models, groups: all, own } = evaluation;
  const metric = headlineMetric(models[own] ?? {});
  const columns = Object.entries(all[own] ?? {});
  if (metric === undefined || columns.length === 0) return undefined;
  const rows = Object.keys(models).map((model) => ({
    own: model === own,
    cells: [model, ...columns.map(([name]) => points(all[model]?.[name]?.metrics[metric] ?? 0))],
  }));
  const head = columns.map(([name, { users }]) => html`${name}<small>${count(users)} users</small>`);
  const cold = columns.some(([name]) => name === "cold items")
    ? "Cold: items that no training user took, a part of the tail."
    : "No test user took a cold item, one that no training user took.";
  return html`${table("Accuracy by group", [`${metric}, %`, ...head], rows)}
<p class="soft">Head: the items that hold 80 % of the training events between them; tail: all others. ${cold} Histories by thirds of the test users.</p>`;
}

function exposure({ evaluation }: ReportData): Html | undefined {
  const { exposure: all, own } = evaluation;
  const [first] = Object.values(all);
  if (first === undefined) return undefined;
  const rows = Object.entries(all).map(([model, values]) => ({
    own: model === own,
    cells: [model, ...EXPOSURE.map(({ key, text }) => text(values[key]))],
  }));
  return html`${table("Coverage and popularity bias", [`lists of ${first.n}`, ...EXPOSURE.map(({ title }) => title)], rows)}
<dl>${EXPOSURE.map(({ title, definition }) => html`<dt>${title}</dt><dd>${definition}</dd>`)}</dl>`;
}

function explanations({ evaluation }: ReportData): Html | undefined {
  const models = Object.entries(evaluation.explanations);
  const [first] = models;
  if (first === undefined) return undefined;
  const rows = models.map(([model, { right, random, standardError, users, answers }]) => ({
    own: model === evaluation.own,
    cells: [
      model,
      points(right, 1),
      points(random, 1),
      `${signedPoints(right - random, 1)} ± ${points(standardError, 1)}`,
      count(users),
      count(answers),
    ],
  }));
  return html`${table("Fidelity of explanations", ["%", "right", "at random", "difference ± s.e.", "users", "items"], rows)}
<p class="soft">Right: of all interests of the user, the named one rests on the items whose ${first[1].by} are most like the recommended item's (mean Jaccard; a tie of n counts 1/n). At random: any interest of the user. Test users with two interests and more, the first items of their lists; no model or clusterer in this table has read the ${first[1].by}.</p>`;
}

/** What validation has chosen, and against what. */
function choices({ tuning, prior, evaluation: { own } }: ReportData): Html | undefined {
  if (tuning === undefined && prior === undefined) return undefined;
  const steps = tuning?.rounds[0]?.trials[0]?.steps ?? 1;
  const trials = tuning?.rounds.flatMap(({ trials: round }, n) => (n === 0 ? round : round.slice(1))) ?? [];
  const settings = trials.map(({ name, value, difference, steps: trained }, n) => ({
    own: n > 0 && tuning?.chosen.includes(name) === true,
    cells: [
      n === 0 ? "the recipe" : name,
      value === null ? "–" : points(value),
      difference === undefined ? "" : `${signedPoints(difference.mean)} ± ${points(difference.standardError)}`,
      (trained / steps).toFixed(2),
    ],
  }));
  const added = (prior?.tried ?? []).map(({ prior: name, weight, value, standardError }) => ({
    own: prior?.chosen?.prior === name && prior.chosen.weight === weight,
    cells: [
      `${name}, weight ${weight}`,
      points(value),
      prior?.alone == null ? "" : `${signedPoints(value - prior.alone)} ± ${points(standardError)}`,
    ],
  }));
  const chosen =
    tuning === undefined
      ? ""
      : tuning.chosen.length === 0
        ? "The recipe stays. "
        : `Settings: ${tuning.chosen.join(", ")}. `;
  const served =
    prior === undefined
      ? ""
      : prior.chosen === null
        ? `${own} is served without a prior.`
        : `${own} is served with ${prior.chosen.prior}, weight ${prior.chosen.weight}.`;
  return html`<p>${chosen}${served}</p>${
    settings.length === 0
      ? ""
      : html`${table("Settings that were tried", ["settings", "recall + ndcg", "above the recipe ± s.e.", "trainings"], settings)}
<p class="soft">Alternatives are dropped by halves on the way; the last is taken where it is above by more than a standard error, paired over validation users.</p>`
  }${
    added.length === 0
      ? ""
      : html`<details><summary>Priors</summary>${table("Priors that were tried", ["prior", "recall + ndcg", "above none ± s.e."], added, "tight")}</details>`
  }`;
}

function ablation({ ablation: found, curve: course, evaluation: { own } }: ReportData): Html | undefined {
  // A model that is fitted at once has no parts to train it without.
  if (found === undefined && course === undefined) return undefined;
  if (found === undefined) {
    return html`<p class="soft">No ablation of this run's data has been made. <code>prismrec ablate RUN</code> trains ${own} without its parts and with shuffled twins under several seeds; the next report tells of it.</p>`;
  }
  const variants = Object.entries(found.variants);
  const metric = headlineMetric(variants[0]?.[1].mean ?? {}) ?? "";
  const difference = (summary: (typeof variants)[number][1]) => summary[minusThis(own)]?.[metric];
  const dots = variants.flatMap(([name, summary]) => {
    const minus = difference(summary);
    if (minus === undefined || summary.trials.length < 2) return [];
    const [low, high] = [minus.mean - 2 * minus.standardError, minus.mean + 2 * minus.standardError];
    return [
      {
        label: name,
        mean: 100 * minus.mean,
        low: 100 * low,
        high: 100 * high,
        kind: kindOf({ low, high }),
        ...beside({ mean: minus.mean, low, high }),
      },
    ];
  });
  const rows = variants.map(([name, summary]) => {
    const { description, mean, standardError, trials } = summary;
    const minus = difference(summary);
    const error = (value: number): string => (trials.length < 2 ? "" : ` ± ${points(value)}`);
    return {
      own: name === own,
      cells: [
        html`${name}<small>${description}</small>`,
        String(trials.length),
        `${points(mean[metric] ?? 0)}${error(standardError[metric] ?? 0)}`,
        minus === undefined ? "" : `${signedPoints(minus.mean)}${error(minus.standardError)}`,
      ],
    };
  });
  const others = Object.entries(found.baselines).map(([name, summary]) => {
    const minus = summary[minusThis(own)]?.[metric];
    return [
      name,
      String(summary.trials.length),
      points(summary.mean[metric] ?? 0),
      minus === undefined
        ? ""
        : `${signedPoints(minus.mean)} [${signedPoints(minus.low)}, ${signedPoints(minus.high)}]`,
      minus === undefined ? "" : probability(minus.adjusted).slice(2),
    ];
  });
  return html`${
    dots.length === 0
      ? ""
      : html`<figure>${intervalDots(`${own} minus its variants`, dots, { x: `${own} minus the variant, points of ${metric} →`, zero: true })}
<figcaption>The whole model minus each variant under the same seeds: mean with two standard errors over seeds. Right of zero: the part helps.</figcaption></figure>`
  }
${table("Variants", ["%", "seeds", `${metric} ± s.e.`, `${own} − this ± s.e.`], rows)}
${
  others.length === 0
    ? ""
    : dataTable(
        ["baseline", "seeds", metric, `${own} − this, paired over users`, "p (Wilcoxon, Holm)"],
        others,
        "Baselines over the same seeds",
      )
}`;
}

function curve({ curve: course }: ReportData): Html | undefined {
  if (course === undefined || course.curve.length === 0) return undefined;
  const metrics = Object.keys(course.curve[0]?.metrics ?? {});
  const { bestEpoch, start } = course;
  const series = [
    ...metrics.map((name) => {
      const before = start?.[name];
      const points = course.curve.map(({ epoch, metrics: values }) => ({ epoch, value: 100 * (values[name] ?? 0) }));
      const all = before === undefined ? points : [{ epoch: 0, value: 100 * before }, ...points];
      return { name, unit: " %", digits: 1, points: all };
    }),
    {
      name: "loss",
      unit: "",
      digits: 3,
      points: course.curve.map(({ epoch, loss }) => ({ epoch, value: loss })),
    },
  ];
  return html`<div class="multiples">${series.map(({ name, unit, digits, points: all }, n) => {
    const at = all.find(({ epoch }) => epoch === bestEpoch)?.value;
    return html`<figure><figcaption><b>${name}</b>${at === undefined ? "" : ` ${at.toFixed(digits)}${unit} at epoch ${bestEpoch}`}</figcaption>${learningCurve(name, all, bestEpoch, 1 + (n % SERIES))}</figure>`;
  })}</div>
<p class="soft">Metrics on validation users, in percent, and the training loss, after every epoch. Each axis spans what its series spans and need not begin at zero. The ring and the dashed line mark epoch ${bestEpoch}, whose model is used.</p>
${dataTable(
  ["epoch", "loss", ...metrics],
  course.curve.map(({ epoch, loss, metrics: values }) => [
    String(epoch),
    loss.toFixed(4),
    ...metrics.map((name) => points(values[name] ?? 0)),
  ]),
)}`;
}

function crowd({ crowd: found }: ReportData): Html {
  if (found === undefined) return html`<p class="soft">This run has no crowd level.</p>`;
  const reached = found.coverage.at(-1) ?? 0;
  return html`<p>Max cover chose ${count(found.coverage.length)} synthesized users among ${count(found.candidates)} cliques of similar training users.
They cover ${percent(reached)} of what all cliques together could; no choice of as many covers more than ${percent(Math.min(1, found.bound))}.</p>
<figure>${found.coverage.length === 0 ? "" : coverCurve(found.coverage)}</figure>
${dataTable(
  ["synthesized users", "covered %"],
  thin(found.coverage).map(({ place, value }) => [String(place), points(value)]),
)}`;
}

function users({ users: found, evaluation: { protocol } }: ReportData): Html | undefined {
  if (found.users.length === 0) return undefined;
  const every =
    found.users.length === found.total
      ? `All ${count(found.total)} test users are in this file.`
      : `${count(found.users.length)} of ${count(found.total)} test users, drawn by the run's seed, are in this file, as many as fit; prismrec recommend RUN --user ID tells of every other.`;
  const markup = html`<p class="soft">${protocol.split === "user-disjoint" ? "The model has never seen them" : "The model has not seen what they took last"}: it reads a history${found.users.some(([, , , interests]) => interests.length > 0) ? ", names its interests and recommends for each" : " and recommends from it"}. ✓ marks what was really taken next. ${every}</p>
<div class="search"><label for="user-search">Find a user</label><input id="user-search" type="search" autocomplete="off" placeholder="id or interest" aria-describedby="user-status"><span id="user-status" class="soft" role="status"></span></div>
<noscript><p class="soft">Searching needs scripts, which are off here.</p></noscript>
<ul id="user-matches" class="matches"></ul>
<div id="user-cards"></div>`;
  const { document } = parseHTML(`<!doctype html><html><body><section>${markup}</section></body></html>`);
  findUsers(document as unknown as PageDocument, found, SERIES);
  return trusted(String(document.querySelector("section")?.innerHTML));
}

function dataOf({ imported }: ReportData): Html {
  const { drops, timing, notes, kept, rowsRead } = imported;
  return html`<p>${count(rowsRead)} rows were read; ${count(kept.events)} events of ${count(kept.users)} users with ${count(kept.items)} items are used.</p>
${notes.length === 0 ? "" : html`<ul class="notes">${notes.map((line) => html`<li>${line}</li>`)}</ul>`}
${timing.timed ? html`<p class="soft">${percent(timing.withinMinuteShare)} of events lie within a minute of the one before and ${percent(timing.tiedShare)} share their very time with another: where that is much, their order is data entry's, not taste's.</p>` : ""}
${
  drops.length === 0
    ? html`<p class="soft">No row was left out.</p>`
    : dataTable(
        ["rows left out because of", "rows"],
        drops.map(({ file, reason, count: rows }) => [`${file}: ${reason}`, count(rows)]),
        "Rows left out",
      )
}`;
}

function reproduce({ stages, environment, reproduce: { command, files }, evaluation }: ReportData): Html {
  return html`<pre tabindex="0">${command}</pre>
<p class="soft">Dataset fingerprint <code>${evaluation.protocol.dataset.slice(0, 16)}</code>, seed ${evaluation.protocol.seed}. The same files and settings give the same bytes on the same kind of processor.</p>
<details><summary>Files, stages and surroundings</summary>
${table(
  "Files that were read",
  ["file", "SHA-256"],
  Object.entries(files).map(([name, hash]) => ({ cells: [name, html`<code>${hash.slice(0, 16)}…</code>`] })),
  "left",
)}
${table(
  "Stages",
  ["stage", "time", "fingerprint"],
  stages.map(({ name, seconds, fingerprint }) => ({
    cells: [name, duration(seconds), html`<code>${fingerprint.slice(0, 16)}</code>`],
  })),
  "left",
)}
<ul class="facts">${Object.entries(environment).map(([name, value]) => html`<li>${name} <b>${value}</b></li>`)}</ul></details>`;
}

/** At most fifty places of a long curve, the last one always. */
function thin(values: readonly number[]): { readonly place: number; readonly value: number }[] {
  const step = Math.max(1, Math.ceil(values.length / 50));
  return values
    .map((value, i) => ({ place: i + 1, value }))
    .filter(({ place }) => place % step === 0 || place === values.length || place === 1);
}
