import { describe, expect, it } from "vitest";
import { fromCsv, toCsv } from "./csv.js";
import { type Measurement, toJsonLine, withRatios } from "./measurement.js";

function row(impl: string, medianSeconds: number, agrees: boolean | null): Measurement {
  return {
    op: "gemm",
    impl,
    variant: "nt",
    shape: "4x4x4",
    threads: 2,
    medianSeconds,
    p20Seconds: medianSeconds,
    p80Seconds: medianSeconds,
    peakExtraBytes: 4096,
    peakRssBytes: 8192,
    ratioToBestPeer: null,
    agrees,
    agreement: 'prismrec: "close", relative error 1e-7',
    calls: 7,
    cleanBlocks: 6,
    blocks: 7,
    foreignCores: 0.01,
    configuration: "PyPI, 2 threads",
    versions: "torch 2",
    note: "",
    machine: "a processor",
    simd: "avx2",
    commit: "0123abc",
    date: "2026-01-01T00:00:00Z",
  };
}

describe("withRatios", () => {
  it("compares ours with the fastest peer that agrees", () => {
    const rows = withRatios([
      row("prismrec", 1, true),
      row("wrong", 0.5, false),
      row("slow", 4, true),
      row("best", 2, true),
    ]);
    expect(rows.map(({ ratioToBestPeer }) => ratioToBestPeer)).toEqual([2, null, null, null]);
  });

  it("has no ratio without a peer", () => {
    expect(withRatios([row("prismrec", 1, null), row("wrong", 0.5, false)])[0]?.ratioToBestPeer).toBeNull();
  });
});

describe("toJsonLine", () => {
  it("prints the keys that readers rely on", () => {
    expect(JSON.parse(toJsonLine({ ...row("prismrec", 1 / 3, true), ratioToBestPeer: 1.5 }))).toEqual({
      op: "gemm",
      impl: "prismrec",
      variant: "nt",
      shape: "4x4x4",
      threads: 2,
      median_s: 0.33333,
      p20_s: 0.33333,
      p80_s: 0.33333,
      peak_extra_bytes: 4096,
      ratio_to_best_peer: 1.5,
      agrees: true,
    });
  });
});

describe("CSV", () => {
  it("reads back what it wrote, commas, quotes and nulls included", () => {
    const rows = [{ ...row("prismrec", 0.25, true), ratioToBestPeer: 2.5 }, row("torch", 0.5, null)];
    expect(fromCsv(toCsv(rows))).toEqual(rows);
  });

  it("refuses other columns", () => {
    expect(() => fromCsv("a,b\n1,2\n")).toThrow("expected the columns op,impl");
  });
});
