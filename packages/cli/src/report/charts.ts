import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { type Html, trusted } from "./html.js";

const WIDTH = 900;
const HEIGHT = 280;

type Options = Parameters<typeof Plot.plot>[0];

/** A chart as inline SVG; colours come from the page's CSS, so that light and dark both work. */
function chart(label: string, options: NonNullable<Options>): Html {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const figure = Plot.plot({
    document,
    width: WIDTH,
    height: HEIGHT,
    marginLeft: 56,
    marginBottom: 40,
    ariaLabel: label,
    style: { background: "none", color: "var(--ink)", fontFamily: "inherit", fontSize: "12px" },
    ...options,
  });
  return trusted(String(figure.outerHTML));
}

export interface CurvePoint {
  readonly epoch: number;
  readonly metric: string;
  /** percent */
  readonly value: number;
}

/** Validation metrics over the epochs, the best epoch marked. */
export function learningCurve(points: readonly CurvePoint[], bestEpoch: number): Html {
  const metrics = [...new Set(points.map(({ metric }) => metric))];
  const last = Math.max(...points.map(({ epoch }) => epoch));
  return chart("Validation metrics by epoch", {
    marginRight: 84,
    x: { label: "epoch →", ticks: wholeTicks(last), tickFormat: "d" },
    y: { label: "↑ % on validation users", grid: true, zero: true, nice: true },
    color: { domain: metrics, range: metrics.map((_, i) => `var(--series-${i + 1})`) },
    marks: [
      Plot.ruleX([bestEpoch], { stroke: "var(--ink)", strokeOpacity: 0.35, strokeDasharray: "3,3" }),
      Plot.line(points, { x: "epoch", y: "value", stroke: "metric", z: "metric", strokeWidth: 2 }),
      Plot.dot(points, { x: "epoch", y: "value", fill: "metric", r: 2.5 }),
      Plot.text(
        spread(
          points.filter(({ epoch }) => epoch === last),
          0.065 * Math.max(...points.map(({ value }) => value)),
        ),
        { x: "epoch", y: "value", text: "metric", fill: "metric", textAnchor: "start", dx: 8 },
      ),
    ],
  });
}

/** Covered share after each pick of max cover. */
export function coverCurve(coverage: readonly number[]): Html {
  const points = coverage.map((share, i) => ({ users: i + 1, share: 100 * share }));
  return chart("Coverage by number of synthesized users", {
    x: { label: "synthesized users →", nice: false },
    y: { label: "↑ % of what all candidates cover", grid: true, domain: [0, 100] },
    marks: [
      Plot.areaY(points, { x: "users", y: "share", fill: "var(--series-1)", fillOpacity: 0.15 }),
      Plot.line(points, { x: "users", y: "share", stroke: "var(--series-1)", strokeWidth: 2 }),
      ...(points.length === 1 ? [Plot.dot(points, { x: "users", y: "share", fill: "var(--series-1)" })] : []),
    ],
  });
}

/** Moves labels apart that would stand on one another: at least `gap` between neighbours, lowest first. */
export function spread(points: readonly CurvePoint[], gap: number): CurvePoint[] {
  let floor = Number.NEGATIVE_INFINITY;
  return [...points]
    .sort((a, b) => a.value - b.value)
    .map((point) => {
      const value = Math.max(point.value, floor);
      floor = value + gap;
      return { ...point, value };
    });
}

export interface RecoveryBar {
  readonly clusterer: string;
  readonly control: boolean;
  readonly ari: number;
  readonly standardError: number;
}

/** Agreement with known interests, the run's clusterer above its controls, with two standard errors. */
export function recoveryChart(bars: readonly RecoveryBar[]): Html {
  const data = bars.map((bar) => ({
    ...bar,
    low: bar.ari - 2 * bar.standardError,
    high: bar.ari + 2 * bar.standardError,
    kind: bar.control ? "control" : "this run",
  }));
  return chart("Interest recovery beside the controls", {
    height: 60 + 38 * bars.length,
    marginLeft: 96,
    marginRight: 40,
    x: { label: "adjusted Rand index →", grid: true, zero: true, nice: true },
    y: { label: null, domain: data.map(({ clusterer }) => clusterer) },
    color: { domain: ["this run", "control"], range: ["var(--series-1)", "var(--muted)"] },
    marks: [
      Plot.barX(data, { x: "ari", y: "clusterer", fill: "kind", z: null, insetTop: 4, insetBottom: 4 }),
      Plot.ruleY(data, { x1: "low", x2: "high", y: "clusterer", stroke: "var(--ink)", strokeWidth: 1.5 }),
      Plot.text(data, {
        x: "high",
        y: "clusterer",
        text: (bar: RecoveryBar) => bar.ari.toFixed(2),
        textAnchor: "start",
        dx: 6,
        fill: "var(--ink)",
      }),
      Plot.ruleX([0], { stroke: "var(--ink)" }),
    ],
  });
}

/** At most about ten whole numbers from 1 to `last`. */
function wholeTicks(last: number): number[] {
  const step = Math.max(1, Math.ceil(last / 10));
  return Array.from({ length: Math.floor((last - 1) / step) + 1 }, (_, i) => 1 + i * step);
}
