import { type Measurement, OURS } from "./lib/measurement.js";

/** What the project sets itself; met or missed is read off the results. */
export interface Bar {
  readonly op: string;
  readonly what: string;
  /** Undefined where the rows that it needs are missing. */
  readonly judge: (rows: readonly Measurement[]) => BarVerdict | undefined;
}

export interface BarVerdict {
  readonly met: boolean;
  readonly reached: string;
}

type Peer = (impl: string) => boolean;

const ANY: Peer = () => true;
const MEGABYTE = 1e6;

function find(rows: readonly Measurement[], op: string, name: string, impl: string): Measurement | undefined {
  return rows.find((row) => row.op === op && row.impl === impl && `${row.variant} ${row.shape}` === name);
}

/** How many times faster ours is than the fastest agreeing one of some peers. */
export function ratio(rows: readonly Measurement[], op: string, name: string, peer: Peer = ANY): number | undefined {
  const ours = find(rows, op, name, OURS);
  const theirs = rows
    .filter((row) => row.op === op && `${row.variant} ${row.shape}` === name && row.impl !== OURS && peer(row.impl))
    .filter((row) => row.agrees !== false)
    .map((row) => row.medianSeconds);
  return ours === undefined || theirs.length === 0 ? undefined : Math.min(...theirs) / ours.medianSeconds;
}

/** FLOP/s of the fastest peer on a square product of 2048: what the machine gives. */
export function gemmRate(rows: readonly Measurement[]): number | undefined {
  const square = rows.filter((row) => row.op === "gemm" && row.shape === "2048x2048x2048" && row.impl !== OURS);
  return square.length === 0 ? undefined : (2 * 2048 ** 3) / Math.min(...square.map((row) => row.medianSeconds));
}

function gemmShare(rows: readonly Measurement[], op: string, name: string, flop: number): number | undefined {
  const ours = find(rows, op, name, OURS);
  const rate = gemmRate(rows);
  return ours === undefined || rate === undefined ? undefined : flop / ours.medianSeconds / rate;
}

function times(value: number): string {
  return `${value.toFixed(2)}x`;
}

function percent(value: number): string {
  return `${(100 * value).toFixed(0)} %`;
}

function faster(op: string, name: string, least: number, peer: Peer, named: string): Bar {
  const wanted = least < 1 ? `${percent(least)} of the speed of` : `${least}x`;
  return {
    op,
    what: `${name}: at least ${wanted} ${named}`,
    judge(rows) {
      const reached = ratio(rows, op, name, peer);
      return reached === undefined ? undefined : { met: reached >= least, reached: times(reached) };
    },
  };
}

/** Faster by a factor, or as much of the machine's arithmetic used as can be asked for. */
function fasterOrRate(op: string, name: string, least: number, share: number, flop: number): Bar {
  return {
    op,
    what: `${name}: at least ${least}x the fastest peer, or ${percent(share)} of the GEMM rate`,
    judge(rows) {
      const reached = ratio(rows, op, name);
      const used = gemmShare(rows, op, name, flop);
      if (reached === undefined) return undefined;
      const rate = used === undefined ? "" : `, ${percent(used)} of the GEMM rate`;
      return { met: reached >= least || (used ?? 0) >= share, reached: `${times(reached)}${rate}` };
    },
  };
}

function rate(op: string, name: string, share: number, flop: number): Bar {
  return {
    op,
    what: `${name}: at least ${percent(share)} of the GEMM rate`,
    judge(rows) {
      const used = gemmShare(rows, op, name, flop);
      return used === undefined ? undefined : { met: used >= share, reached: percent(used) };
    },
  };
}

function memory(op: string, name: string, most: number, whole = false): Bar {
  return {
    op,
    what: `${name}: at most ${(most / MEGABYTE).toFixed(0)} MB ${whole ? "in the whole process" : "of extra memory"}`,
    judge(rows) {
      const ours = find(rows, op, name, OURS);
      if (ours === undefined) return undefined;
      const used = whole ? ours.peakRssBytes : ours.peakExtraBytes;
      return { met: used <= most, reached: `${(used / MEGABYTE).toFixed(0)} MB` };
    },
  };
}

/** Every case of an operation ahead of its peers. */
function fasterEverywhere(op: string): Bar {
  return {
    op,
    what: "faster than every peer at every size",
    judge(rows) {
      const ratios = rows
        .filter((row) => row.op === op && row.ratioToBestPeer !== null)
        .map((row) => ({ name: `${row.variant} ${row.shape}`, value: row.ratioToBestPeer! }));
      const least = ratios.reduce<(typeof ratios)[number] | undefined>(
        (low, one) => (low === undefined || one.value < low.value ? one : low),
        undefined,
      );
      return least && { met: least.value > 1, reached: `least ${times(least.value)} (${least.name})` };
    },
  };
}

const OPENBLAS: Peer = (impl) => impl === "numpy";
const CPP: Peer = (impl) => impl.startsWith("cpp-");
const only =
  (name: string): Peer =>
  (impl) =>
    impl === name;

const SKINNY = [
  "4096x4096x32",
  "4096x4096x64",
  "4096x4096x128",
  "4096x4096x256",
  "1024x16384x64",
  "1024x16384x128",
  "1024x16384x256",
];
const TRAINING = [
  "128x20, 10000 items",
  "128x20, 100000 items",
  "128x20, 1000000 items",
  "128x50, 100000 items",
  "256x50, 100000 items",
];
const LARGE = 16384;
const contrastiveFlop = (n: number, d: number): number => 6 * n * n * d;
const searchFlop = (queries: number, items: number, d: number): number => 2 * queries * items * d;

export const BARS: readonly Bar[] = [
  faster("gemm", "nn 2048x2048x2048", 0.85, OPENBLAS, "OpenBLAS"),
  ...SKINNY.map((shape) => faster("gemm", `nt ${shape}`, 1, OPENBLAS, "OpenBLAS")),

  faster("contrastive-loss", `info-nce ${LARGE}x64`, 2, only("torch-fused"), "torch-fused"),
  faster("contrastive-loss", `supervised ${LARGE}x64`, 2, only("torch-fused"), "torch-fused"),
  fasterEverywhere("contrastive-loss"),
  rate("contrastive-loss", `info-nce ${LARGE}x64`, 0.6, contrastiveFlop(LARGE, 64)),
  rate("contrastive-loss", `supervised ${LARGE}x64`, 0.6, contrastiveFlop(LARGE, 64)),
  memory("contrastive-loss", `info-nce ${LARGE}x64`, 4 * LARGE * 64 * 4 + 8 * MEGABYTE),
  memory("contrastive-loss", `supervised ${LARGE}x64`, 4 * LARGE * 64 * 4 + 8 * MEGABYTE),

  fasterOrRate("similarity-search", "1024 queries, k=100 1000000x64", 2, 0.75, searchFlop(1024, 1e6, 64)),
  fasterOrRate("similarity-search", "1024 queries, k=100 1000000x128", 2, 0.75, searchFlop(1024, 1e6, 128)),
  faster("similarity-search", "one query, k=20 1000000x64", 10, only("faiss"), "faiss"),
  faster("similarity-search", "one query, k=20 1000000x64", 5, ANY, "the fastest peer"),
  fasterOrRate("similarity-search", "256 users of 4 interests, k=50 100000x64", 3, 0.75, searchFlop(1024, 1e5, 64)),

  faster("max-cover", "greedy, 5000 sets 1000000x200000", 2, CPP, "the better C++ solver"),
  faster("max-cover", "greedy, 1000 sets 100000x50000", 20, only("submodlib"), "submodlib"),

  faster("ldmi-step", "mixture 64x50, 2500 items", 3, only("torch"), "torch"),
  faster("ldmi-step", "mixture 64x50, 2500 items", 3, ANY, "the fastest peer"),
  ...TRAINING.map((shape) => faster("training-step", `comirec-dr ${shape}`, 3, only("torch-sparse"), "torch-sparse")),
  memory("training-step", "comirec-dr 128x20, 1000000 items", 1000 * MEGABYTE, true),
  {
    op: "training-step",
    what: "a step with 1,000,000 items: at most 1.3x one with 10,000",
    judge(rows) {
      const few = find(rows, "training-step", "comirec-dr 128x20, 10000 items", OURS);
      const many = find(rows, "training-step", "comirec-dr 128x20, 1000000 items", OURS);
      if (few === undefined || many === undefined) return undefined;
      const growth = many.medianSeconds / few.medianSeconds;
      return { met: growth <= 1.3, reached: times(growth) };
    },
  },

  faster("item-statistics", "truncated SVD 100000x20000", 1, only("scipy-svds"), "scipy's svds"),
  faster("item-statistics", "Cholesky inverse 8192x8192", 1 / 1.2, only("scipy-lapack"), "scipy's LAPACK"),
];
