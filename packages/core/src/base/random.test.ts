import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom, randomFromState } from "./random.js";

describe("createRandom", () => {
  it("repeats itself for the same seed and stream, and differs for another of either", () => {
    const draw = (seed: number | string, stream?: string) => {
      const random = createRandom(seed, stream);
      return Array.from({ length: 5 }, () => random.uniform());
    };
    expect(draw(7, "a")).toEqual(draw(7, "a"));
    expect(draw(7, "a")).not.toEqual(draw(7, "b"));
    expect(draw(7, "a")).not.toEqual(draw(8, "a"));
  });

  it("goes on from a saved state bit for bit, also after normals and integers", () => {
    const random = createRandom("resume");
    random.normal();
    random.integer(0, 10);
    const saved = JSON.parse(JSON.stringify(random.state()));
    const expected = [random.normal(), random.uniform(), random.integer(0, 1000)];
    const resumed = randomFromState(saved);
    expect([resumed.normal(), resumed.uniform(), resumed.integer(0, 1000)]).toEqual(expected);
    random.restore(saved);
    expect(random.normal()).toBe(expected[0]);
  });

  it("draws integers from lo inclusive to hi exclusive and reaches both ends", () => {
    const random = createRandom(1);
    const seen = new Set(Array.from({ length: 200 }, () => random.integer(-1, 3)));
    expect([...seen].sort((a, b) => a - b)).toEqual([-1, 0, 1, 2]);
    expect(() => random.integer(3, 3)).toThrowError(/at least one value/);
  });

  it("draws normals with mean 0 and variance 1", () => {
    const random = createRandom(2);
    const n = 20_000;
    let sum = 0;
    let squares = 0;
    for (let i = 0; i < n; i++) {
      const x = random.normal();
      sum += x;
      squares += x * x;
    }
    expect(Math.abs(sum / n)).toBeLessThan(0.03);
    expect(Math.abs(squares / n - 1)).toBeLessThan(0.05);
  });

  it("shuffles in place and loses nothing", () => {
    fc.assert(
      fc.property(fc.array(fc.integer()), fc.integer(), (values, seed) => {
        const shuffled = createRandom(seed).shuffle(Int32Array.from(values));
        expect([...shuffled].sort((a, b) => a - b)).toEqual([...Int32Array.from(values)].sort((a, b) => a - b));
      }),
    );
    const original = Uint32Array.from({ length: 50 }, (_, i) => i);
    expect([...createRandom(3).shuffle(original.slice())]).not.toEqual([...original]);
  });

  it("refuses a state that no generator has produced", () => {
    expect(() => randomFromState([0, 0, 0, 0])).toThrowError(/saved state/);
  });
});
