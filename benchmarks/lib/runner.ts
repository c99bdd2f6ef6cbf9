import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Arrays, Bench, BenchCase, Configuration, Verdict } from "./bench.js";
import type { BestConfigurations } from "./best.js";
import { CORES, describeConfiguration } from "./configurations.js";
import { Contestant } from "./contestant.js";
import { availableBytes, busySeconds, type Machine } from "./machine.js";
import { type Measurement, OURS, withRatios } from "./measurement.js";
import { nodePeerVersions, type Peers } from "./peers.js";
import { loadArrays, type RunAnswer, type StoredArray, storeArrays } from "./protocol.js";
import { type Block, countedBlocks, isClean, quantile, summarize } from "./statistics.js";

/** Calls longer than this run three times in all. */
export const LONG_SECONDS = 2;
const LONG_ROUNDS = 2;
const ROUNDS = 7;
/** For calls of more than half a second. */
const FEWER_ROUNDS = 5;
const HALF_SECOND = 0.5;
export const QUICK_ROUNDS = 3;
const BLOCK_SECONDS = 0.15;
const MOST_CALLS = 300;
/** After a pause a processor takes about this long to reach its speed again, and caches to fill. */
const RAMP_SECONDS = 0.1;
const WARM_SECONDS = 0.6;
const MOST_WARM_CALLS = 100;
/** OpenMP's threads go on spinning for 200 ms after a call (KMP_BLOCKTIME); nobody else is to be timed meanwhile. */
export const PAUSE_MS = 250;
/** Blocks that others disturbed are measured again this often. */
const MOST_REPEATS = 4;
const MEMORY_SHARE = 0.6;

export interface RunnerContext {
  readonly machine: Machine;
  readonly peers: Peers;
  readonly best: BestConfigurations;
  readonly quick: boolean;
  /** A folder for inputs and results. */
  readonly folder: string;
  /** One line of progress. */
  readonly say: (line: string) => void;
}

interface Entrant {
  readonly impl: string;
  readonly threads: number;
  readonly outer: number;
  readonly options: NonNullable<Configuration["options"]>;
  readonly configuration: string;
  readonly versions: string;
  readonly start: () => Contestant;
}

interface Running extends Entrant {
  readonly contestant: Contestant;
  readonly first: RunAnswer;
  readonly residentBefore: number;
  readonly variant: string | undefined;
  readonly hasOracle: boolean;
  readonly blocks: Block[];
  remark: string;
  calls: number;
  before: number;
  roundsLeft: number;
  repeatsLeft: number;
}

/** Input files of the cases, one set at a time. */
export class InputFiles {
  #key = "";
  #stored: Record<string, StoredArray> = {};

  constructor(private readonly folder: string) {}

  async of(bench: Bench, { parameters }: BenchCase): Promise<Record<string, StoredArray>> {
    const { key, make } = bench.inputs(parameters);
    if (key === this.#key) return this.#stored;
    const folder = join(this.folder, "inputs");
    rmSync(folder, { recursive: true, force: true });
    this.#stored = storeArrays(folder, await make());
    this.#key = key;
    return this.#stored;
  }
}

/** Ours and every peer that is here, in turns: A B C A B C ... */
export async function measureCase(
  bench: Bench,
  modulePath: string,
  benchCase: BenchCase,
  files: InputFiles,
  context: RunnerContext,
): Promise<Measurement[]> {
  const inputs = await files.of(bench, benchCase);
  const running: Running[] = [];
  try {
    for (const entrant of entrants(bench, modulePath, benchCase, context)) {
      const started = await enter(entrant, benchCase, inputs, context);
      if (started !== undefined) running.push(started);
    }
    const verdicts = await judge(bench, benchCase, running, context);
    const done = await alternate(running, context);
    return withRatios(done.map((one) => measurement(bench, benchCase, one, verdicts.get(one.impl), context)));
  } finally {
    await Promise.all(running.map(({ contestant }) => contestant.close()));
  }
}

function entrants(bench: Bench, modulePath: string, benchCase: BenchCase, context: RunnerContext): Entrant[] {
  const { machine, peers, best, say } = context;
  const inNode = (impl: string, threads: number, versions: string): Entrant => ({
    impl,
    threads,
    outer: 1,
    options: {},
    configuration: "",
    versions,
    start: () => nodeContestant(modulePath, impl),
  });
  const all = [inNode(OURS, CORES, `node ${process.versions.node}`)];
  for (const peer of bench.nodePeers ?? []) {
    if (peer.supports?.(benchCase.parameters) === false) continue;
    const versions = nodePeerVersions(peer);
    if (versions !== undefined) all.push(inNode(peer.impl, peer.threads, versions));
  }
  for (const peer of bench.peers) {
    if (peer.supports?.(benchCase.parameters) === false) continue;
    const [usual, ...others] = peers.installed(peer);
    if (usual === undefined) continue;
    const known = best.get(machine.simd, bench.op, benchCase, peer.impl)?.configuration;
    const described = known === undefined ? "" : describeConfiguration(known);
    const configuration = [usual, ...others].find((one) => describeConfiguration(one) === described) ?? usual;
    all.push({
      impl: peer.impl,
      threads: configuration.threads * configuration.outer,
      outer: configuration.outer,
      options: configuration.options ?? {},
      configuration: describeConfiguration(configuration),
      versions: peers.describe(peer, configuration),
      start: () => peers.start(peer, configuration),
    });
  }
  return all.filter(({ impl }) => fitsMemory(benchCase, impl, say));
}

/** Whether the machine has the memory that a contestant may need; says so where it has not. */
export function fitsMemory({ bytes }: BenchCase, impl: string, say: (line: string) => void): boolean {
  const needed = bytes?.[impl] ?? 0;
  if (needed <= MEMORY_SHARE * availableBytes()) return true;
  say(`  ${impl} is left out: it would need ${(needed / 2 ** 30).toFixed(1)} GiB`);
  return false;
}

function nodeContestant(modulePath: string, impl: string): Contestant {
  const main = fileURLToPath(new URL("contestant-main.js", import.meta.url));
  return new Contestant(process.execPath, ["--expose-gc", "--no-warnings", main, modulePath, impl], {
    ...process.env,
    PRISMREC_THREADS: String(CORES),
  });
}

/** Starts a contestant and makes the first, cold call; one that fails is reported and left out. */
async function enter(
  entrant: Entrant,
  { parameters }: BenchCase,
  inputs: Record<string, StoredArray>,
  { quick, say }: RunnerContext,
): Promise<Running | undefined> {
  const { impl, outer, options } = entrant;
  const contestant = entrant.start();
  try {
    const prepared = await contestant.prepare({ parameters, inputs, outer, options });
    const { answer: first, block } = await timed(contestant, 1);
    const cold = first.seconds[0]!;
    const long = cold > LONG_SECONDS;
    const warm = long ? cold : await warmUp(contestant, cold);
    return {
      ...entrant,
      contestant,
      first,
      residentBefore: prepared.residentBefore,
      variant: prepared.variant,
      hasOracle: prepared.hasOracle ?? false,
      blocks: long ? [block] : [],
      remark: "",
      calls: callsFor(warm),
      before: rampCalls(warm),
      roundsLeft: long ? LONG_ROUNDS : quick ? QUICK_ROUNDS : warm > HALF_SECOND ? FEWER_ROUNDS : ROUNDS,
      repeatsLeft: long || quick ? 0 : MOST_REPEATS,
    };
  } catch (error) {
    await contestant.close();
    if (impl === OURS) throw error;
    say(`  ${impl} is left out: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

/** Calls until just-in-time compilers, allocators and caches have settled; gives the time of a call then. */
async function warmUp(contestant: Contestant, cold: number): Promise<number> {
  const few = quantile((await contestant.run(Math.min(3, callsFor(cold)))).seconds, 0.5);
  const more = Math.min(MOST_WARM_CALLS, Math.floor(WARM_SECONDS / few));
  return more < 1 ? few : quantile((await contestant.run(more)).seconds, 0.5);
}

export function callsFor(seconds: number): number {
  return Math.max(1, Math.min(MOST_CALLS, Math.round(BLOCK_SECONDS / seconds)));
}

/** Untimed calls at the start of a block. */
export function rampCalls(seconds: number): number {
  return Math.min(MOST_CALLS, Math.floor(RAMP_SECONDS / seconds));
}

/** Blocks in turns; gives those who came through. */
async function alternate(running: readonly Running[], { say }: RunnerContext): Promise<readonly Running[]> {
  const lost = new Set<Running>();
  while (running.some(({ roundsLeft }) => roundsLeft > 0)) {
    for (const one of running) {
      if (one.roundsLeft === 0) continue;
      await pause(PAUSE_MS);
      try {
        const { block } = await timed(one.contestant, one.calls, one.before);
        one.blocks.push(block);
        if (!isClean(block) && one.repeatsLeft > 0) one.repeatsLeft--;
        else one.roundsLeft--;
      } catch (error) {
        if (one.impl === OURS) throw error;
        say(`  ${one.impl} is left out: ${error instanceof Error ? error.message : error}`);
        one.roundsLeft = 0;
        lost.add(one);
      }
    }
  }
  return running.filter((one) => !lost.has(one));
}

/** One block, and what others did meanwhile. */
export async function timed(
  contestant: Contestant,
  calls: number,
  before = 0,
): Promise<{ answer: RunAnswer; block: Block }> {
  const busy = busySeconds();
  const start = performance.now();
  const answer = await contestant.run(calls, before);
  const elapsed = (performance.now() - start) / 1000;
  const foreignCores = Math.max(0, (busySeconds() - busy - answer.cpuSeconds) / elapsed);
  return { answer, block: { seconds: answer.seconds, foreignCores } };
}

/** Peers against ours, ours against the oracle where the case has one, else against the peers. */
async function judge(
  bench: Bench,
  { parameters }: BenchCase,
  running: readonly Running[],
  { folder }: RunnerContext,
): Promise<ReadonlyMap<string, Verdict>> {
  const verdicts = new Map<string, Verdict>();
  const [ours, ...peers] = running;
  if (ours === undefined) return verdicts;
  const read = async (one: Running, what: "result" | "oracle"): Promise<Arrays> => {
    const place = join(folder, "results", one.impl, what);
    const answer = await one.contestant[what](place);
    one.remark = answer.remark ?? one.remark;
    const arrays = loadArrays(answer.arrays);
    rmSync(place, { recursive: true, force: true });
    return arrays;
  };
  const own = await read(ours, "result");
  if (ours.hasOracle) {
    const verdict = bench.agree(await read(ours, "oracle"), own, parameters);
    verdicts.set(OURS, { agrees: verdict.agrees, detail: `fp64 oracle: ${verdict.detail}` });
  }
  const agreeing: string[] = [];
  for (const peer of peers) {
    const verdict = bench.agree(own, await read(peer, "result"), parameters);
    verdicts.set(peer.impl, { agrees: verdict.agrees, detail: `${OURS}: ${verdict.detail}` });
    if (verdict.agrees) agreeing.push(peer.impl);
  }
  if (!ours.hasOracle && peers.length > 0) {
    const detail = agreeing.length > 0 ? `same as ${agreeing.join(", ")}` : "no peer gives the same";
    verdicts.set(OURS, { agrees: agreeing.length > 0, detail });
  }
  return verdicts;
}

function measurement(
  { op, memoryOfPreparation }: Bench,
  { variant, shape, note }: BenchCase,
  one: Running,
  verdict: Verdict | undefined,
  { machine }: RunnerContext,
): Measurement {
  const counted = countedBlocks(one.blocks);
  const seconds = counted.flatMap((block) => block.seconds);
  const { median, p20, p80 } = summarize(seconds);
  return {
    ...machine,
    op,
    impl: one.impl,
    variant,
    shape,
    threads: one.threads,
    medianSeconds: median,
    p20Seconds: p20,
    p80Seconds: p80,
    // The kernel counts resident pages in batches, so that a call without memory of its own may come out below zero.
    peakExtraBytes: Math.max(
      0,
      memoryOfPreparation ? one.first.peakRssBytes - one.residentBefore : one.first.peakExtraBytes,
    ),
    peakRssBytes: one.first.peakRssBytes,
    ratioToBestPeer: null,
    agrees: verdict?.agrees ?? null,
    agreement: verdict?.detail ?? "",
    calls: seconds.length,
    cleanBlocks: one.blocks.filter(isClean).length,
    blocks: one.blocks.length,
    foreignCores: quantile(
      counted.map(({ foreignCores }) => foreignCores),
      0.5,
    ),
    configuration: one.variant ?? one.configuration,
    versions: one.versions,
    note: [note ?? "", one.remark].filter((text) => text !== "").join("; "),
  };
}
