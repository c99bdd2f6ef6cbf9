import { spawnSync } from "node:child_process";
import { join } from "node:path";
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

  it("explains itself", () => {
    const { status, stdout } = bench("--help");
    expect(status).toBe(0);
    expect(stdout).toContain("contrastive-loss");
  });
});
