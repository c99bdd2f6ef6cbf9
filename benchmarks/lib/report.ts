import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BARS } from "../bars.js";
import { type Bench, caseName, type Probe } from "./bench.js";
import { BENCHES } from "./benches.js";
import { fromCsv } from "./csv.js";
import { type Measurement, OURS } from "./measurement.js";
import { benchmarksRoot } from "./paths.js";
import { growthPlot, type PlotPoint } from "./plot.js";
import { bytes, seconds } from "./table.js";

const RESULTS = join(benchmarksRoot, "results");
export const REPORT = join(RESULTS, "README.md");

/** Where a kind of processor keeps its results. */
export function resultsFolder(simd: string): string {
  return join(RESULTS, simd);
}

interface Page {
  readonly simd: string;
  readonly rows: readonly Measurement[];
}

/** Writes each instruction set's page and plots from its CSV files, and the page that lays them side by side. */
export async function writeReport(): Promise<void> {
  const pages: Page[] = [];
  for (const entry of readdirSync(RESULTS, { withFileTypes: true })) {
    if (entry.isDirectory()) pages.push({ simd: entry.name, rows: await writePage(entry.name) });
  }
  pages.sort((a, b) => a.simd.localeCompare(b.simd));
  const lines = [
    "# Results",
    "",
    "One page for each instruction set that the suite ran on; all are made by `npm run bench -- table` from the CSV files beside",
    "them. Ratios are the fastest agreeing peer's median over ours, both of one run: above 1 is ahead. How it was measured",
    "stands in [the suite's README](../README.md).",
    "",
    ...pages.flatMap(({ simd, rows }) => machines(rows).map((machine) => `- [${simd}](${simd}/README.md): ${machine}`)),
    "",
    ...bars(pages),
  ];
  writeFileSync(REPORT, `${lines.join("\n").trimEnd()}\n`);
}

async function writePage(simd: string): Promise<Measurement[]> {
  const folder = resultsFolder(simd);
  const known = readdirSync(folder);
  const sections: string[] = [];
  const all: Measurement[] = [];
  for (const [op, module] of Object.entries(BENCHES)) {
    if (!known.includes(`${op}.csv`)) continue;
    const rows = fromCsv(readFileSync(join(folder, `${op}.csv`), "utf8"));
    all.push(...rows);
    const { default: bench } = (await import(module.href)) as { readonly default: Bench | Probe };
    sections.push(section(bench, rows, writePlots(folder, bench, rows)));
  }
  const head = [
    `# Results with ${simd}`,
    "",
    "From the CSV files here, which hold every row with versions, settings, clean blocks and foreign load. What the project",
    "sets itself, met or missed, is [one page up](../README.md).",
    "",
    ...machines(all).map((machine) => `- ${machine}`),
    "",
  ];
  writeFileSync(join(folder, "README.md"), `${[...head, ...sections].join("\n").trimEnd()}\n`);
  return all;
}

function machines(rows: readonly Measurement[]): string[] {
  return [...new Set(rows.map(({ machine, commit, date }) => `${machine}; commit ${commit}; ${date.slice(0, 10)}`))];
}

/** Bars that count by the GEMM rate take it from the rows of the same machine. */
function bars(pages: readonly Page[]): string[] {
  const lines = BARS.map(({ op, what, judge }) => {
    const cells = pages.map(({ rows }) => {
      const verdict = judge(rows);
      return verdict === undefined ? "not measured" : `${verdict.reached}${verdict.met ? "" : " **missed**"}`;
    });
    return `| ${[op, what, ...cells].join(" | ")} |`;
  });
  const header = ["", "bar", ...pages.map(({ simd }) => simd)];
  return ["## Bars", "", `| ${header.join(" | ")} |`, `|${"---|".repeat(header.length)}`, ...lines, ""];
}

function section(bench: Bench | Probe, rows: readonly Measurement[], plots: readonly string[]): string {
  const names = [...new Set(rows.map(caseName))];
  const lines = names.map((name) =>
    caseLine(
      bench,
      name,
      rows.filter((row) => caseName(row) === name),
    ),
  );
  return [
    `## ${bench.title}`,
    "",
    `\`${bench.op}\`: ${bench.method}.`,
    "",
    "| case | prismrec | peers | ratio | extra memory, ours / best peer | checked by |",
    "|---|---|---|---|---|---|",
    ...lines,
    "",
    ...plots.map((file) => `![time and memory of ${bench.op} against N](${file})\n`),
  ].join("\n");
}

function caseLine(bench: Bench | Probe, name: string, rows: readonly Measurement[]): string {
  const ours = rows.find(({ impl }) => impl === OURS);
  const peers = rows.filter(({ impl }) => impl !== OURS).sort((a, b) => a.medianSeconds - b.medianSeconds);
  if (ours === undefined) return "";
  const spread = `${seconds(ours.medianSeconds)} (${seconds(ours.p20Seconds)} to ${seconds(ours.p80Seconds)})`;
  const perSecond = rate(bench, name, ours.medianSeconds);
  const named = peers.map((peer) => {
    const wrong = peer.agrees === false ? ", disagrees" : "";
    return `${peer.impl} ${seconds(peer.medianSeconds)} (${peer.configuration}${wrong})`;
  });
  const memory = [ours, ...peers.slice(0, 1)].map((row) => bytes(row.peakExtraBytes)).join(" / ");
  const cells = [
    name + (ours.note === "" ? "" : `<br>${ours.note}`),
    perSecond === "" ? spread : `${spread}<br>${perSecond}`,
    named.join("<br>") || "none",
    ours.ratioToBestPeer === null ? "" : `${ours.ratioToBestPeer.toFixed(2)}x`,
    memory,
    ours.agrees === null ? "nothing" : ours.agrees ? ours.agreement : `**no**: ${ours.agreement}`,
  ];
  return `| ${cells.join(" | ")} |`;
}

function rate(bench: Bench | Probe, name: string, median: number): string {
  if (!("cases" in bench) || bench.rate === undefined) return "";
  const found = bench.cases.find((one) => caseName(one) === name);
  if (found === undefined) return "";
  const { amount, unit } = bench.rate(found.parameters);
  return `${Number((amount / median).toPrecision(3)).toLocaleString("en")} ${unit}`;
}

function writePlots(folder: string, bench: Bench | Probe, rows: readonly Measurement[]): string[] {
  if (!("cases" in bench)) return [];
  const points: PlotPoint[] = bench.cases.flatMap((one) => {
    const { plot } = one;
    if (plot === undefined) return [];
    return rows
      .filter((row) => caseName(row) === caseName(one))
      .map((row) => ({
        ...plot,
        impl: row.impl,
        seconds: row.medianSeconds,
        bytes: Math.max(row.peakExtraBytes, 4096),
      }));
  });
  if (points.length === 0) return [];
  const file = `${bench.op}.svg`;
  writeFileSync(join(folder, file), growthPlot(bench.title, points));
  return [file];
}
