import { describe, expect, it } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import { createRandom } from "../../base/random.js";
import { native } from "../native.js";
import { dynamicRoutingGradientSync, dynamicRoutingSync } from "./dynamic-routing.js";
import type { DynamicRoutingInput } from "./types.js";

function values(length: number, seed: string, scale = 1): Float32Array {
  const random = createRandom(seed);
  return Float32Array.from({ length }, () => random.normal() * scale);
}

function problem(overrides: Partial<DynamicRoutingInput> = {}): DynamicRoutingInput {
  const { interests = 3, dim = 5, mapCount = 4, shared = false } = overrides;
  return {
    users: 3,
    length: 4,
    interests,
    dim,
    mapCount,
    lengths: Uint32Array.of(4, 0, 2),
    events: values(3 * 4 * dim, "events"),
    maps: values(mapCount * dim * (shared ? dim : interests * dim), "maps", 0.7),
    iterations: 3,
    initial: values(interests * 4, "initial"),
    ...overrides,
  };
}

const variants = native() === undefined ? ["typescript"] : ["typescript", "reference", "scalar"];

describe.each(variants)("dynamic routing (%s)", (variant) => {
  it("shares every event out over the interests, not every interest over the events", () => {
    const { coefficients } = dynamicRoutingSync(problem({ variant }));
    for (const [b, length] of [4, 0, 2].entries()) {
      for (let t = 0; t < 4; t++) {
        const total = [0, 1, 2].reduce((sum, k) => sum + coefficients[(b * 3 + k) * 4 + t]!, 0);
        expect(total).toBeCloseTo(t < length ? 1 : 0, 6);
      }
    }
  });

  it("squashes a length l to l^2 / (1 + l^2)", () => {
    const { vectors } = dynamicRoutingSync({
      users: 2,
      length: 1,
      interests: 1,
      dim: 2,
      mapCount: 1,
      lengths: Uint32Array.of(1, 1),
      events: Float32Array.of(3, 4, 0, 0),
      maps: Float32Array.of(1, 0, 0, 1),
      iterations: 1,
      initial: new Float32Array(1),
      variant,
    });
    expect(Math.hypot(vectors[0]!, vectors[1]!)).toBeCloseTo(25 / 26, 6);
    expect([...vectors.slice(2)]).toEqual([0, 0]);
  });

  it("runs as many rounds as it is told, from the initial logits", () => {
    const after = (iterations: number, initial: Float32Array = new Float32Array(12)) =>
      dynamicRoutingSync(problem({ iterations, initial, variant })).coefficients;
    for (const share of after(1).slice(0, 4)) expect(share).toBeCloseTo(1 / 3, 6);
    expect(new Set([1, 2, 3, 4, 5].map((rounds) => after(rounds)[0])).size).toBe(5);
    expect(after(1, values(12, "other"))[0]).not.toBeCloseTo(1 / 3, 3);
  });

  it("starts anew in every call and keeps users apart", () => {
    const both = problem({ variant });
    const first = dynamicRoutingSync(both);
    expect(dynamicRoutingSync(both)).toEqual(first);
    const alone = { ...both, users: 1, lengths: Uint32Array.of(2), events: both.events.slice(2 * 4 * 5) };
    expect([...dynamicRoutingSync(alone).vectors]).toEqual([...first.vectors.slice(2 * 3 * 5)]);
  });

  it.each([{ mapCount: 4 }, { mapCount: 1 }, { mapCount: 1, shared: true }])(
    "agrees with TypeScript on interests and gradients: %o",
    (maps) => {
      const [input, expected] = [problem({ ...maps, variant }), problem({ ...maps, variant: "typescript" })];
      const forward = dynamicRoutingSync(expected);
      const { vectors, coefficients, sums } = dynamicRoutingSync(input);
      const near = (list: Float32Array) => [...list].map((value) => expect.closeTo(value, 4));
      expect([...vectors]).toEqual(near(forward.vectors));
      expect([...coefficients]).toEqual(near(forward.coefficients));
      expect([...sums]).toEqual(near(forward.sums));
      const vectorGradient = values(vectors.length, "gradient");
      const given = { coefficients: forward.coefficients, sums: forward.sums, vectorGradient };
      const wanted = dynamicRoutingGradientSync({ ...expected, ...given });
      const gradients = dynamicRoutingGradientSync({ ...input, ...given });
      expect([...gradients.events]).toEqual(near(wanted.events));
      expect([...gradients.maps]).toEqual(near(wanted.maps));
    },
  );

  it("gives no gradient to what did not take part", () => {
    const input = problem({ variant });
    const forward = dynamicRoutingSync(input);
    // The first interest of the third user alone: its two events, the maps of their two positions and of that interest.
    const vectorGradient = new Float32Array(3 * 3 * 5).fill(1, 6 * 5, 7 * 5);
    const { events, maps } = dynamicRoutingGradientSync({ ...input, ...forward, vectorGradient });
    for (const [i, value] of events.entries()) expect(value !== 0, `event ${i}`).toBe(i >= 8 * 5 && i < 10 * 5);
    for (const [i, value] of maps.entries()) expect(value !== 0, `map ${i}`).toBe(i < 2 * 5 * 15 && i % 15 < 5);
  });

  it("reads events out of a table as it reads them in their order", () => {
    const given = problem({ variant });
    const table = values(6 * given.dim, "table");
    // Padding is no row of the table.
    const rows = Uint32Array.of(5, 0, 0, 3, 9, 9, 9, 9, 2, 5, 9, 9);
    const events = Float32Array.from({ length: 12 * given.dim }, (_, i) => {
      return table[rows[Math.floor(i / given.dim)]! * given.dim + (i % given.dim)] ?? Number.NaN;
    });
    const apart = { ...given, events: table, rows };
    const output = dynamicRoutingSync(apart);
    expect(output).toEqual(dynamicRoutingSync({ ...given, events }));
    const rest = { coefficients: output.coefficients, sums: output.sums, vectorGradient: output.vectors };
    expect(dynamicRoutingGradientSync({ ...apart, ...rest })).toEqual(
      dynamicRoutingGradientSync({ ...given, events, ...rest }),
    );
    expect(() => dynamicRoutingSync({ ...apart, events: table.subarray(0, 5 * given.dim) })).toThrow(
      /outside the table/,
    );
    expect(() => dynamicRoutingSync({ ...apart, rows: rows.subarray(1) })).toThrow(/wrong length/);
  });

  it("refuses wrong shapes, lengths and what is not finite", () => {
    const codeOf = (overrides: Partial<DynamicRoutingInput>): string | undefined => {
      try {
        dynamicRoutingSync({ ...problem(), variant, ...overrides });
      } catch (error) {
        return isPrismrecError(error) ? error.code : undefined;
      }
      return undefined;
    };
    expect(codeOf({ events: new Float32Array(3) })).toBe("SHAPE_MISMATCH");
    expect(codeOf({ maps: new Float32Array(3) })).toBe("SHAPE_MISMATCH");
    expect(codeOf({ initial: new Float32Array(3) })).toBe("SHAPE_MISMATCH");
    expect(codeOf({ mapCount: 2 })).toBe("INVALID_ARGUMENT");
    expect(codeOf({ iterations: 0 })).toBe("INVALID_ARGUMENT");
    expect(codeOf({ lengths: Uint32Array.of(4, 0, 5) })).toBe("INVALID_ARGUMENT");
    expect(codeOf({ events: new Float32Array(3 * 4 * 5).fill(Number.NaN) })).toBe("NON_FINITE");
    const forward = dynamicRoutingSync(problem());
    const vectorGradient = new Float32Array(3 * 3 * 5).fill(Number.POSITIVE_INFINITY);
    expect(() => dynamicRoutingGradientSync({ ...problem(), variant, ...forward, vectorGradient })).toThrow(/finite/);
  });
});
