import { describe, expect, it } from "vitest";
import type { Ablation } from "../pipeline/ablate.js";
import { fakeIo } from "../testing/fake-io.js";
import { reportData } from "../testing/report-data.js";
import { ablationBaselines, explanationTable, exposureTable } from "./results.js";
import { styleFor } from "./style.js";

const style = styleFor(fakeIo().stdout, {}, false);
const { evaluation } = reportData();

describe("the tables of an evaluation", () => {
  it("tell what the lists of each model do to the catalog", () => {
    expect(exposureTable(evaluation, style, 80)?.split("\n")).toEqual([
      "lists of 50   coverage   Gini  novelty  popularity   lift",
      ...["ldmi        ", "ease        ", "most-popular"].map(
        (model) => `${model}    40.0 %  0.900     3.50      10.0 %  +0.25`,
      ),
    ]);
    expect(exposureTable({ ...evaluation, exposure: {} }, style, 80)).toBeUndefined();
  });

  it("tell whether named interests fit, of the models that have any", () => {
    expect(explanationTable(evaluation, style)?.split("\n")).toEqual([
      "named interests  judged by   right %  at random %  difference ± s.e.  users",
      "ldmi             categories     50.0         30.0          20.0 ±2.0     90",
    ]);
    expect(explanationTable({ ...evaluation, explanations: {} }, style)).toBeUndefined();
  });
});

describe("the baselines of an ablation", () => {
  const trial = (variant: string, value: number, seed?: number) => ({
    variant,
    ...(seed === undefined ? {} : { seed }),
    metrics: { "recall@20": value },
    diagnostics: {},
  });
  const difference = {
    mean: 0.1,
    low: 0.02,
    high: 0.18,
    standardError: 0.04,
    notBetter: 0,
    pValue: 0.01,
    adjusted: 0.02,
  };
  const ablation: Ablation = {
    seeds: [1, 2],
    variants: {
      ldmi: {
        description: "the whole method",
        trials: [trial("ldmi", 0.4, 1), trial("ldmi", 0.5, 2)],
        mean: { "recall@20": 0.45 },
        standardError: { "recall@20": 0.05 },
      },
    },
    baselines: {
      ease: {
        trials: [trial("ease", 0.35)],
        mean: { "recall@20": 0.35 },
        standardError: { "recall@20": 0 },
        ldmiMinusThis: { "recall@20": difference },
      },
    },
  };

  it("stand below the whole model, with the verdict over users", () => {
    expect(ablationBaselines(ablation, "ldmi", 80)?.split("\n")).toEqual([
      "%, over seeds  seeds    recall@20",
      "ldmi               2  45.00 ±5.00",
      "ease               –        35.00",
      "",
      "  ▲ ldmi is above ease: +10.00 points of recall@20, 95 % interval +2.00 to +18.00; Wilcoxon, Holm: p .020",
    ]);
  });

  it("stand alone where the whole model was not trained, and nowhere where there are none", () => {
    const { ease } = ablation.baselines;
    const { ldmiMinusThis: _, ...alone } = ease!;
    expect(ablationBaselines({ ...ablation, variants: {}, baselines: { ease: alone } }, "ldmi", 80)).toBe(
      "%, over seeds  seeds  recall@20\nease               –      35.00",
    );
    expect(ablationBaselines({ ...ablation, baselines: {} }, "ldmi", 80)).toBeUndefined();
  });
});
