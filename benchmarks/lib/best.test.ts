import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { BestConfigurations } from "./best.js";
import { configurations } from "./configurations.js";

it("keeps the best configuration of a case and lends it to cases that were never tuned", () => {
  const folder = mkdtempSync(join(tmpdir(), "prismrec-best-"));
  try {
    const file = join(folder, "best.json");
    const [first, second] = configurations().map((configuration, i) => ({ configuration, reason: `${i}` }));
    BestConfigurations.read(file).set("avx2", "a machine", "gemm", "nn 2x2", "numpy", first!);
    BestConfigurations.read(file).set("avx2", "a machine", "gemm", "nt 4x4", "numpy", second!);

    const best = BestConfigurations.read(file);
    expect(best.get("avx2", "gemm", { variant: "nt", shape: "4x4" }, "numpy")).toEqual(second);
    expect(best.get("avx2", "gemm", { variant: "nt", shape: "8x8" }, "numpy")).toEqual(second);
    expect(best.get("avx2", "gemm", { variant: "tn", shape: "8x8" }, "numpy")).toEqual(first);
    expect(best.get("avx512", "gemm", { variant: "nt", shape: "4x4" }, "numpy")).toEqual(second);
    expect(best.get("avx2", "gemm", { variant: "nt", shape: "4x4" }, "torch")).toBeUndefined();
    expect([best.isKnown("avx2"), best.isKnown("avx512")]).toEqual([true, false]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
