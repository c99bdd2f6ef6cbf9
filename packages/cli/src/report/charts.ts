import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Html, html, trusted } from "./html.js";

/** A chart is drawn twice, and the page shows the one that fits: letters stay as large as they are meant on a phone. */
const WIDTHS = { wide: 900, narrow: 340 } as const;
type Size = keyof typeof WIDTHS;
/** Pixels of a letter, and of the label of a tick with the room around it. */
const LETTER = 6.7;
const TICK = 75;

type Options = NonNullable<Parameters<typeof Plot.plot>[0]>;

/** A chart as inline SVG; colours come from the page's CSS, so that light and dark both work. */
function draw(label: string, options: Options): Html {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const figure = Plot.plot({
    document,
    marginBottom: 40,
    style: { background: "none", color: "var(--ink)", fontFamily: "inherit", fontSize: "12px" },
    ...options,
  });
  // One image with one name: its parts have none.
  for (const part of figure.querySelectorAll("[aria-label]")) part.removeAttribute("aria-label");
  figure.setAttribute("role", "img");
  figure.setAttribute("aria-label", label);
  return trusted(String(figure.outerHTML));
}

function both(label: string, options: (size: Size) => Options): Html {
  const sizes = Object.keys(WIDTHS) as Size[];
  return html`${sizes.map(
    (size) => html`<div class="${size}">${draw(label, { width: WIDTHS[size], ...options(size) })}</div>`,
  )}`;
}

export interface IntervalDot {
  /** Unique among the dots of a chart. */
  readonly label: string;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly kind: "good" | "bad" | "unclear" | "own" | "other";
  /** What stands beside it. */
  readonly text: string;
  /** The same where there is little room. */
  readonly short: string;
}

const FILLS: Readonly<Record<IntervalDot["kind"], string>> = {
  good: "var(--good)",
  bad: "var(--bad)",
  unclear: "var(--ground)",
  own: "var(--series-1)",
  other: "var(--soft)",
};
const STROKES = { ...FILLS, unclear: "var(--open)" } as const;

/** Where an interval lies: above zero, below it, or on both sides. */
export function kindOf({ low, high }: { readonly low: number; readonly high: number }): "good" | "bad" | "unclear" {
  if (low > 0) return "good";
  return high < 0 ? "bad" : "unclear";
}

/** Means with their intervals, one below the other; with `zero` around a line of no difference. */
export function intervalDots(
  label: string,
  dots: readonly IntervalDot[],
  { x, zero }: { readonly x: string; readonly zero: boolean },
): Html {
  const longest = Math.max(...dots.map((dot) => dot.label.length));
  const [least, most] = [Math.min(...dots.map(({ low }) => low)), Math.max(...dots.map(({ high }) => high))];
  const [from, to] = zero ? [Math.min(0, least), Math.max(0, most)] : [least, most];
  const pad = 0.06 * (to - from || 1);
  return both(label, (size) => {
    const room = Math.floor((WIDTHS[size] * (size === "wide" ? 0.3 : 0.36)) / LETTER);
    const letters = Math.min(longest, room);
    const marginLeft = letters * LETTER + 16;
    const text = (dot: IntervalDot): string => (size === "wide" ? dot.text : dot.short);
    const marginRight = Math.max(...dots.map((dot) => text(dot).length)) * LETTER + 16;
    return {
      height: 52 + 30 * dots.length,
      marginLeft,
      marginRight,
      x: {
        label: x,
        domain: [from - pad, to + pad],
        grid: true,
        ticks: (WIDTHS[size] - marginLeft - marginRight) / TICK,
      },
      y: {
        label: null,
        domain: dots.map((dot) => dot.label),
        tickSize: 0,
        tickFormat: (name: string) => (name.length > letters ? `${name.slice(0, letters - 1)}…` : name),
      },
      marks: [
        ...(zero ? [Plot.ruleX([0], { stroke: "var(--ink)" })] : []),
        Plot.ruleY(dots, {
          x1: "low",
          x2: "high",
          y: "label",
          stroke: ({ kind }: IntervalDot) => STROKES[kind],
          strokeWidth: 2.5,
        }),
        Plot.dot(dots, {
          x: "mean",
          y: "label",
          r: 5.5,
          fill: ({ kind }: IntervalDot) => FILLS[kind],
          stroke: ({ kind }: IntervalDot) => STROKES[kind],
          strokeWidth: 2.5,
        }),
        Plot.text(dots, {
          frameAnchor: "right",
          y: "label",
          text,
          textAnchor: "start",
          dx: 10,
          fill: "var(--ink)",
        }),
      ],
      color: { type: "identity" },
    };
  });
}

export interface CurvePoint {
  readonly epoch: number;
  readonly value: number;
}

const CURVE = { width: 290, height: 170 } as const;

/** One series over the epochs, its axis no taller than the change in it, the best epoch marked. */
export function learningCurve(name: string, points: readonly CurvePoint[], bestEpoch: number, place: number): Html {
  const values = points.map(({ value }) => value);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = 0.08 * (high - low) || 0.01 * Math.abs(high) || 0.01;
  const [first, last] = [points[0]?.epoch ?? 0, points.at(-1)?.epoch ?? 1];
  const colour = `var(--series-${place})`;
  const best = points.filter(({ epoch }) => epoch === bestEpoch);
  return draw(`${name} by epoch, from ${low.toPrecision(3)} to ${high.toPrecision(3)}`, {
    ...CURVE,
    marginLeft: 44,
    marginTop: 14,
    x: { label: "epoch →", domain: [first - 0.25, last + 0.25], ticks: wholeTicks(first, last), tickFormat: "d" },
    y: { label: null, grid: true, domain: [low - pad, high + pad], ticks: 4 },
    marks: [
      Plot.ruleX([bestEpoch], { stroke: "var(--soft)", strokeDasharray: "3,3" }),
      Plot.line(points, { x: "epoch", y: "value", stroke: colour, strokeWidth: 2 }),
      Plot.dot(points, { x: "epoch", y: "value", fill: colour, r: points.length > 40 ? 0 : 2.5 }),
      Plot.dot(best, { x: "epoch", y: "value", fill: "var(--ground)", stroke: colour, strokeWidth: 2.5, r: 5.5 }),
    ],
  });
}

/** Covered share after each pick of max cover. */
export function coverCurve(coverage: readonly number[]): Html {
  const points = coverage.map((share, i) => ({ users: i + 1, share: 100 * share }));
  return both("Coverage by number of synthesized users", (size) => ({
    height: size === "wide" ? 280 : 220,
    marginLeft: 48,
    x: { label: "synthesized users →", nice: false, ticks: size === "wide" ? 8 : 4 },
    y: { label: "↑ % of what all candidates cover", grid: true, domain: [0, 100] },
    marks: [
      Plot.areaY(points, { x: "users", y: "share", fill: "var(--series-1)", fillOpacity: 0.15 }),
      Plot.line(points, { x: "users", y: "share", stroke: "var(--series-1)", strokeWidth: 2 }),
      ...(points.length === 1 ? [Plot.dot(points, { x: "users", y: "share", fill: "var(--series-1)" })] : []),
    ],
  }));
}

/** At most about six whole numbers. */
function wholeTicks(first: number, last: number): number[] {
  const step = Math.max(1, Math.ceil((last - first) / 6));
  return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, i) => first + i * step);
}
