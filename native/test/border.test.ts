import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const index = fileURLToPath(new URL("../index.js", import.meta.url));
/** A sanitizer's library, which node must load before the addon. */
const preload =
  process.env.PRISMREC_TEST_PRELOAD === undefined ? {} : { LD_PRELOAD: process.env.PRISMREC_TEST_PRELOAD };
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-border-"));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** What every child has: the addon, a collector, a typed error's code or "ok", and arrays of ones. */
const PRELUDE = `
  import v8 from "node:v8";
  import vm from "node:vm";
  import fs from "node:fs";
  v8.setFlagsFromString("--expose-gc");
  const gc = vm.runInNewContext("gc");
  const [, index, folder] = process.argv;
  const { loadBinding } = await import(index);
  const binding = loadBinding();
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const codeOf = (error) => {
    if (!(error instanceof Error) || typeof error.code !== "string") throw error;
    return error.code;
  };
  const outcome = async (call) => {
    try {
      await call();
      return "ok";
    } catch (error) {
      return codeOf(error);
    }
  };
  const ones = (n) => new Float32Array(n).fill(1);
  const print = (value) => process.stdout.write(JSON.stringify(value));
`;

/** What code in a process of its own prints; a signal that ends the process is a rejection. */
async function child(code: string, env: Record<string, string> = {}): Promise<unknown> {
  return await new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      ["--input-type=module", "-e", PRELUDE + code, index, folder],
      { env: { ...process.env, ...preload, ...env }, maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        if (error === null) resolve(JSON.parse(stdout));
        else reject(new Error(`signal ${error.signal}, code ${error.code}: ${stderr.slice(-2000)}`));
      },
    );
  });
}

describe("arguments that overflow", () => {
  test("rows times columns of 2^64 is no small array", async () => {
    expect(
      await child(`
        const [x, out] = [new Float32Array(8), new Float32Array(8)];
        print([
          await outcome(() => binding.tensorSoftmax(x, out, 2 ** 32, 2 ** 32, false)),
          await outcome(() => binding.tensorSoftmax(x, out, 2 ** 52, 0, false)),
          await outcome(() => binding.tensorSoftmax(x, out, 1.5, 2, false)),
          await outcome(() => binding.tensorSoftmax(x, out, NaN, 2, false)),
        ]);`),
    ).toEqual(["SHAPE_MISMATCH", "ok", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]);
  });

  test("interests of 2^64 in all are no short array", async () => {
    expect(
      await child(`
        const args = {
          interestsPerRow: 2 ** 52, itemCount: 4, dim: 2, interests: new Float32Array(0), items: ones(8),
          targetIndices: new Uint32Array(0), readout: "log-sum-exp",
        };
        const rows = (rows) => ({ ...args, rows, targetIndptr: new Uint32Array(rows + 1) });
        print([
          await outcome(() => binding.softmaxLossSync(rows(2 ** 12))),
          await outcome(() => binding.softmaxLoss(rows(2 ** 12))),
          await outcome(() => binding.softmaxLossSync(rows(0))),
        ]);`),
    ).toEqual(["SHAPE_MISMATCH", "SHAPE_MISMATCH", "ok"]);
  });

  test("a Gram matrix of 2^64 numbers is not empty", async () => {
    expect(
      await child(`
        const args = { indptr: new Uint32Array(1), indices: new Uint32Array(0), rows: 0 };
        print([
          await outcome(() => binding.gramSync({ ...args, cols: 2 ** 32 })),
          await outcome(() => binding.gramSync({ ...args, cols: 2 ** 53 - 1 })),
          await outcome(() => binding.gram({ ...args, cols: 2 ** 48 })),
        ]);`),
    ).toEqual(["OUT_OF_MEMORY", "OUT_OF_MEMORY", "OUT_OF_MEMORY"]);
  });
});

describe("arrays that change while a call is under way", () => {
  test("elements of sets that the caller refills", async () => {
    expect(
      await child(`
        const [sets, elements] = [20_000, 50_000];
        const indptr = Uint32Array.from({ length: sets + 1 }, (_, s) => 20 * s);
        const indices = () => Uint32Array.from({ length: 20 * sets }, (_, e) => (e * 2500 + (e / 20 | 0)) % elements);
        const options = { elementCount: elements, maxSets: 2000, repeats: 1, minGain: 0, sampleLoss: 0.1, seed: 1, solver: "lazy" };
        const expected = binding.maxCoverSync({ indptr, indices: indices(), ...options });
        const outcomes = [];
        for (const shared of [false, true]) {
          for (let delay = 0; delay < 6; delay++) {
            const own = indices();
            const given = shared ? new Uint32Array(new SharedArrayBuffer(own.byteLength)) : own;
            given.set(own);
            const pointers = indptr.slice();
            const call = binding.maxCover({ indptr: pointers, indices: given, ...options });
            for (let i = 0; i < delay; i++) await pause(0);
            given.fill(0xffffffff);
            pointers.fill(0xfffffff0);
            const found = await call;
            outcomes.push(found.selected.every((set, i) => set === expected.selected[i]) && found.value === expected.value);
          }
        }
        print(outcomes.every(Boolean));`),
    ).toBe(true);
  });

  test("a buffer that can be resized is refused before anything is read", async () => {
    expect(
      await child(`
        const n = 512;
        const resizable = new Float32Array(new ArrayBuffer(4 * n * n, { maxByteLength: 8 * n * n }));
        const growing = new Float32Array(new SharedArrayBuffer(4 * n * n, { maxByteLength: 8 * n * n }));
        const results = [];
        for (const a of [resizable, growing]) {
          for (const sgemm of [binding.sgemm, binding.sgemmSync]) {
            results.push(await outcome(() => sgemm({ m: n, n, k: n, a, b: ones(n * n) })));
            results.push(await outcome(() => sgemm({ m: n, n, k: n, a: ones(n * n), b: ones(n * n), c: a })));
          }
        }
        const given = await outcome(() => {
          const call = binding.sgemm({ m: n, n, k: n, a: resizable, b: ones(n * n), variant: "scalar" });
          resizable.buffer.resize(0);
          return call;
        });
        print([...new Set([...results, given])]);`),
    ).toEqual(["INVALID_ARGUMENT"]);
  });

  test("inputs that are given away meanwhile do not matter", async () => {
    expect(
      await child(`
        const n = 1200;
        const give = (array) => structuredClone(array.buffer, { transfer: [array.buffer] });
        const right = [];
        for (let round = 0; round < 4; round++) {
          const [a, b] = [ones(n * n), ones(n * n)];
          const call = binding.sgemm({ m: n, n, k: n, a, b });
          give(a);
          give(b);
          gc();
          for (let i = 0; i < 20; i++) new Float32Array(n * n).fill(7);
          right.push((await call).c.every((x) => x === n));
        }
        print(right.every(Boolean));`),
    ).toBe(true);
  });

  test("an output that is given away meanwhile is an error, one that stays is written", async () => {
    expect(
      await child(`
        const n = 300;
        const [kept, given] = [ones(n * n), ones(n * n)];
        const call = (c) => binding.sgemm({ m: n, n, k: n, a: ones(n * n), b: ones(n * n), c, beta: 2 });
        const calls = [call(kept), call(given)].map((under) => outcome(() => under));
        structuredClone(given.buffer, { transfer: [given.buffer] });
        gc();
        print([...(await Promise.all(calls)), kept.every((x) => x === n + 2)]);`),
    ).toEqual(["ok", "INVALID_ARGUMENT", true]);
  });

  test("a detached array has no elements to give", async () => {
    expect(
      await child(`
        const detached = (array) => { structuredClone(array.buffer, { transfer: [array.buffer] }); return array; };
        const a = detached(ones(4));
        print([
          await outcome(() => binding.sgemm({ m: 2, n: 2, k: 2, a, b: ones(4) })),
          await outcome(() => binding.sgemmSync({ m: 2, n: 2, k: 0, a, b: ones(0) })),
          await outcome(() => binding.tensorGeluGrad(a, ones(4), ones(4))),
          await outcome(() => binding.embeddingSquaredNorm([ones(4), a])),
        ]);`),
    ).toEqual(Array(4).fill("INVALID_ARGUMENT"));
  });

  test("getters of the arguments that give arrays away or move row pointers", async () => {
    expect(
      await child(`
        const n = 64;
        const results = [];
        for (const sgemm of [binding.sgemm, binding.sgemmSync]) {
          const a = ones(n * n);
          results.push(await outcome(() => sgemm({
            m: n, n, k: n, a, b: ones(n * n),
            get variant() { structuredClone(a.buffer, { transfer: [a.buffer] }); gc(); return "scalar"; },
          })));
        }
        const indptr = Uint32Array.of(0, 1, 2);
        results.push(await outcome(() => binding.cooccurrenceSync({
          indptr, rows: 2, cols: 3, indices: new Uint32Array(2),
          get weights() { indptr.fill(0xfffffff0); return undefined; },
        })));
        const list = [ones(4)];
        const out = ones(4);
        Object.defineProperty(list, 1, { get() { structuredClone(out.buffer, { transfer: [out.buffer] }); return ones(4); } });
        results.push(await outcome(() => binding.embeddingMergeRows(Uint32Array.of(1, 2), list, out, 4)));
        print(results);`),
    ).toEqual(["ok", "INVALID_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]);
  });

  test("outputs over what tells where to write", async () => {
    expect(
      await child(`
        const memory = new ArrayBuffer(1024);
        const [floats, words] = [new Float32Array(memory, 0, 64), new Uint32Array(memory, 128, 8)];
        const ids = new Int32Array(memory, 128, 8);
        const routing = {
          users: 1, length: 4, interests: 2, dim: 2, lengths: Uint32Array.of(4), events: ones(8),
          rows: new Uint32Array(memory, 0, 4), maps: ones(8), mapCount: 1, iterations: 2, initial: ones(8),
          vectors: new Float32Array(memory, 0, 4), sums: ones(4), coefficients: ones(8),
        };
        print([
          await outcome(() => binding.embeddingScatterAddRows(floats, words, ones(64), 8)),
          await outcome(() => binding.embeddingGatherRows(ones(64), words, floats, 8)),
          await outcome(() => binding.tensorSegmentSum(ones(64), ids, floats, 8, 8)),
          await outcome(() => binding.dynamicRoutingSync(routing)),
          await outcome(() => binding.dynamicRouting({ ...routing })),
        ]);`),
    ).toEqual([...Array(4).fill("INVALID_ARGUMENT"), "ok"]);
  });

  test("shared ids that a worker writes while positional and synchronous calls read them", async () => {
    expect(
      await child(`
        import { Worker } from "node:worker_threads";
        const memory = new SharedArrayBuffer(4 * 512 + 4);
        const ids = new Uint32Array(memory, 4, 512);
        const stop = new Int32Array(memory, 0, 1);
        const worker = new Worker(\`
          const { workerData } = require("node:worker_threads");
          const [ids, stop] = [new Uint32Array(workerData, 4, 512), new Int32Array(workerData, 0, 1)];
          for (let i = 0; Atomics.load(stop, 0) === 0; i++) ids.fill(i % 2 === 0 ? 5 : 0xfffffff0);
        \`, { eval: true, execArgv: [], workerData: memory });
        await new Promise((resolve) => worker.once("online", resolve));
        const [table, out] = [ones(64 * 16), ones(512 * 16)];
        const indptr = Uint32Array.of(0, 512);
        const seen = new Set();
        for (let i = 0; i < 300; i++) {
          seen.add(await outcome(() => binding.embeddingGatherRows(table, ids, out, 16)));
          seen.add(await outcome(() => binding.embeddingScatterAddRows(table, ids, out, 16)));
          seen.add(await outcome(() => binding.gramSync({ indptr, indices: ids, rows: 1, cols: 64 })));
        }
        Atomics.store(stop, 0, 1);
        await worker.terminate();
        print([...seen].every((code) => code === "ok" || code === "INVALID_ARGUMENT"));`),
    ).toBe(true);
  });
});

describe("an index on the disk", () => {
  const make = `
    const [rows, cols] = [3000, 24];
    let state = 1;
    const next = () => (state = (state * 1103515245 + 12345) % 2147483648) / 1073741824 - 1;
    const items = Float32Array.from({ length: rows * cols }, next);
    const queries = Float32Array.from({ length: 8 * cols }, next);
    const built = binding.similarityIndexBuildSync({ items, rows, cols, metric: "dot" });
    const search = (index) => binding.similaritySearchSync({ index, queries, queryCount: 8, interestsPerQuery: 1, k: 20, readout: "max" });
    const path = folder + "/" + process.pid + ".index";
    binding.similarityIndexSaveSync({ index: built, path });
    const same = (a, b) => a.ids.every((id, i) => id === b.ids[i]) && a.scores.every((s, i) => s === b.scores[i]);
    const expected = search(built);
  `;

  test("its memory is nobody's to write to", async () => {
    expect(await child(`${make} print("similarityIndexImage" in binding);`)).toBe(false);
  });

  test("one that is cut short or written over after it was opened answers as before", async () => {
    expect(
      await child(`${make}
        const opened = binding.similarityIndexOpenSync({ path });
        fs.writeFileSync(path, Buffer.alloc(1000, 255));
        const first = same(search(opened), expected);
        fs.truncateSync(path, 0);
        print([first, same(search(opened), expected), await outcome(() => binding.similarityIndexOpen({ path }))]);`),
    ).toEqual([true, true, "DATA_FORMAT"]);
  });

  test("damage anywhere is found, read or mapped, or does not matter", async () => {
    expect(
      await child(`${make}
        const image = fs.readFileSync(path);
        const seen = {};
        for (let round = 0; round < 300; round++) {
          let bytes = Buffer.from(image);
          const at = () => Math.floor((next() + 1) / 2 * (round % 3 === 0 ? 160 : bytes.length));
          if (round % 5 === 4) bytes = bytes.subarray(0, at());
          else for (let n = 0; n <= round % 4; n++) bytes[at()] ^= 1 << (round % 8);
          fs.writeFileSync(path, bytes);
          const mapped = round % 2 === 1;
          let opened;
          const code = await outcome(async () => { opened = await binding.similarityIndexOpen({ path, mapped }); });
          seen[code] = (seen[code] ?? 0) + 1;
          if (code === "ok" && !same(search(opened), expected)) throw new Error("round " + round);
        }
        if (seen.ok + seen.DATA_FORMAT !== 300) throw new Error(JSON.stringify(seen));
        print(seen.DATA_FORMAT > 250);`),
    ).toBe(true);
  });

  test("a folder, a missing file and a path that cannot be written are typed", async () => {
    expect(
      await child(`${make}
        print([
          await outcome(() => binding.similarityIndexOpen({ path: folder })),
          await outcome(() => binding.similarityIndexOpen({ path: path + ".none" })),
          await outcome(() => binding.similarityIndexSave({ index: built, path: path + "/below" })),
          fs.existsSync("/dev/full") ? await outcome(() => binding.similarityIndexSave({ index: built, path: "/dev/full" })) : "DISK_FULL",
        ]);`),
    ).toEqual(["DATA_FORMAT", "FILE_NOT_FOUND", "IO", "DISK_FULL"]);
  });
});

test("terminating a worker does not wait for what others have queued before it", async () => {
  expect(
    await child(
      `
      import { Worker } from "node:worker_threads";
      const [rows, entries, cols] = [4000, 1000, 5000];
      const indptr = Uint32Array.from({ length: rows + 1 }, (_, r) => r * entries);
      const indices = Uint32Array.from({ length: rows * entries }, (_, i) => ((i % entries) * 5 + ((i / entries) | 0)) % cols);
      const cancel = new Int32Array(new SharedArrayBuffer(4));
      let settled = false;
      // Billions of additions, between which the flag is looked at often.
      const long = outcome(() => binding.cooccurrence({ indptr, indices, rows, cols, cancel }))
        .then((code) => { settled = true; return code; });
      const worker = new Worker(\`(async () => {
        const { parentPort } = await import("node:worker_threads");
        const { loadBinding } = await import(\${JSON.stringify(index)});
        const binding = loadBinding();
        for (let i = 0; i < 4; i++) binding.sgemm({ m: 8, n: 8, k: 8, a: new Float32Array(64), b: new Float32Array(64) });
        parentPort.postMessage("queued");
        setInterval(() => {}, 1000);
      })()\`, { eval: true, execArgv: [] });
      await new Promise((resolve) => worker.once("message", resolve));
      await worker.terminate();
      const before = settled;
      Atomics.store(cancel, 0, 1);
      print([before, await long]);`,
      { PRISMREC_THREADS: "1" },
    ),
  ).toEqual([false, "CANCELLED"]);
});

test("a cancel flag must be memory that stays", async () => {
  expect(
    await child(`
      const call = { m: 1, n: 1, k: 1, a: ones(1), b: ones(1) };
      print([
        await outcome(() => binding.sgemm({ ...call, cancel: new Int32Array(1) })),
        await outcome(() => binding.sgemm({ ...call, cancel: new Int32Array(new SharedArrayBuffer(4)) })),
      ]);`),
  ).toEqual(["INVALID_ARGUMENT", "ok"]);
});
