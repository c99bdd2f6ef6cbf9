import { describe, expect, it } from "vitest";
import { exceeded, parseUsage } from "./cuda-gates.mjs";

const PRINTED = `
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'Gradient<64>' for 'sm_80'
ptxas info    : Function properties for Gradient<64>
    16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 1024 bytes smem, 520 bytes cmem[0]
ptxas info    : Compiling entry function 'Gradient<64>' for 'sm_90'
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 160 registers, used 1 barriers, 520 bytes cmem[0]
`;

describe("the gates of CUDA kernels", () => {
  it("reads registers, spills and shared memory of every kernel and architecture", () => {
    expect(parseUsage(PRINTED)).toEqual({
      "Gradient<64>": {
        80: { registers: 168, spills: 12, shared: 1024 },
        90: { registers: 160, spills: 0, shared: 0 },
      },
    });
  });

  it("complains of what is over its limit, has none, or is gone", () => {
    const usages = parseUsage(PRINTED);
    expect(exceeded(usages, usages)).toEqual([]);
    const limits = {
      "Gradient<64>": { 80: { registers: 167, spills: 0, shared: 1024 } },
      "Old<1>": { 80: { registers: 1, spills: 0, shared: 0 } },
    };
    expect(exceeded(usages, limits)).toEqual([
      "Gradient<64> sm_80: registers 168 > 167",
      "Gradient<64> sm_80: spills 12 > 0",
      "Gradient<64> sm_90: no limit is written down",
      "Old<1> sm_80: a limit, but no such kernel",
    ]);
  });
});
