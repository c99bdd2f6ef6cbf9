import { setTimeout as pause } from "node:timers/promises";
import { type Bench, type BenchCase, type Configuration, caseName } from "./bench.js";
import { describeConfiguration } from "./configurations.js";
import type { Contestant } from "./contestant.js";
import {
  callsFor,
  fitsMemory,
  type InputFiles,
  LONG_SECONDS,
  PAUSE_MS,
  QUICK_ROUNDS,
  type RunnerContext,
  rampCalls,
  timed,
} from "./runner.js";
import { isClean, quantile } from "./statistics.js";
import { seconds as readable } from "./table.js";

/**
 * Finds the fastest configuration of every peer on a case and keeps it in peers/best.json: one choice after the other
 * (build and BLAS, threads, allocator, the peer's own options), each with the best of the former ones.
 */
export async function tuneCase(
  bench: Bench,
  benchCase: BenchCase,
  files: InputFiles,
  { machine, peers, best, say }: RunnerContext,
): Promise<void> {
  const inputs = await files.of(bench, benchCase);
  const { parameters } = benchCase;
  for (const peer of bench.peers) {
    if (peer.supports?.(parameters) === false) continue;
    if (!fitsMemory(benchCase, peer.impl, say)) continue;
    const tried = new Map<Configuration, number>();
    const time = async (configuration: Configuration): Promise<void> => {
      const leader = Math.min(...tried.values());
      const described = `  ${peer.impl}, ${describeConfiguration(configuration)}`;
      const contestant = peers.start(peer, configuration);
      try {
        const { outer, options = {} } = configuration;
        await contestant.prepare({ parameters, inputs, outer, options });
        const seconds = await fewCalls(contestant, leader);
        tried.set(configuration, seconds);
        say(`${described}: ${readable(seconds)}`);
      } catch (error) {
        say(`${described}: ${error instanceof Error ? error.message : error}`);
      } finally {
        await contestant.close();
      }
    };
    const winner = await fastest(peers.installed(peer), tried, time);
    if (winner === undefined) continue;
    best.set(machine.simd, machine.machine, bench.op, caseName(benchCase), peer.impl, {
      configuration: winner,
      reason: tuningReason(tried),
    });
  }
}

/** The quickest of a cold call and, unless that leaves it no chance, some warm ones; disturbed ones are made again. */
async function fewCalls(contestant: Contestant, leader: number): Promise<number> {
  let seconds = (await contestant.run(1)).seconds[0]!;
  if (seconds > LONG_SECONDS && seconds > 2 * leader) return seconds;
  const wanted = seconds > LONG_SECONDS ? 1 : QUICK_ROUNDS;
  for (let clean = 0, round = 0; clean < wanted && round < 2 * wanted; round++) {
    await pause(PAUSE_MS);
    const { block } = await timed(contestant, callsFor(seconds), rampCalls(seconds));
    seconds = Math.min(seconds, quantile(block.seconds, 0.5));
    if (isClean(block)) clean++;
  }
  return seconds;
}

/** Where two configurations may differ when one choice is made. */
const CHOICES: readonly (readonly (keyof Configuration)[])[] = [
  ["python", "blas"],
  ["threads", "outer"],
  ["allocator"],
  ["options"],
];

/** The best configuration, one choice at a time; `time` enters what ran into `tried`. */
export async function fastest(
  all: readonly Configuration[],
  tried: ReadonlyMap<Configuration, number>,
  time: (configuration: Configuration) => Promise<void>,
): Promise<Configuration | undefined> {
  let winner = all[0];
  if (winner === undefined) return undefined;
  await time(winner);
  for (const choice of CHOICES) {
    const rest = sameBut(winner, choice);
    for (const other of all) if (!tried.has(other) && sameBut(other, choice) === rest) await time(other);
    const [leader] = [...tried].sort((a, b) => a[1] - b[1]);
    winner = leader?.[0] ?? winner;
  }
  return tried.has(winner) ? winner : undefined;
}

function sameBut(configuration: Configuration, choice: readonly (keyof Configuration)[]): string {
  return JSON.stringify(Object.entries(configuration).filter(([key]) => !choice.some((one) => one === key)));
}

function tuningReason(tried: ReadonlyMap<Configuration, number>): string {
  const [winner, second, ...others] = [...tried].sort((a, b) => a[1] - b[1]);
  if (second === undefined) return `${readable(winner![1])}, the only one that ran`;
  const next = `next: ${describeConfiguration(second[0])}, ${readable(second[1])}`;
  const last = others.at(-1);
  const slowest = last === undefined ? "" : `; slowest: ${describeConfiguration(last[0])}, ${readable(last[1])}`;
  return `${readable(winner![1])}, the fastest of ${tried.size} tried; ${next}${slowest}`;
}
