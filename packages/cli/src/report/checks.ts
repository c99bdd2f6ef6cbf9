import { fixed, percent, points, signedPoints } from "../format.js";
import { minusThis } from "../pipeline/ablate.js";
import { aloneName, differenceSentence } from "../pipeline/evaluate.js";
import { headlineMetric } from "../pipeline/metrics.js";
import { kindOf } from "./charts.js";
import type { ReportData } from "./data.js";

export type CheckState = "failed" | "open" | "passed";

/** Something that a reader would otherwise have to ask. */
export interface Check {
  readonly state: CheckState;
  readonly text: string;
}

/** Interests this alike are one interest under several names. */
const ALIKE = 0.95;
/** Fewer users leave intervals so wide that little can be told. */
const FEW_USERS = 100;
/** Where so many events follow within a minute, people entered what they had done before. */
const ENTERED = 0.5;
const STATES: readonly CheckState[] = ["failed", "open", "passed"];

/** All checks, the failed before the open before the passed, and twins first among each. */
export function checksOf(data: ReportData): Check[] {
  const all = [...twins(data), ...againstOthers(data), ...training(data), ...ofData(data)];
  return STATES.flatMap((state) => all.filter((check) => check.state === state));
}

/** Does the run do better than the same thing without its meaning: shuffled, or drawn at random? */
function twins({ evaluation, ablation }: ReportData): Check[] {
  const found: Check[] = [];
  const { recovery = [], own, explanations } = evaluation;
  const clusterer = recovery.find(({ control }) => !control);
  for (const twin of recovery.filter(({ control }) => control)) {
    if (clusterer === undefined) break;
    const above = clusterer.ari - twin.ari;
    const error = Math.hypot(clusterer.standardError, twin.standardError);
    const [a, b] = [fixed(clusterer.ari, 3), fixed(twin.ari, 3)];
    found.push(
      above > 2 * error
        ? passed(
            `interests by ${clusterer.clusterer} agree with the known ones better than ${twin.clusterer} ones: ARI ${a} and ${b}`,
          )
        : failed(
            `interests by ${clusterer.clusterer} agree with the known ones no better than ${twin.clusterer} ones: ARI ${a} and ${b}`,
          ),
    );
  }
  const fit = explanations[own];
  if (fit !== undefined) {
    const numbers = `${points(fit.right, 1)} % right, ${points(fit.random, 1)} % by drawing one`;
    found.push(
      fit.right - fit.random > 2 * fit.standardError
        ? passed(`the interests that are named behind the items fit them better than drawn ones: ${numbers}`)
        : failed(`the interests that are named behind the items fit them no better than drawn ones: ${numbers}`),
    );
  }
  for (const name of ["shuffled", "random"]) {
    const summary = ablation?.variants[name];
    const differences = summary?.[minusThis(own)];
    const metric = headlineMetric(differences ?? {});
    const difference = metric === undefined ? undefined : differences?.[metric];
    if (summary === undefined || difference === undefined) continue;
    const seeds = summary.trials.length;
    const text = `${own} with its interests minus ${own} with ${name} ones: ${signedPoints(difference.mean)} points of ${metric}`;
    if (seeds < 2) found.push(open(`${text}, by one seed`));
    else {
      const numbers = `${text} ± ${points(difference.standardError)} over ${seeds} seeds`;
      found.push(difference.mean > 2 * difference.standardError ? passed(numbers) : failed(numbers));
    }
  }
  return found;
}

function againstOthers({ evaluation }: ReportData): Check[] {
  const { own, comparisons, significance } = evaluation;
  const ordered = Object.entries(comparisons).sort(
    ([a], [b]) => Number(a === aloneName(own)) - Number(b === aloneName(own)),
  );
  return ordered.flatMap(([other, metrics]) => {
    const metric = headlineMetric(metrics);
    const difference = metric === undefined ? undefined : metrics[metric];
    if (metric === undefined || difference === undefined) return [];
    const text = differenceSentence(own, other, metric, difference, significance[other]?.[metric]).replace(/^\S+ /, "");
    return [{ good: passed, bad: failed, unclear: open }[kindOf(difference)](text)];
  });
}

function training({ evaluation, curve }: ReportData): Check[] {
  const found: Check[] = [];
  const { own, diagnostics } = evaluation;
  const { interestCosine, deadInterestRate } = diagnostics[own] ?? {};
  if (interestCosine !== undefined) {
    const text = `mean cosine of a user's interests ${interestCosine.toFixed(3)}`;
    found.push(interestCosine > ALIKE ? failed(`${text}: they are nearly one`) : passed(`${text}: they differ`));
  }
  if (deadInterestRate !== undefined) {
    const text = `${percent(deadInterestRate, 0)} of the learned interests stand behind no hit`;
    found.push(deadInterestRate >= 0.5 ? failed(text) : passed(text));
  }
  const last = curve?.curve.at(-1)?.epoch;
  if (curve !== undefined && last !== undefined) {
    found.push(
      curve.stoppedBy === "epochs" && curve.bestEpoch === last
        ? open(`training was still getting better when its last epoch (${last}) was over: more may help (--epochs)`)
        : passed(`training had its best epoch (${curve.bestEpoch} of ${last}) before it ended`),
    );
  }
  return found;
}

function ofData({ evaluation, imported }: ReportData): Check[] {
  const { warnings, timing } = imported;
  const users = evaluation.protocol.users.test;
  return [
    ...warnings.map(open),
    ...(users < FEW_USERS ? [open(`only ${users} test users: intervals are wide`)] : []),
    ...(timing.timed && timing.withinMinuteShare > ENTERED
      ? [
          open(
            `${percent(timing.withinMinuteShare)} of events lie within a minute of the one before: their order may be that of data entry, not of taste`,
          ),
        ]
      : []),
    ...evaluation.leakage.map(passed),
    passed("every item outside the history is ranked: no sampled candidates"),
  ];
}

function failed(text: string): Check {
  return { state: "failed", text };
}

function open(text: string): Check {
  return { state: "open", text };
}

function passed(text: string): Check {
  return { state: "passed", text };
}
