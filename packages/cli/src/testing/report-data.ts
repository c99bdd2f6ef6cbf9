import { summarize } from "../pipeline/ablate.js";
import type { Comparison } from "../pipeline/compare.js";
import type { EvaluationReport } from "../pipeline/evaluate.js";
import type { ReportData } from "../report/data.js";
import { UserTableBuilder } from "../report/user-table.js";

const around = (mean: number, width: number) => ({
  mean,
  low: mean - width,
  high: mean + width,
  standardError: width / 2,
});

/** A small finished run as the report sees it; `text` stands wherever data or a model may speak. */
export function reportData(text = "Plain title"): ReportData {
  const models = {
    ldmi: { "recall@20": 0.29, "recall@50": 0.465 },
    ease: { "recall@20": 0.288, "recall@50": 0.438 },
    "most-popular": { "recall@20": 0.255, "recall@50": 0.389 },
  };
  const evaluation: EvaluationReport = {
    own: "ldmi",
    prior: null,
    models,
    protocol: {
      dataset: "0123456789abcdef0123456789abcdef",
      split: "user-disjoint",
      splitFile: true,
      users: { train: 800, valid: 100, test: 100, leftOut: 0 },
      items: 300,
      ranking: "full",
      history: "excluded",
      ndcg: "standard",
      seed: 1,
    },
    intervals: Object.fromEntries(
      Object.entries(models).map(([name, metrics]) => [
        name,
        Object.fromEntries(Object.entries(metrics).map(([metric, value]) => [metric, around(value, 0.03)])),
      ]),
    ),
    comparisons: {
      ease: { "recall@50": { ...around(0.027, 0.01), notBetter: 0.001 } },
      "most-popular": { "recall@50": { ...around(0.076, 0.02), notBetter: 0 } },
    },
    significance: {
      ease: { "recall@50": { pValue: 0.01, adjusted: 0.01 } },
      "most-popular": { "recall@50": { pValue: 0.0001, adjusted: 0.0002 } },
    },
    groups: Object.fromEntries(
      Object.entries(models).map(([name, metrics]) => [
        name,
        {
          "head items": { users: 80, metrics },
          "tail items": {
            users: 60,
            metrics: Object.fromEntries(Object.keys(metrics).map((metric) => [metric, 0.01])),
          },
        },
      ]),
    ),
    exposure: Object.fromEntries(
      Object.keys(models).map((name) => [
        name,
        { n: 50, coverage: 0.4, gini: 0.9, novelty: 3.5, averagePopularity: 0.1, popularityLift: 0.25 },
      ]),
    ),
    explanations: { ldmi: { by: "categories", right: 0.5, random: 0.3, standardError: 0.02, users: 90, answers: 900 } },
    diagnostics: { ldmi: { interestCosine: 0.8 } },
    leakage: ["training, validation and test users are disjoint"],
    recovery: [
      { clusterer: "facets", control: false, ari: 0.4, standardError: 0.01, users: 90 },
      { clusterer: "shuffled", control: true, ari: 0.01, standardError: 0.01, users: 90 },
    ],
  };
  const users = new UserTableBuilder(10_000);
  for (const [order, id] of [text, "u2", "u31"].entries()) {
    users.add(
      {
        id,
        events: 12,
        targets: 3,
        interests: [
          { index: 4, kind: "semantic", labels: [text], share: 0.7, because: [text, text] },
          { index: 0, kind: "collaborative", labels: [`like ${text}`], share: 0.3, because: [] },
        ],
        items: [
          { title: text, interest: 4, hit: true },
          { title: text, interest: 0, hit: false },
        ],
      },
      { order, example: order === 0 },
    );
  }
  return {
    name: text,
    date: "2026-01-02",
    imported: {
      format: { interactions: "csv" },
      columns: { user: "user", item: "item" },
      rowsRead: 9000,
      itemRowsRead: 300,
      kept: { users: 1000, items: 300, events: 8500 },
      drops: [{ file: "interactions", reason: "below-core", count: 500, examples: [{ row: 1, text }] }],
      split: { protocol: "user-disjoint", train: 800, valid: 100, test: 100, leftOut: 0 },
      timing: { timed: true, tiedShare: 0.01, withinMinuteShare: 0.2 },
      order: { by: "time", ties: "file", timedShare: 1 },
      repeats: "earliest",
      passedOver: [],
      titleShare: 1,
      notes: [`note of ${text}`],
      warnings: [`warning of ${text}`],
    },
    evaluation,
    tuning: {
      chosen: ["no crowd"],
      settings: { crowd: { weight: 0 } },
      rounds: [
        {
          chosen: "no crowd",
          steps: 900,
          trials: [
            { name: "in-use", steps: 400, epochs: 8, value: 0.71 },
            {
              name: "no crowd",
              steps: 400,
              epochs: 8,
              value: 0.74,
              difference: { mean: 0.031, standardError: 0.012, count: 40 },
            },
            { name: "dropout <.5>", steps: 100, epochs: 2, value: null },
          ],
        },
      ],
    },
    prior: {
      chosen: { prior: "ease", weight: 0.5 },
      metric: "recall@50 + ndcg@50",
      alone: 0.74,
      users: 434,
      folds: 0,
      steps: 0,
      tried: [
        { prior: "ease", weight: 0.1, value: 0.75, standardError: 0.004 },
        { prior: "ease", weight: 0.5, value: 0.78, standardError: 0.01 },
      ],
    },
    curve: {
      bestEpoch: 2,
      device: "cpu",
      stoppedBy: "patience",
      steps: 30,
      config: {},
      curve: [1, 2, 3].map((epoch) => ({
        epoch,
        loss: 7 - epoch / 10,
        parts: {},
        metrics: { "recall@20": 0.2 + epoch / 100, "recall@50": 0.4 + epoch / 100 },
        best: epoch <= 2,
      })),
    },
    ablation: {
      seeds: [1, 2],
      variants: summarize(
        [
          ["ldmi", 0.46],
          ["no-crowd", 0.45],
          ["shuffled", 0.4],
        ].flatMap(([variant, value]) =>
          [1, 2].map((seed) => ({
            variant: String(variant),
            seed,
            metrics: { "recall@50": Number(value) + seed / 1000 },
            diagnostics: {},
          })),
        ),
        "ldmi",
      ),
      baselines: {},
    },
    clusterer: { name: "facets", model: text, meanClusters: 3.2, notice: text },
    crowd: { coverage: [0.1, 0.18, 0.25], bound: 0.3, candidates: 40 },
    users: users.build(3),
    stages: [{ name: "import", seconds: 1.5, fingerprint: "abcdef0123456789" }],
    reproduce: { command: `npx prismrec run --interactions '${text}'`, files: { interactions: "0123abcd".repeat(8) } },
    environment: { node: "20.0.0" },
  };
}

/** Two systems beside a baseline; `text` stands in the names of runs. */
export function comparisonData(text = "b"): Comparison {
  const of = (run: string, mean: number) => ({
    run: `/runs/${run}`,
    model: "ldmi",
    prior: null,
    seed: 1,
    means: { "recall@50": mean },
  });
  const minus = (mean: number) => ({
    minusBaseline: { "recall@50": { ...around(mean, 0.02), notBetter: 0.5, pValue: 0.2, adjusted: 0.4 } },
  });
  return {
    baseline: "a",
    users: 100,
    metrics: ["recall@50"],
    systems: {
      a: of("a", 0.4),
      [text]: { ...of(text, 0.43), ...minus(0.03) },
      c: { ...of("c", 0.39), ...minus(-0.01) },
    },
  };
}
