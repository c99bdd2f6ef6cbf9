import { setImmediate } from "node:timers";
import { describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { bootstrapMean, bootstrapMeans, pairedBootstrap, pairedBootstraps, unpairedBootstrap } from "./bootstrap.js";

describe("bootstrap", () => {
  const random = createRandom(5);
  const noise = Float64Array.from({ length: 400 }, () => random.normal());

  it("gives the standard error of the mean and an interval of about two of them", () => {
    const { mean, low, high, standardError } = bootstrapMean(noise);
    const average = noise.reduce((sum, x) => sum + x, 0) / 400;
    const deviation = Math.sqrt(noise.reduce((sum, x) => sum + (x - average) ** 2, 0) / 400);
    expect(mean).toBeCloseTo(average, 12);
    expect(standardError / (deviation / 20)).toBeGreaterThan(0.93);
    expect(standardError / (deviation / 20)).toBeLessThan(1.07);
    expect((high - low) / standardError).toBeGreaterThan(3.7);
    expect((high - low) / standardError).toBeLessThan(4.1);
  });

  it("keeps pairs together: a constant gain is certain however noisy the users are", () => {
    const better = noise.map((x) => x + 0.01);
    const gain = pairedBootstrap(better, noise);
    expect(gain.mean).toBeCloseTo(0.01, 12);
    expect(gain.standardError).toBeLessThan(1e-12);
    expect(gain.notBetter).toBe(0);
    expect(pairedBootstrap(noise, better).notBetter).toBe(1);
  });

  it("of two groups of different users has the standard errors of both, and the sign of the first less the second", () => {
    const other = Float64Array.from({ length: 100 }, () => random.normal() + 1);
    const { mean, low, high, standardError, notBetter } = unpairedBootstrap(other, noise);
    const own = [bootstrapMean(other), bootstrapMean(noise)];
    expect(mean).toBeCloseTo(own[0]!.mean - own[1]!.mean, 12);
    const expected = Math.sqrt(own.reduce((sum, each) => sum + each.standardError ** 2, 0));
    expect(standardError / expected).toBeGreaterThan(0.94);
    expect(standardError / expected).toBeLessThan(1.06);
    expect([low > 0, high > mean, notBetter]).toEqual([true, true, 0]);
    expect(unpairedBootstrap(noise, other).notBetter).toBe(1);
    // A group beside itself is two draws, not one: pairs would be without any doubt.
    expect(unpairedBootstrap(noise, noise).standardError).toBeGreaterThan(own[1]!.standardError);
    expect(() => unpairedBootstrap([], noise)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });

  it("repeats itself for the same seed", () => {
    expect(bootstrapMean(noise, { seed: 3 })).toEqual(bootstrapMean(noise, { seed: 3 }));
    expect(bootstrapMean(noise, { seed: 3 })).not.toEqual(bootstrapMean(noise, { seed: 4 }));
  });

  it("refuses unpaired and empty values", () => {
    expect(() => pairedBootstrap([1], [1, 2])).toThrowError(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    expect(() => bootstrapMean([])).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => bootstrapMean([1], { level: 1 })).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});

describe("bootstrap of several series", () => {
  const random = createRandom(6);
  const draw = () => Float64Array.from({ length: 300 }, () => random.normal());
  const [a, b, c] = [draw(), draw(), draw()];
  const options = { samples: 500, seed: 3, level: 0.9 };

  it("gives each what it has alone", async () => {
    expect(await bootstrapMeans({ a, b, c }, options)).toEqual({
      a: bootstrapMean(a, options),
      b: bootstrapMean(b, options),
      c: bootstrapMean(c, options),
    });
    expect(await pairedBootstraps({ ab: [a, b], ca: [c, a] }, options)).toEqual({
      ab: pairedBootstrap(a, b, options),
      ca: pairedBootstrap(c, a, options),
    });
    expect(await bootstrapMeans({}, options)).toEqual({});
  });

  it("refuses series over other users, unpaired and empty ones", async () => {
    const short = a.subarray(1);
    await expect(bootstrapMeans({ a, short })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(pairedBootstraps({ short: [a, short] })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(bootstrapMeans({ a: [] })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("lets the event loop run, tells how far it is, and stops in the middle when told", async () => {
    const many = new Float64Array(20_000).fill(1);
    const stop = new AbortController();
    const reason = new Error("enough");
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    const seen: number[] = [];
    const running = bootstrapMeans(
      { many },
      {
        signal: stop.signal,
        onProgress: ({ done, total, unit }) => {
          expect([total, unit]).toEqual([2000, "resamples"]);
          seen.push(done);
          if (seen.length === 3) stop.abort(reason);
        },
      },
    );
    await expect(running).rejects.toBe(reason);
    expect(turned).toBe(true);
    expect(seen).toHaveLength(3);
    expect(seen.at(-1)).toBeLessThan(2000);
  });
});
