import type { ProbeRow } from "./bench.js";
import { CORES } from "./configurations.js";
import type { Machine } from "./machine.js";
import { summarize } from "./statistics.js";

/** One contestant on one case. */
export interface Measurement extends Machine {
  readonly op: string;
  readonly impl: string;
  readonly variant: string;
  readonly shape: string;
  readonly threads: number;
  readonly medianSeconds: number;
  readonly p20Seconds: number;
  readonly p80Seconds: number;
  /** Resident memory beyond the inputs and the libraries that the first call needed. */
  readonly peakExtraBytes: number;
  /** The whole process's. */
  readonly peakRssBytes: number;
  /** The fastest agreeing peer's median over ours; null for peers and where no peer agrees. */
  readonly ratioToBestPeer: number | null;
  /** Whether the result is right: peers are compared with ours, ours with the oracle or with the peers; null: neither. */
  readonly agrees: boolean | null;
  /** How that was found. */
  readonly agreement: string;
  /** Calls that count, and how many of the blocks they came in had the machine for themselves. */
  readonly calls: number;
  readonly cleanBlocks: number;
  readonly blocks: number;
  /** Processors that others kept busy, median over the blocks. */
  readonly foreignCores: number;
  /** Kernels of ours, build and settings of a peer. */
  readonly configuration: string;
  readonly versions: string;
  readonly note: string;
}

/** The line that `--json` prints. */
export function toJsonLine(m: Measurement): string {
  return JSON.stringify({
    op: m.op,
    impl: m.impl,
    variant: m.variant,
    shape: m.shape,
    threads: m.threads,
    median_s: round(m.medianSeconds),
    p20_s: round(m.p20Seconds),
    p80_s: round(m.p80Seconds),
    peak_extra_bytes: m.peakExtraBytes,
    ratio_to_best_peer: m.ratioToBestPeer === null ? null : round(m.ratioToBestPeer),
    agrees: m.agrees,
  });
}

/** Five digits: more would be noise. */
export function round(value: number): number {
  return Number(value.toPrecision(5));
}

/** Gives ours its ratio to the fastest peer that agrees. */
export function withRatios(rows: readonly Measurement[]): Measurement[] {
  const peers = rows.filter(({ impl, agrees }) => impl !== OURS && agrees !== false);
  const best = Math.min(...peers.map(({ medianSeconds }) => medianSeconds));
  return rows.map((row) =>
    row.impl === OURS && peers.length > 0 ? { ...row, ratioToBestPeer: best / row.medianSeconds } : row,
  );
}

export const OURS = "prismrec";

export function probeMeasurement(op: string, row: ProbeRow, machine: Machine): Measurement {
  const { median, p20, p80 } = summarize(row.seconds);
  return {
    ...machine,
    op,
    impl: OURS,
    variant: row.variant,
    shape: row.shape,
    threads: CORES,
    medianSeconds: median,
    p20Seconds: p20,
    p80Seconds: p80,
    peakExtraBytes: row.peakExtraBytes ?? 0,
    peakRssBytes: process.memoryUsage.rss(),
    ratioToBestPeer: null,
    agrees: row.agrees,
    agreement: row.agreement ?? "",
    calls: row.seconds.length,
    cleanBlocks: 0,
    blocks: 0,
    foreignCores: 0,
    configuration: machine.simd,
    versions: `node ${process.versions.node}`,
    note: row.note ?? "",
  };
}
