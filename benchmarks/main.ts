import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isPrismrecError } from "@prismrec/core/base";
import { chooseDevice, native, nativeUnavailableReason } from "@prismrec/core/ops";
import { type Options, parseOptions, UsageError } from "./lib/args.js";
import { type Bench, caseName, type Probe } from "./lib/bench.js";
import { BENCHES } from "./lib/benches.js";
import { BestConfigurations } from "./lib/best.js";
import { toCsv } from "./lib/csv.js";
import { benchGpu, setBenchDevice } from "./lib/device.js";
import { describeMachine, type Machine } from "./lib/machine.js";
import { type Measurement, probeMeasurement, toJsonLine } from "./lib/measurement.js";
import { nodePeerVersions, Peers } from "./lib/peers.js";
import { REPORT, resultsFolder, writeReport } from "./lib/report.js";
import { InputFiles, measureCase, type RunnerContext } from "./lib/runner.js";
import { terminalTable } from "./lib/table.js";
import { tuneCase } from "./lib/tune.js";

const HELP = `npm run bench -- <operation>... [options]

Runs this project against every installed peer on the same inputs, in turns, and compares the answers first.
Peers are installed by: npm run bench:peers

  operations     ${Object.keys(BENCHES).join(", ")}
                 all: every one of them; table: write the pages and plots of results/ from its CSV files
  --quick        few and small cases, under a minute; nothing is saved
  --json         one JSON line for each measurement on stdout (npm run -s bench: without npm's own lines)
  --only TEXT    only cases whose name contains TEXT; nothing is saved
  --device cuda  our contestants on the GPU, for operations that have kernels for it; saved as <operation>.cuda.csv
  --tune         instead of measuring, find each peer's best configuration anew and keep it in peers/best.json
  --help         this text

Progress goes to stderr. Exit codes: 0 ok, 1 failure, 2 usage, 4 the addon is not built.
`;

const say = (line: string): void => {
  process.stderr.write(`${line}\n`);
};

async function main(args: readonly string[]): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args, Object.keys(BENCHES));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    say(error.message);
    return 2;
  }
  if (options.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (options.table) {
    await writeReport();
    say(`written: ${REPORT}`);
    return 0;
  }
  if (native() === undefined) {
    say(`the addon is needed: ${nativeUnavailableReason()}\nBuild it with: npm run bootstrap`);
    return 4;
  }
  if (options.device === "cuda") {
    try {
      chooseDevice("cuda");
    } catch (error) {
      if (!isPrismrecError(error)) throw error;
      say(`${error.message}. ${error.hint ?? ""}`.trimEnd());
      return 4;
    }
    setBenchDevice("cuda");
  }
  const folder = mkdtempSync(join(tmpdir(), "prismrec-bench-"));
  const stop = (): void => {
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  process.once("SIGINT", stop).once("SIGTERM", stop);
  try {
    for (const op of options.ops) await runBench(op, options, folder);
    if (isSaved(options)) await writeReport();
    return 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function runBench(op: string, options: Options, folder: string): Promise<void> {
  const module = BENCHES[op]!;
  const { default: bench } = (await import(module.href)) as { readonly default: Bench | Probe };
  if (options.device === "cuda" && ("rows" in bench || bench.cuda !== true)) {
    say(`${op}: no kernels for a GPU, left out`);
    return;
  }
  const rows = "rows" in bench ? await runProbe(bench, options) : await runCases(bench, module, options, folder);
  if (!isSaved(options)) return;
  const results = resultsFolder(native()!.runtimeInfo().simd);
  mkdirSync(results, { recursive: true });
  writeFileSync(join(results, options.device === "cuda" ? `${op}.cuda.csv` : `${op}.csv`), toCsv(rows));
}

function isSaved({ quick, only, tune }: Options): boolean {
  return !quick && !tune && only === undefined;
}

async function runProbe(probe: Probe, { quick, json, only = "" }: Options): Promise<Measurement[]> {
  const machine = describeMachine();
  say(`${probe.title}: ${machine.machine}`);
  const rows: Measurement[] = [];
  for await (const row of probe.rows(quick)) {
    if (!caseName(row).includes(only)) continue;
    const measured = probeMeasurement(probe.op, row, machine);
    rows.push(measured);
    report([measured], json);
  }
  return rows;
}

function report(rows: readonly Measurement[], json: boolean): void {
  process.stdout.write(json ? rows.map((row) => `${toJsonLine(row)}\n`).join("") : terminalTable(rows));
}

async function runCases(bench: Bench, module: URL, options: Options, folder: string): Promise<Measurement[]> {
  const { quick, only = "" } = options;
  const cases = bench.cases.filter((one) => (!quick || one.quick === true) && caseName(one).includes(only));
  const context: RunnerContext = {
    machine: machineFor(options),
    peers: new Peers(),
    best: BestConfigurations.read(),
    quick,
    folder,
    say,
  };
  say(`${bench.title}: ${context.machine.machine}`);
  const missing = [
    ...bench.peers.filter((peer) => context.peers.installed(peer).length === 0),
    ...(bench.nodePeers ?? []).filter((peer) => nodePeerVersions(peer) === undefined),
  ].map(({ impl }) => impl);
  if (missing.length > 0) say(`not installed, so left out: ${missing.join(", ")} (npm run bench:peers)`);
  if (!options.tune && !context.best.isKnown(context.machine.simd)) {
    say("the peers' best configurations were not found on this kind of machine: --tune does that");
  }
  const files = new InputFiles(folder);
  const rows: Measurement[] = [];
  for (const [i, benchCase] of cases.entries()) {
    say(`[${i + 1}/${cases.length}] ${caseName(benchCase)}`);
    if (options.tune) {
      await tuneCase(bench, benchCase, files, context);
      continue;
    }
    try {
      const measured = await measureCase(bench, fileURLToPath(module), benchCase, files, context);
      rows.push(...measured);
      report(measured, options.json);
    } catch (error) {
      // The other cases are worth having.
      say(`  failed: ${error instanceof Error ? error.message : error}`);
      process.exitCode = 1;
    }
  }
  return rows;
}

/** With the GPU's name where it does the work. */
function machineFor({ device }: Options): Machine {
  const machine = describeMachine();
  return device === "cuda" ? { ...machine, machine: `${benchGpu()!.name}; ${machine.machine}` } : machine;
}

const code = await main(process.argv.slice(2));
process.exitCode ||= code;
