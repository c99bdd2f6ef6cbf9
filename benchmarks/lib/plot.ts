import * as Plot from "@observablehq/plot";
import { parseHTML } from "linkedom";
import { OURS } from "./measurement.js";

export interface PlotPoint {
  readonly series: string;
  readonly n: number;
  readonly impl: string;
  readonly seconds: number;
  readonly bytes: number;
}

const PANEL_WIDTH = 330;
const PANEL_HEIGHT = 230;
const TITLE = 26;
const OUR_COLOUR = "#c2255c";
const PEER_COLOURS = ["#1c7ed6", "#2b8a3e", "#e67700", "#7048e8", "#495057"];

/** Time and memory against N on logarithmic axes, one row of panels for each series, as a file of its own (SVG). */
export function growthPlot(title: string, points: readonly PlotPoint[]): string {
  const impls = [OURS, ...new Set(points.map(({ impl }) => impl).filter((impl) => impl !== OURS))];
  const colours = new Map(
    impls.map((impl, i) => [impl, i === 0 ? OUR_COLOUR : PEER_COLOURS[(i - 1) % PEER_COLOURS.length]!]),
  );
  const series = [...new Set(points.map((point) => point.series))];
  const panels = series.flatMap((name, row) => {
    const own = points.filter((point) => point.series === name);
    const y = TITLE + row * (PANEL_HEIGHT + TITLE);
    const megabytes = own.map((point) => ({ ...point, megabytes: point.bytes / 1e6 }));
    return [
      `<text x="8" y="${y + 14}" font-weight="600">${escapeXml(name)}</text>`,
      place(panel(own, "seconds", "seconds", colours), 0, y + TITLE - 8),
      place(panel(megabytes, "megabytes", "extra MB", colours), PANEL_WIDTH, y + TITLE - 8),
    ];
  });
  const height = TITLE + series.length * (PANEL_HEIGHT + TITLE);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${2 * PANEL_WIDTH}" height="${height}" viewBox="0 0 ${2 * PANEL_WIDTH} ${height}"`,
    ` font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="${escapeXml(title)}: time and memory against N">`,
    `<rect width="100%" height="100%" fill="#fff"/>`,
    ...legend(colours),
    ...panels,
    "</svg>\n",
  ].join("");
}

function panel(points: readonly PlotPoint[], y: string, label: string, colours: ReadonlyMap<string, string>): string {
  const { document } = parseHTML("<!doctype html><html><body></body></html>");
  const svg = Plot.plot({
    document,
    width: PANEL_WIDTH,
    height: PANEL_HEIGHT,
    marginLeft: 52,
    x: { type: "log", label: "N →", tickFormat: "~s", ticks: 4 },
    y: { type: "log", label: `↑ ${label}`, grid: true, tickFormat: "~g", ticks: 5 },
    color: { domain: [...colours.keys()], range: [...colours.values()] },
    marks: [
      Plot.line(points, { x: "n", y, stroke: "impl", z: "impl", strokeWidth: 1.8 }),
      Plot.dot(points, { x: "n", y, fill: "impl", r: 2.5 }),
    ],
  });
  // Its style sheet says height: auto, which would take a nested SVG out of its place.
  return String(svg.outerHTML).replace(/<style>[\s\S]*?<\/style>/, "");
}

function place(svg: string, x: number, y: number): string {
  return svg.replace("<svg ", `<svg x="${x}" y="${y}" `);
}

function legend(colours: ReadonlyMap<string, string>): string[] {
  let x = 8;
  return [...colours].map(([impl, colour]) => {
    const at = x;
    x += 24 + 7 * impl.length;
    return `<rect x="${at}" y="8" width="10" height="10" fill="${colour}"/><text x="${at + 14}" y="17">${escapeXml(impl)}</text>`;
  });
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}
