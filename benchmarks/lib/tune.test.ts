import { describe, expect, it } from "vitest";
import type { Configuration } from "./bench.js";
import { configurations } from "./configurations.js";
import { fastest } from "./tune.js";

describe("fastest", () => {
  it("settles one choice after the other without trying every combination", async () => {
    const all = configurations({ allocator: true, options: [{ chunk: 1 }, { chunk: 2 }] });
    const tried = new Map<Configuration, number>();
    const winner = await fastest(all, tried, async (one) => {
      const slow = [one.python === "pypi", one.blas === "stock", one.allocator === "stock", one.options?.chunk === 1];
      tried.set(one, 1 + slow.filter(Boolean).length);
    });
    expect(winner).toMatchObject({ python: "debian", blas: "openmp", allocator: "tuned", options: { chunk: 2 } });
    expect(tried.size).toBeLessThan(all.length);
  });

  it("goes on from what ran where the usual one fails, and gives up where none does", async () => {
    const all = configurations();
    const tried = new Map<Configuration, number>();
    const onlyDebian = async (one: Configuration): Promise<void> => {
      if (one.python === "debian") tried.set(one, 1);
    };
    expect(await fastest(all, tried, onlyDebian)).toMatchObject({ python: "debian" });
    expect(await fastest(all, new Map(), async () => undefined)).toBeUndefined();
    expect(await fastest([], new Map(), async () => undefined)).toBeUndefined();
  });
});
