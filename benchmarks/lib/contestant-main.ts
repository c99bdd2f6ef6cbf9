// The process of one contestant that runs in Node: node contestant-main.js <bench module> <implementation>.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import type { Bench, Implementation, Prepared } from "./bench.js";
import { resetPeak, residentBytes } from "./memory.js";
import { type Command, loadArrays, storeArrays } from "./protocol.js";

const [modulePath = "", impl = ""] = process.argv.slice(2);
const { default: bench } = (await import(pathToFileURL(modulePath).href)) as { readonly default: Bench };
const implementation = find(bench);
let prepared: Prepared | undefined;
let collected = false;

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as Command;
  if (command.command === "quit") break;
  try {
    writeSync(1, `${JSON.stringify(await answer(command))}\n`);
  } catch (error) {
    writeSync(1, `${JSON.stringify({ error: error instanceof Error ? error.message : String(error) })}\n`);
  }
}
process.exit(0);

function find({ ours, nodePeers = [] }: Bench): Implementation {
  if (impl === "prismrec") return ours;
  const peer = nodePeers.find((candidate) => candidate.impl === impl);
  if (peer === undefined) throw new Error(`${modulePath} has no implementation "${impl}"`);
  return peer.implementation;
}

async function answer(command: Exclude<Command, { command: "quit" }>): Promise<object> {
  if (command.command === "prepare") {
    const residentBefore = residentBytes().now;
    prepared = await implementation.prepare(command.parameters, loadArrays(command.inputs));
    return { residentBefore, variant: prepared.variant, hasOracle: prepared.oracle !== undefined };
  }
  if (prepared === undefined) throw new Error("not prepared");
  if (command.command === "run") return run(prepared, command.calls, command.before);
  const arrays = command.command === "oracle" ? await prepared.oracle?.() : prepared.result();
  return { arrays: storeArrays(command.folder, arrays ?? {}), remark: prepared.remark?.() };
}

async function run(contestant: Prepared, calls: number, before: number): Promise<object> {
  const cpu = process.cpuUsage();
  const extra = measureFromHere();
  for (let i = 0; i < before; i++) await contestant.run();
  const seconds: number[] = [];
  for (let i = 0; i < calls; i++) {
    const start = performance.now();
    const pending = contestant.run();
    if (pending instanceof Promise) await pending;
    seconds.push((performance.now() - start) / 1000);
  }
  const { user, system } = process.cpuUsage(cpu);
  return {
    seconds,
    cpuSeconds: (user + system) / 1e6,
    peakExtraBytes: extra(),
    peakRssBytes: residentBytes().peak,
  };
}

function measureFromHere(): () => number {
  // Before the first call, whose memory is what is reported. Later it would only empty the caches of calls that are timed.
  if (!collected) (globalThis as { gc?: () => void }).gc?.();
  collected = true;
  resetPeak();
  const { now } = residentBytes();
  return () => residentBytes().peak - now;
}
