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

export const RESULTS = join(benchmarksRoot, "results");

/** Writes results/README.md and the plots from results/*.csv. */
export async function writeReport(): Promise<void> {
  const sections: string[] = [];
  const all: Measurement[] = [];
  const known = readdirSync(RESULTS);
  for (const [op, module] of Object.entries(BENCHES)) {
    if (!known.includes(`${op}.csv`)) continue;
    const rows = fromCsv(readFileSync(join(RESULTS, `${op}.csv`), "utf8"));
    all.push(...rows);
    const { default: bench } = (await import(module.href)) as { readonly default: Bench | Probe };
    sections.push(section(bench, rows, writePlots(bench, rows)));
  }
  const head = [
    "# Results",
    "",
    "Made by `npm run bench -- table` from the CSV files here, which hold every row with versions, settings, clean blocks and",
    "foreign load. Ratios are the fastest agreeing peer's median over ours, both of one run: above 1 is ahead. How it was",
    "measured stands in [the suite's README](../README.md).",
    "",
    ...machines(all),
    "",
    ...bars(all),
  ];
  writeFileSync(join(RESULTS, "README.md"), `${[...head, ...sections].join("\n").trimEnd()}\n`);
}

function machines(rows: readonly Measurement[]): string[] {
  const seen = new Set(rows.map(({ machine, commit, date }) => `- ${machine}; commit ${commit}; ${date.slice(0, 10)}`));
  return [...seen];
}

/** Bars that count by the GEMM rate take it from the rows of the same machine. */
function bars(rows: readonly Measurement[]): string[] {
  const lines = BARS.map(({ op, what, judge }) => {
    const verdict = judge(rows);
    if (verdict === undefined) return `| ${op} | ${what} | not measured | |`;
    return `| ${op} | ${what} | ${verdict.reached} | ${verdict.met ? "met" : "**missed**"} |`;
  });
  return ["## Bars", "", "| | bar | reached | |", "|---|---|---|---|", ...lines, ""];
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

function writePlots(bench: Bench | Probe, rows: readonly Measurement[]): string[] {
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
  writeFileSync(join(RESULTS, file), growthPlot(bench.title, points));
  return [file];
}
