import { describe, expect, it } from "vitest";
import { BARS, gemmRate, ratio } from "./bars.js";
import type { Measurement } from "./lib/measurement.js";

function row(fields: Partial<Measurement>): Measurement {
  return {
    op: "gemm",
    impl: "prismrec",
    variant: "nn",
    shape: "2048x2048x2048",
    agrees: true,
    ...fields,
  } as Measurement;
}

const square = 2 * 2048 ** 3;
const rows = [
  row({ medianSeconds: 0.1 }),
  row({ impl: "numpy", medianSeconds: 0.09 }),
  row({ impl: "torch", medianSeconds: 0.08 }),
  row({ impl: "wrong", medianSeconds: 0.01, agrees: false }),
];

describe("ratio", () => {
  it("takes the fastest of the peers asked for that agree", () => {
    expect(ratio(rows, "gemm", "nn 2048x2048x2048")).toBeCloseTo(0.8);
    expect(ratio(rows, "gemm", "nn 2048x2048x2048", (impl) => impl === "numpy")).toBeCloseTo(0.9);
    expect(ratio(rows, "gemm", "nn 2048x2048x2048", (impl) => impl === "none")).toBeUndefined();
  });
});

describe("bars", () => {
  it("count by the fastest product of the same run", () => {
    const agreeing = rows.filter(({ agrees }) => agrees !== false);
    expect(gemmRate(agreeing)).toBeCloseTo(square / 0.08);
    expect(gemmRate([])).toBeUndefined();
  });

  it("are met, missed, or not judged for want of rows", () => {
    const [openblas] = BARS;
    expect(openblas?.judge(rows)).toEqual({ met: true, reached: "0.90x" });
    expect(openblas?.judge([row({ medianSeconds: 0.2 }), rows[1]!])).toEqual({ met: false, reached: "0.45x" });
    expect(openblas?.judge([])).toBeUndefined();
  });
});
