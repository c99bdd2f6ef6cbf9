import { describe, expect, it } from "vitest";
import { reportData } from "../testing/report-data.js";
import { checksOf } from "./checks.js";
import type { ReportData } from "./data.js";

const data = reportData();
const { evaluation } = data;
const states = (changed: Partial<ReportData>): string[] =>
  checksOf({ ...data, ...changed }).map(({ state, text }) => `${state}: ${text}`);
const judged = (changed: Partial<ReportData["evaluation"]>): string[] =>
  states({ evaluation: { ...evaluation, ...changed } });

describe("checksOf", () => {
  it("puts the failed before the open before the passed, and twins first among each", () => {
    const bad = { mean: -0.05, low: -0.08, high: -0.02, standardError: 0.015, notBetter: 1 };
    const found = judged({
      comparisons: { ...evaluation.comparisons, ease: { "recall@50": bad } },
      recovery: evaluation.recovery!.map((one) => ({ ...one, ari: 0.01 })),
    });
    const order = found.map((line) => line.split(":")[0]);
    expect(order).toEqual([...order].sort((a, b) => "fop".indexOf(a![0]!) - "fop".indexOf(b![0]!)));
    expect(found[0]).toMatch(/^failed: interests by facets agree with the known ones no better than shuffled/);
    expect(found[1]).toMatch(/^failed: ldmi is below ease/);
    expect(found).toContain("open: warning of Plain title");
  });

  it("holds interests against shuffled ones: found, named, and learned from", () => {
    const found = states({}).filter((line) => /shuffled|drawn/.test(line));
    expect(found).toEqual([
      "passed: interests by facets agree with the known ones better than shuffled ones: ARI 0.400 and 0.010",
      "passed: the interests that are named behind the items fit them better than drawn ones: 50.0 % right, 30.0 % by drawing one",
      "passed: ldmi with its interests minus ldmi with shuffled ones: +6.00 points of recall@50 ± 0.00 over 2 seeds",
    ]);
    const chance = { ...evaluation.explanations.ldmi!, right: 0.33 };
    expect(judged({ explanations: { ldmi: chance } })).toContain(
      "failed: the interests that are named behind the items fit them no better than drawn ones: 33.0 % right, 30.0 % by drawing one",
    );
  });

  it("settles nothing by one seed", () => {
    const { shuffled, ...others } = data.ablation!.variants;
    const one = { ...shuffled!, trials: shuffled!.trials.slice(0, 1) };
    const ablation = { ...data.ablation!, variants: { ...others, shuffled: one } };
    expect(states({ ablation })).toContain(
      "open: ldmi with its interests minus ldmi with shuffled ones: +6.00 points of recall@50, by one seed",
    );
  });

  it("tells a training that ended too early, interests that are all one, and users that are too few", () => {
    expect(states({ curve: { ...data.curve!, bestEpoch: 3, stoppedBy: "epochs" } })).toContain(
      "open: training was still getting better when its last epoch (3) was over: more may help (--epochs)",
    );
    expect(judged({ diagnostics: { ldmi: { interestCosine: 0.99 } } })).toContain(
      "failed: mean cosine of a user's interests 0.990: they are nearly one",
    );
    const protocol = { ...evaluation.protocol, users: { ...evaluation.protocol.users, test: 40 } };
    expect(judged({ protocol })).toContain("open: only 40 test users: intervals are wide");
  });
});
