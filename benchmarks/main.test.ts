import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { cudaInfo } from "@prismrec/core/ops";
import { describe, expect, it } from "vitest";
import { benchmarksRoot } from "./lib/paths.js";

// What `npx tsc -b` made, as `npm run bench` runs it.
function bench(...args: string[]) {
  return spawnSync(process.execPath, [join(benchmarksRoot, "dist", "main.js"), ...args], { encoding: "utf8" });
}

describe("npm run bench", () => {
  it("exits with 2 for an operation that there is not, and says which one was meant", () => {
    const { status, stdout, stderr } = bench("gemmm", "--json");
    expect(status).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toContain('Did you mean "gemm"?');
  });

  it.skipIf(cudaInfo()?.usable)("exits with 4 where there is no GPU for --device cuda, and says why", () => {
    const { status, stderr } = bench("contrastive-loss", "--quick", "--device", "cuda");
    expect(status).toBe(4);
    expect(stderr).toContain(`no GPU can be used: ${cudaInfo()!.reason}`);
  });

  it("knows no other device", () => {
    const { status, stderr } = bench("gemm", "--device", "gpu");
    expect(status).toBe(2);
    expect(stderr).toContain('unknown device "gpu"');
  });

  it("explains itself", () => {
    const { status, stdout } = bench("--help");
    expect(status).toBe(0);
    expect(stdout).toContain("contrastive-loss");
  });
});
