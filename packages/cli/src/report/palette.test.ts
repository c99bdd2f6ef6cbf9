import { describe, expect, it } from "vitest";
import { GROUNDS, PALETTE, SERIES } from "./palette.js";

type Vector = readonly [number, number, number];

const linear = (hex: string): Vector =>
  [1, 3, 5].map((at) => {
    const value = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as unknown as Vector;

const times = (matrix: readonly Vector[], [x, y, z]: Vector): Vector =>
  matrix.map(([a, b, c]) => a * x + b * y + c * z) as unknown as Vector;

/** How colours look to whom: Machado, Oliveira and Fernandes 2009, the severest form of each, in linear light. */
const EYES: Readonly<Record<string, readonly Vector[]>> = {
  everybody: [
    [1, 0, 0],
    [0, 1, 0],
    [0, 0, 1],
  ],
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
  tritanopia: [
    [1.255528, -0.076749, -0.178779],
    [-0.078411, 0.930809, 0.147602],
    [0.004733, 0.691367, 0.3039],
  ],
};

/** Ottosson 2020. */
function oklab(colour: Vector): Vector {
  const cones = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    colour,
  );
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    cones.map(Math.cbrt) as unknown as Vector,
  );
}

/** WCAG's contrast ratio. */
function contrast(a: string, b: string): number {
  const [bright = 0, dim = 0] = [a, b]
    .map((hex) => times([[0.2126, 0.7152, 0.0722]], linear(hex))[0])
    .sort((x, y) => y - x);
  return (bright + 0.05) / (dim + 0.05);
}

describe.each(["light", "dark"] as const)("the palette on a %s ground", (scheme) => {
  const colours = PALETTE[scheme];

  it("has eight colours that stand out from page and panels", () => {
    expect(new Set(colours).size).toBe(SERIES);
    expect(SERIES).toBe(8);
    for (const ground of GROUNDS[scheme])
      for (const colour of colours) expect([colour, contrast(colour, ground) >= 3]).toEqual([colour, true]);
  });

  // The colours of Okabe and Ito, made for this, are 0.076 apart.
  it.each(Object.entries(EYES))("whose least distance is plain to %s", (_, eye) => {
    const seen = colours.map((hex) =>
      oklab(times(eye, linear(hex)).map((value) => Math.min(1, Math.max(0, value))) as unknown as Vector),
    );
    const distances = seen.flatMap((a, i) =>
      seen.slice(0, i).map((b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2])),
    );
    expect(Math.min(...distances)).toBeGreaterThan(0.095);
  });
});
