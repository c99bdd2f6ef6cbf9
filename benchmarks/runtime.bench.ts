import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as pause } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { native } from "@prismrec/core/ops";
import type { NativeAsync, NativeBinding } from "@prismrec/native";
import type { Probe, ProbeRow } from "./lib/bench.js";
import { integers, normals } from "./lib/random-arrays.js";

const LONGEST_DELAY = 0.005;
const LONGEST_ABORT = 0.02;
/** How long the event loop is watched. */
const WATCHED_MS = 2000;
/** Aborted calls of an operation: as many as take about this long, but so many at least and at most. */
const ABORTS_MS = 15_000;
const LEAST_ABORTS = 10;
const MOST_ABORTS = 40;
const WORKERS = 4;
const LARGEST_GROWTH = 16 * 2 ** 20;

type Start = (asynchronous: NativeAsync) => Promise<unknown>;

const probe: Probe = {
  op: "runtime",
  title: "Runtime",
  method: `delay of the event loop while operations run (bar: 99th percentile below ${1000 * LONGEST_DELAY} ms); from raising the cancel flag to the rejection (bar: ${1000 * LONGEST_ABORT} ms); ${WORKERS} worker threads at once; memory over many calls`,
  async *rows(quick) {
    const binding = native()!;
    for (const [shape, prepare] of Object.entries(operations(binding, quick))) {
      collectGarbage();
      const start = await prepare();
      yield await loopDelay(shape, start);
      yield await abortLatency(shape, start);
    }
    yield await workersAtOnce();
    yield await manyCalls(binding, quick ? 100_000 : 1_000_000);
  },
};
export default probe;

/**
 * Hundreds of megabytes of one operation's results must not be given back while the next one is watched: it takes a tenth of
 * a second.
 */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
}

/** Calls that take long enough to be watched, and aborted on the way. */
function operations(binding: NativeBinding, quick: boolean): Record<string, () => Start | Promise<Start>> {
  const all: Record<string, () => Start | Promise<Start>> = {
    "gemm 4096x4096x4096"() {
      const n = 4096;
      const [a, b, c] = [normals(n * n, 1), normals(n * n, 2), new Float32Array(n * n)];
      return (more) => binding.sgemm({ m: n, n, k: n, a, b, c, ...more });
    },
    "choleskyInverse 6000"() {
      const n = 6000;
      const a = new Float32Array(n * n);
      return (more) => {
        a.fill(1);
        for (let i = 0; i < n; i++) a[i * n + i] = n;
        return binding.choleskyInverse({ n, a, ...more });
      };
    },
    "cooccurrence 100000x5000"() {
      const rows = interactions(100_000, 5000, 60);
      return (more) => binding.cooccurrence({ ...rows, ...more });
    },
    async "truncatedSvd 20000x20000"() {
      const counts = await binding.cooccurrence(interactions(20_000, 20_000, 30));
      const [n, width] = [20_000, 16];
      const start = normals(n * width, 3);
      return (more) =>
        binding.truncatedSvd({ ...counts, rows: n, cols: n, rank: 64, width, blocks: 16, start, ...more });
    },
    "contrastiveLoss 16384x64"() {
      const [rowCount, dim] = [16_384, 64];
      const args = { kind: "info-nce", similarity: "cosine", temperature: 0.1, reduction: "mean" } as const;
      const [rows, positives] = [normals(rowCount * dim, 4), normals(rowCount * dim, 5)];
      return (more) => binding.contrastiveLoss({ ...args, rowCount, dim, rows, positives, ...more });
    },
    "softmaxLoss 2048x4x100000x64"() {
      const shape = { rows: 2048, interestsPerRow: 4, itemCount: 100_000, dim: 64, readout: "log-sum-exp" } as const;
      const interests = normals(shape.rows * 4 * shape.dim, 6, 0.2);
      const items = normals(shape.itemCount * shape.dim, 7, 0.2);
      const targetIndptr = Uint32Array.from({ length: shape.rows + 1 }, (_, r) => r);
      const targetIndices = integers(shape.rows, shape.itemCount, 8);
      return (more) => binding.softmaxLoss({ ...shape, interests, items, targetIndptr, targetIndices, ...more });
    },
    "maxCover 1000000x200000"() {
      const { indptr, indices } = interactions(1_000_000, 200_000, 30);
      const limits = { elementCount: 200_000, maxSets: 5000, repeats: 1, minGain: 0, sampleLoss: 0.1, seed: 1 };
      return (more) => binding.maxCover({ indptr, indices, ...limits, solver: "exact", ...more });
    },
    "similarityIndexBuild 1000000x64"() {
      const items = normals(64e6, 9);
      return async (more) => {
        const index = await binding.similarityIndexBuild({ items, rows: 1e6, cols: 64, metric: "dot", ...more });
        binding.similarityIndexRelease(index);
      };
    },
    async "similaritySearch 8192x500000x64"() {
      const items = normals(32e6, 10);
      const index = await binding.similarityIndexBuild({ items, rows: 5e5, cols: 64, metric: "dot" });
      const queries = normals(8192 * 64, 11);
      const args = { index, queries, queryCount: 8192, interestsPerQuery: 1, k: 100, readout: "max" } as const;
      return (more) => binding.similaritySearch({ ...args, ...more });
    },
  };
  if (!quick) return all;
  return Object.fromEntries(Object.entries(all).filter(([name]) => /^(gemm|choleskyInverse)/.test(name)));
}

async function loopDelay(shape: string, start: Start): Promise<ProbeRow> {
  await start({});
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const end = performance.now() + WATCHED_MS;
  // What a call does on this thread before it returns its promise is counted too.
  delays.enable();
  do await start({});
  while (performance.now() < end);
  delays.disable();
  const last = delays.percentile(99) / 1e9;
  return {
    variant: "loop delay",
    shape,
    seconds: Array.from({ length: 99 }, (_, i) => delays.percentile(i + 1) / 1e9),
    agrees: last < LONGEST_DELAY,
    agreement: `99th percentile ${(1000 * last).toFixed(2)} ms, longest ${(delays.max / 1e6).toFixed(1)} ms`,
  };
}

async function abortLatency(shape: string, start: Start): Promise<ProbeRow> {
  const begun = performance.now();
  await start({});
  const whole = performance.now() - begun;
  const aborts = Math.min(MOST_ABORTS, Math.max(LEAST_ABORTS, Math.floor((2 * ABORTS_MS) / whole)));
  const seconds: number[] = [];
  for (let i = 0; i < aborts; i++) {
    const cancel = new Int32Array(new SharedArrayBuffer(4));
    const ended = start({ cancel }).then(
      () => undefined,
      (error: unknown) => {
        if (!(error instanceof Error && "code" in error && error.code === "CANCELLED")) throw error;
        return performance.now();
      },
    );
    // At different places of the work.
    await pause((whole * (i + 1)) / (aborts + 2));
    Atomics.store(cancel, 0, 1);
    const raised = performance.now();
    const stopped = await ended;
    if (stopped !== undefined) seconds.push((stopped - raised) / 1000);
  }
  const longest = Math.max(...seconds);
  return {
    variant: "abort",
    shape,
    seconds,
    agrees: seconds.length > 0 && longest < LONGEST_ABORT,
    agreement: `longest of ${aborts} ${(1000 * longest).toFixed(1)} ms of a call of ${whole.toFixed(0)} ms`,
    ...(seconds.length < aborts ? { note: `${aborts - seconds.length} calls ended first` } : {}),
  };
}

/** Each worker multiplies matrices of its own, synchronously and not. */
async function workersAtOnce(): Promise<ProbeRow> {
  const code = `(async () => {
    const { loadBinding } = await import(${JSON.stringify(import.meta.resolve("@prismrec/native"))});
    const { parentPort } = await import("node:worker_threads");
    const binding = loadBinding();
    const n = 256;
    const ones = new Float32Array(n * n).fill(1);
    const args = { m: n, n, k: n, a: ones, b: ones };
    const seconds = [];
    for (let i = 0; i < 50; i++) {
      const start = performance.now();
      const pending = binding.sgemm(args);
      const { c } = binding.sgemmSync(args);
      const { c: d } = await pending;
      seconds.push((performance.now() - start) / 1000);
      if (!c.every((v) => v === n) || !d.every((v) => v === n)) throw new Error("wrong product");
    }
    parentPort.postMessage(seconds);
  })()`;
  const each = await Promise.all(
    Array.from(
      { length: WORKERS },
      () =>
        new Promise<number[]>((resolve, reject) => {
          const worker = new Worker(code, { eval: true });
          worker.once("message", resolve).once("error", reject);
        }),
    ),
  );
  return {
    variant: `${WORKERS} workers at once`,
    shape: "two products 256x256x256",
    seconds: each.flat(),
    agrees: true,
    agreement: "every product right",
  };
}

async function manyCalls(binding: NativeBinding, calls: number): Promise<ProbeRow> {
  const n = 8;
  const ones = new Float32Array(n * n).fill(1);
  const args = { m: n, n, k: n, a: ones, b: ones };
  const parts = 20;
  const seconds: number[] = [];
  const resident: number[] = [];
  for (let part = 0; part < parts; part++) {
    const begun = performance.now();
    for (let i = 0; i < calls / parts; i += 2) {
      binding.sgemmSync(args);
      await binding.sgemm(args);
    }
    seconds.push((performance.now() - begun) / 1000 / (calls / parts));
    resident.push(process.memoryUsage.rss());
  }
  // The first half warms the collector up.
  const half = resident.slice(parts / 2);
  const growth = Math.max(0, Math.min(...half.slice(-3)) - Math.min(...half.slice(0, 3)));
  return {
    variant: "many calls",
    shape: `${calls} of 8x8x8`,
    seconds,
    peakExtraBytes: growth,
    agrees: growth < LARGEST_GROWTH,
    agreement: `resident memory grew by ${(growth / 2 ** 20).toFixed(1)} MB over the second half`,
  };
}

/** Users with up to `length` items each. */
function interactions(rows: number, cols: number, length: number) {
  const drawn = integers(rows * length, cols, 12);
  const indptr = new Uint32Array(rows + 1);
  const indices = new Uint32Array(rows * length);
  let end = 0;
  for (let r = 0; r < rows; r++) {
    const row = new Set(drawn.subarray(r * length, (r + 1) * length));
    indices.set(Uint32Array.from(row).sort(), end);
    end += row.size;
    indptr[r + 1] = end;
  }
  return { indptr, indices: indices.slice(0, end), rows, cols };
}
