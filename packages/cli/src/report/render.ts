import { EXPOSURE } from "../exposure.js";
import { count, duration, percent, points } from "../format.js";
import { verdicts } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";
import { coverCurve, learningCurve, recoveryChart } from "./charts.js";
import type { ReportData, ReportUser } from "./data.js";
import { type Html, html, scriptJson, trusted } from "./html.js";
import { STYLE } from "./style.js";
import { verdict } from "./verdict.js";

/** The whole report as one file: no script runs, nothing is fetched, every text of data or model is escaped. */
export function renderReport(data: ReportData): string {
  const { evaluation, imported } = data;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>${data.name}: prismrec report of ${data.date}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
<h1>${data.name} · prismrec report · ${data.date}</h1>
<p class="verdict">${verdict(evaluation)}</p>
<ul class="facts">
<li><b>${count(imported.kept.users)}</b> users</li>
<li><b>${count(imported.kept.items)}</b> items</li>
<li><b>${count(imported.kept.events)}</b> events</li>
<li><b>${count(imported.split.test)}</b> test users (${imported.split.protocol})</li>
<li>interests by <b>${data.clusterer.name ?? "nobody"}</b>${data.clusterer.model === undefined ? "" : html` with ${data.clusterer.model}`}</li>
</ul>
${data.clusterer.notice === undefined ? "" : html`<p class="soft">${data.clusterer.notice}</p>`}
${metricsSection(data)}
${groupsSection(data)}
${exposureSection(data)}
${explanationSection(data)}
${choicesSection(data)}
${curveSection(data)}
${crowdSection(data)}
${recoverySection(data)}
${usersSection(data)}
${leakageSection(data)}
${environmentSection(data)}
<script type="application/json" id="data">${scriptJson(data)}</script>
</main>
</body>
</html>
`;
  return page.markup;
}

function metricsSection({ evaluation }: ReportData): Html {
  const names = Object.keys(Object.values(evaluation.models)[0] ?? {});
  const rows = Object.entries(evaluation.models).map(
    ([model, values]) =>
      html`<tr${model === evaluation.own ? trusted(' class="own"') : ""}><td>${model}</td>${names.map((name) => {
        const interval = evaluation.intervals[model]?.[name];
        return html`<td>${points(values[name] ?? 0)}${
          interval === undefined ? "" : html`<small>${points(interval.low, 1)} – ${points(interval.high, 1)}</small>`
        }</td>`;
      })}</tr>`,
  );
  return html`<section><h2>Accuracy on test users</h2>
<div class="scroll"><table><thead><tr><th>%</th>${names.map((name) => html`<th>${name}</th>`)}</tr></thead>
<tbody>${rows}</tbody></table></div>
<p class="soft">Every item outside the history is ranked. Below each mean: the 95 % interval from resampled users. Paired over the same users:</p>
<ul>${verdicts(evaluation).map((line) => html`<li>${line}</li>`)}</ul></section>`;
}

function groupsSection({ evaluation }: ReportData): Html {
  const { models, groups, own } = evaluation;
  const metric = headlineMetric(models[own] ?? {});
  const columns = Object.entries(groups[own] ?? {});
  if (metric === undefined || columns.length === 0) return html``;
  const rows = Object.keys(models).map(
    (model) =>
      html`<tr${model === own ? trusted(' class="own"') : ""}><td>${model}</td>${columns.map(
        ([name]) => html`<td>${points(groups[model]?.[name]?.metrics[metric] ?? 0)}</td>`,
      )}</tr>`,
  );
  return html`<section><h2>For whom, and for which items</h2>
<div class="scroll"><table><thead><tr><th>${metric}, %</th>${columns.map(
    ([name, { users }]) => html`<th>${name}<small>${count(users)} users</small></th>`,
  )}</tr></thead>
<tbody>${rows}</tbody></table></div>
<p class="soft">Head: the items that hold 80 % of the training events between them; tail: all others. Histories by thirds of the test users.</p></section>`;
}

function exposureSection({ evaluation }: ReportData): Html {
  const { exposure, own } = evaluation;
  const [first] = Object.values(exposure);
  if (first === undefined) return html``;
  const rows = Object.entries(exposure).map(
    ([model, values]) =>
      html`<tr${model === own ? trusted(' class="own"') : ""}><td>${model}</td>${EXPOSURE.map(
        ({ key, text }) => html`<td>${text(values[key])}</td>`,
      )}</tr>`,
  );
  return html`<section><h2>What the lists do to the catalog</h2>
<div class="scroll"><table><thead><tr><th>lists of ${first.n}</th>${EXPOSURE.map(({ title }) => html`<th>${title}</th>`)}</tr></thead>
<tbody>${rows}</tbody></table></div>
<ul class="soft">${EXPOSURE.map(({ title, definition }) => html`<li>${title}: ${definition}</li>`)}</ul></section>`;
}

function explanationSection({ evaluation }: ReportData): Html {
  const { explanations, own } = evaluation;
  const models = Object.entries(explanations);
  const [first] = models;
  if (first === undefined) return html``;
  const rows = models.map(
    ([model, { right, random, standardError, users, answers }]) =>
      html`<tr${model === own ? trusted(' class="own"') : ""}><td>${model}</td><td>${points(right, 1)}</td><td>${points(random, 1)}</td><td>${points(right - random, 1)} ± ${points(standardError, 1)}</td><td>${count(users)}</td><td>${count(answers)}</td></tr>`,
  );
  return html`<section><h2>Do the named interests fit?</h2>
<div class="scroll"><table><thead><tr><th>%</th><th>right</th><th>at random</th><th>difference ± s.e.</th><th>users</th><th>items</th></tr></thead>
<tbody>${rows}</tbody></table></div>
<p class="soft">Right: of all interests of the user, the named one rests on the items whose ${first[1].by} are most like the recommended item's (mean Jaccard; a tie of n counts 1/n). At random: any interest of the user. Test users with two interests and more, the first items of their lists; no model or clusterer in this table has read the ${first[1].by}.</p></section>`;
}

/** What validation has chosen, and against what. */
function choicesSection({ tuning, prior, evaluation: { own } }: ReportData): Html {
  if (tuning === undefined && prior === undefined) return html``;
  const steps = tuning?.rounds[0]?.trials[0]?.steps ?? 1;
  const trials = tuning?.rounds.flatMap(({ trials: round }, n) => (n === 0 ? round : round.slice(1))) ?? [];
  const settings = trials.map(({ name, value, difference, steps: own }, n) => {
    const kept = n > 0 && tuning?.chosen.includes(name) === true;
    return html`<tr${kept ? trusted(' class="own"') : ""}><td>${n === 0 ? "the recipe" : name}</td><td>${
      value === null ? "–" : points(value)
    }</td><td>${
      difference === undefined ? "" : `${points(difference.mean)} ± ${points(difference.standardError)}`
    }</td><td>${(own / steps).toFixed(2)}</td></tr>`;
  });
  const added = prior?.tried.map(({ prior: name, weight, value, standardError }) => {
    const kept = prior.chosen?.prior === name && prior.chosen.weight === weight;
    const above = prior.alone === null ? "" : `${points(value - prior.alone)} ± ${points(standardError)}`;
    return html`<tr${kept ? trusted(' class="own"') : ""}><td>${name}, weight ${weight}</td><td>${points(value)}</td><td>${above}</td></tr>`;
  });
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
  return html`<section><h2>What validation has chosen</h2><p>${chosen}${served}</p>${
    settings.length === 0
      ? ""
      : html`<div class="scroll"><table><thead><tr><th>settings</th><th>recall + ndcg</th><th>above the recipe ± s.e.</th><th>trainings</th></tr></thead>
<tbody>${settings}</tbody></table></div>
<p class="soft">Alternatives are dropped by halves on the way; the last is taken where it is above by more than a standard error, paired over validation users.</p>`
  }${
    added === undefined || added.length === 0
      ? ""
      : html`<details><summary>Priors</summary><div class="scroll"><table><thead><tr><th>prior</th><th>recall + ndcg</th><th>above none ± s.e.</th></tr></thead>
<tbody>${added}</tbody></table></div></details>`
  }</section>`;
}

function curveSection({ curve }: ReportData): Html {
  if (curve === undefined) return html``;
  const metrics = Object.keys(curve.curve[0]?.metrics ?? {});
  const data = curve.curve.flatMap(({ epoch, metrics: values }) =>
    Object.entries(values).map(([metric, value]) => ({ epoch, metric, value: 100 * value })),
  );
  if (data.length === 0) return html``;
  return html`<section><h2>Learning curve</h2><figure>${learningCurve(data, curve.bestEpoch)}
<figcaption>Validation after every epoch; the dashed line marks epoch ${curve.bestEpoch}, whose model is used.</figcaption></figure>
${dataTable(
  ["epoch", "loss", ...metrics],
  curve.curve.map(({ epoch, loss, metrics: values }) => [
    String(epoch),
    loss.toFixed(4),
    ...metrics.map((name) => points(values[name] ?? 0)),
  ]),
)}</section>`;
}

function crowdSection({ crowd }: ReportData): Html {
  if (crowd === undefined) {
    return html`<section><h2>Crowd</h2><p class="soft">This run has no crowd level.</p></section>`;
  }
  const reached = crowd.coverage.at(-1) ?? 0;
  return html`<section><h2>Crowd</h2>
<p>Max cover chose ${count(crowd.coverage.length)} synthesized users among ${count(crowd.candidates)} cliques of similar training users.
They cover ${percent(reached)} of what all cliques together could; no choice of as many covers more than ${percent(Math.min(1, crowd.bound))}.</p>
<figure>${crowd.coverage.length === 0 ? "" : coverCurve(crowd.coverage)}</figure>
${dataTable(
  ["synthesized users", "covered %"],
  thin(crowd.coverage).map(({ place, value }) => [String(place), points(value)]),
)}</section>`;
}

function recoverySection({ evaluation }: ReportData): Html {
  const { recovery } = evaluation;
  if (recovery === undefined || recovery.length === 0) return html``;
  return html`<section><h2>Were the known interests found?</h2><figure>${recoveryChart(recovery)}
<figcaption>Adjusted Rand index of each user's clusters against the known interests, mean over users with two standard errors. 0 is chance, 1 is perfect.</figcaption></figure>
${dataTable(
  ["clusterer", "ARI", "standard error", "users"],
  recovery.map(({ clusterer, ari, standardError, users }) => [
    clusterer,
    ari.toFixed(4),
    standardError.toFixed(4),
    String(users),
  ]),
)}</section>`;
}

function usersSection({ users }: ReportData): Html {
  if (users.length === 0) return html``;
  return html`<section><h2>Two users</h2>
<p class="soft">Test users, whom the model has never seen: it reads their history, names its interests and recommends for each. ✓ marks what they really took next.</p>
${users.map(userCard)}</section>`;
}

function userCard({ id, events, interests, items }: ReportUser): Html {
  const shown = new Map(interests.map(({ index }, place) => [index, place]));
  const badge = (index: number | null): Html => {
    const place = index === null ? undefined : shown.get(index);
    return place === undefined ? html`<span></span>` : html`<span class="badge c${place % 5}">${place + 1}</span>`;
  };
  return html`<article class="user"><h3>User ${id} <span class="soft">· ${count(events)} events read</span></h3>
<div class="columns"><div><h3 class="soft">Interests</h3><ul>${interests.map(
    ({
      index,
      kind,
      labels,
      share,
      because,
    }) => html`<li class="interest">${badge(index)}<span>${labels.join(", ")}${kind === "collaborative" ? html` <small class="soft">from behaviour</small>` : ""}</span><span class="soft">${percent(share, 0)}</span>
<span class="bar"><i style="width:${(100 * Math.min(1, Math.max(0, share))).toFixed(1)}%"></i></span>
${because.length === 0 ? "" : html`<span class="because">${because.join(" · ")}</span>`}</li>`,
  )}</ul></div>
<div><h3 class="soft">Recommended</h3><ol>${items.map(
    ({ title, interest, hit }) =>
      html`<li class="item">${badge(interest)}<span>${title}</span><span class="hit">${hit ? "✓ taken" : ""}</span></li>`,
  )}</ol></div></div></article>`;
}

function leakageSection({ evaluation, imported }: ReportData): Html {
  const { drops, timing, notes, warnings } = imported;
  return html`<section><h2>Can the numbers be trusted?</h2>
<ul>${evaluation.leakage.map((line) => html`<li><span class="good">✔</span> ${line}</li>`)}
<li><span class="good">✔</span> every item outside the history is ranked: no sampled candidates</li></ul>
${notes.length + warnings.length === 0 ? "" : html`<p class="soft">Of the data:</p><ul>${[...warnings, ...notes].map((line) => html`<li>${line}</li>`)}</ul>`}
${timing.timed ? html`<p class="soft">${percent(timing.withinMinuteShare)} of events lie within a minute of the one before and ${percent(timing.tiedShare)} share their very time with another: where that is much, their order is data entry's, not taste's.</p>` : ""}
${
  drops.length === 0
    ? html`<p class="soft">No row was left out.</p>`
    : dataTable(
        ["rows left out because of", "rows"],
        drops.map(({ file, reason, count: rows }) => [`${file}: ${reason}`, count(rows)]),
        "Rows left out",
      )
}</section>`;
}

function environmentSection({ stages, environment, command, evaluation }: ReportData): Html {
  return html`<section><h2>How to reproduce</h2><pre>${command}</pre>
<p class="soft">Dataset fingerprint <code>${evaluation.protocol.dataset.slice(0, 16)}</code>, seed ${evaluation.protocol.seed}. The same inputs and settings give the same bytes.</p>
<div class="scroll"><table class="left"><thead><tr><th>stage</th><th>time</th><th>fingerprint</th></tr></thead><tbody>${stages.map(
    ({ name, seconds, fingerprint }) =>
      html`<tr><td>${name}</td><td>${duration(seconds)}</td><td><code>${fingerprint.slice(0, 16)}</code></td></tr>`,
  )}</tbody></table></div>
<ul class="facts" style="margin-top:1rem">${Object.entries(environment).map(([name, value]) => html`<li>${name} <b>${value}</b></li>`)}</ul></section>`;
}

function dataTable(head: readonly string[], rows: readonly (readonly string[])[], summary = "Data"): Html {
  return html`<details><summary>${summary}</summary><div class="scroll"><table><thead><tr>${head.map((title) => html`<th>${title}</th>`)}</tr></thead>
<tbody>${rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div></details>`;
}

/** At most fifty places of a long curve, the last one always. */
function thin(values: readonly number[]): { readonly place: number; readonly value: number }[] {
  const step = Math.max(1, Math.ceil(values.length / 50));
  return values
    .map((value, i) => ({ place: i + 1, value }))
    .filter(({ place }) => place % step === 0 || place === values.length || place === 1);
}
