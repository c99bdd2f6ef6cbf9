import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { loadBinding, type SgemmArgs } from "@prismrec/native";
import { describe, expect, test } from "vitest";

const binding = loadBinding();
const run = promisify(execFile);
const index = fileURLToPath(new URL("../index.js", import.meta.url));

/** c = a * b of ones: every entry is `n`. */
function square(n: number): SgemmArgs {
  return { m: n, n, k: n, a: new Float32Array(n * n).fill(1), b: new Float32Array(n * n).fill(1) };
}

/** What a call that must fail fails with; an unexpected success is undefined. */
async function failure(call: () => unknown): Promise<Record<string, unknown> | undefined> {
  try {
    await call();
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    const { message, code, expected, received } = error as Error & Record<string, unknown>;
    return { message, code, expected, received };
  }
  return undefined;
}

/** Runs code in a process of its own. */
async function inProcess(code: string, env: Record<string, string>) {
  return await run(process.execPath, ["--input-type=module", "-e", code, index], {
    env: { ...process.env, ...env },
  });
}

describe("arguments", () => {
  const good = square(2);
  test.each([
    ["no object at all", undefined, "INVALID_ARGUMENT", "one object"],
    ["an array of another type", { ...good, a: new Float64Array(4) }, "INVALID_ARGUMENT", '"a"'],
    ["an ordinary array", { ...good, a: [1, 2, 3, 4] }, "INVALID_ARGUMENT", '"a"'],
    ["a missing array", { ...good, b: undefined }, "INVALID_ARGUMENT", '"b"'],
    ["an array too short", { ...good, a: new Float32Array(3) }, "SHAPE_MISMATCH", '"a"'],
    ["an array too long", { ...good, b: new Float32Array(5) }, "SHAPE_MISMATCH", '"b"'],
    ["a negative size", { ...good, m: -1 }, "INVALID_ARGUMENT", '"m"'],
    ["a broken size", { ...good, m: 1.5 }, "INVALID_ARGUMENT", '"m"'],
    ["a size beyond any memory", { ...good, m: 2 ** 53 - 1, k: 2 ** 52 }, "SHAPE_MISMATCH", '"a"'],
    ["NaN for a number", { ...good, alpha: Number.NaN }, "INVALID_ARGUMENT", '"alpha"'],
    ["a text for a flag", { ...good, transposeA: "yes" }, "INVALID_ARGUMENT", '"transposeA"'],
    ["an unknown variant", { ...good, variant: "mmx" }, "DEVICE_UNAVAILABLE", "variant"],
    ["an empty cancel flag", { ...good, cancel: new Int32Array(0) }, "SHAPE_MISMATCH", '"cancel"'],
    [
      "a result beyond any memory",
      { m: 60_000, n: 60_000, k: 0, a: new Float32Array(0), b: new Float32Array(0) },
      "OUT_OF_MEMORY",
      "memory",
    ],
    ["an output that is an input", { ...good, c: good.a }, "INVALID_ARGUMENT", '"c"'],
  ])("%s is refused by both twins with the same typed error", async (_name, args, code, part) => {
    const asynchronous = await failure(() => Reflect.apply(binding.sgemm, undefined, [args]));
    const synchronous = await failure(() => Reflect.apply(binding.sgemmSync, undefined, [args]));
    expect(asynchronous).toMatchObject({ code, message: expect.stringContaining(part) });
    expect(synchronous).toEqual(asynchronous);
  });

  test.each([0, -1, 1.5, 1025, Number.NaN])("%d threads are refused", async (threads) => {
    expect(await failure(() => binding.setThreads(threads))).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("calls", () => {
  test.each(binding.runtimeInfo().supportedSimd)(
    "%s multiplies exactly, in place and into a new array",
    async (variant) => {
      const args = { ...square(37), variant };
      const { c } = await binding.sgemm(args);
      expect(c).toEqual(new Float32Array(37 * 37).fill(37));
      const own = new Float32Array(37 * 37).fill(1);
      expect(binding.sgemmSync({ ...args, c: own, beta: 2 })).toEqual({});
      expect(own).toEqual(new Float32Array(37 * 37).fill(39));
    },
  );

  test("many calls at once all settle, each with its own result", async () => {
    const results = await Promise.all(Array.from({ length: 200 }, (_, i) => binding.sgemm(square((i % 60) + 1))));
    expect(results.map(({ c }) => c?.[0])).toEqual(Array.from({ length: 200 }, (_, i) => (i % 60) + 1));
  });

  test("an array stays alive while a call uses it, though nothing else refers to it", async () => {
    const calls = Array.from({ length: 8 }, () => binding.sgemm(square(256)));
    for (let i = 0; i < 50; i++) new Float32Array(1 << 18).fill(i);
    for (const { c } of await Promise.all(calls)) expect(c?.every((value) => value === 256)).toBe(true);
  });

  test("a flag that is up already cancels before anything is done", async () => {
    const cancel = new Int32Array(new SharedArrayBuffer(4)).fill(1);
    const c = new Float32Array(16).fill(7);
    expect(await failure(() => binding.sgemm({ ...square(4), c, cancel }))).toMatchObject({ code: "CANCELLED" });
    expect(c).toEqual(new Float32Array(16).fill(7));
  });

  test("a flag raised on the way ends a call that would take far longer", async () => {
    const n = 3000;
    const cancel = new Int32Array(new SharedArrayBuffer(4));
    const call = failure(() => binding.sgemm({ ...square(n), variant: "scalar", cancel }));
    setImmediate(() => Atomics.store(cancel, 0, 1));
    expect(await call).toMatchObject({ code: "CANCELLED" });
  });
});

describe("several environments", () => {
  const work = `
    const { loadBinding } = await import(process.argv[1]);
    const binding = loadBinding();
    const n = 64, ones = () => new Float32Array(n * n).fill(1);
    for (let i = 0; i < 30; i++) {
      const [{ c }, { c: d }] = [await binding.sgemm({ m: n, n, k: n, a: ones(), b: ones() }),
                                 binding.sgemmSync({ m: n, n, k: n, a: ones(), b: ones() })];
      if (!c.every((v) => v === n) || !d.every((v) => v === n)) throw new Error("wrong product");
    }`;

  test("four worker threads compute at the same time", async () => {
    const exits = await Promise.all(
      Array.from({ length: 4 }, () => {
        const worker = new Worker(`(async () => { process.argv[1] = ${JSON.stringify(index)}; ${work} })()`, {
          eval: true,
        });
        return new Promise((resolve, reject) => {
          worker.once("error", reject);
          worker.once("exit", resolve);
        });
      }),
    );
    expect(exits).toEqual([0, 0, 0, 0]);
  });

  test("a worker may end with calls under way, and the process goes on and ends well", async () => {
    const { stdout } = await inProcess(
      `import { Worker } from "node:worker_threads";
       const code = \`(async () => {
         const binding = (await import(\${JSON.stringify(process.argv[1])})).loadBinding();
         const n = 1200, ones = () => new Float32Array(n * n).fill(1);
         for (let i = 0; i < 6; i++) binding.sgemm({ m: n, n, k: n, a: ones(), b: ones(), variant: "scalar" });
         setImmediate(() => process.exit(3));
       })()\`;
       for (let i = 0; i < 3; i++) {
         const exit = await new Promise((resolve) => new Worker(code, { eval: true }).once("exit", resolve));
         process.stdout.write(exit + " ");
       }
       const binding = (await import(process.argv[1])).loadBinding();
       process.stdout.write(String((await binding.sgemm({ m: 1, n: 1, k: 1, a: new Float32Array([2]), b: new Float32Array([3]) })).c[0]));`,
      {},
    );
    expect(stdout).toBe("3 3 3 6");
  });

  test("a worker may be terminated from outside at any moment", async () => {
    const code = `(async () => {
      const { parentPort } = await import("node:worker_threads");
      const binding = (await import(${JSON.stringify(index)})).loadBinding();
      const ask = (n) => ({ m: n, n, k: n, a: new Float32Array(n * n), b: new Float32Array(n * n) });
      const loop = async () => {
        for (;;) {
          await binding.sgemm(ask(24));
          await binding.sgemm({ ...ask(24), variant: "none" }).catch(() => undefined);
          try {
            binding.sgemmSync({ ...ask(24), m: -1 });
          } catch {}
        }
      };
      for (let i = 0; i < 8; i++) loop();
      binding.sgemm({ ...ask(1200), variant: "scalar" });
      parentPort.postMessage("started");
    })()`;
    const { stdout } = await inProcess(
      `import { Worker } from "node:worker_threads";
       for (let i = 0; i < 10; i++) {
         const worker = new Worker(${JSON.stringify(code)}, { eval: true });
         await new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
         await new Promise((resolve) => setTimeout(resolve, i));
         await worker.terminate();
       }
       process.stdout.write("alive");`,
      {},
    );
    expect(stdout).toBe("alive");
  });

  test("the process may exit with calls under way", async () => {
    const code = `const binding = (await import(process.argv[1])).loadBinding();
      const n = 1500, ones = () => new Float32Array(n * n).fill(1);
      for (let i = 0; i < 4; i++) binding.sgemm({ m: n, n, k: n, a: ones(), b: ones(), variant: "scalar" });
      process.exit(0);`;
    await expect(inProcess(code, {})).resolves.toMatchObject({ stderr: "" });
  });
});

test("memory does not grow with the number of calls", async () => {
  const round = async () => {
    for (let i = 0; i < 400; i++) {
      await binding.sgemm(square(64));
      binding.sgemmSync(square(64));
      await failure(() => binding.sgemm({ ...square(64), variant: "none" }));
    }
    // Gives the collector its turn before memory is read.
    for (let i = 0; i < 20; i++) new Float32Array(1 << 20).fill(1);
    return process.memoryUsage().rss;
  };
  await round();
  const before = await round();
  for (let i = 0; i < 4; i++) await round();
  // 4 rounds leave 80 MB of arrays behind; a leak of a tenth of them would show.
  expect((await round()) - before).toBeLessThan(24 << 20);
});

test("a hundred thousand small calls leave no arrays and no memory behind", async () => {
  const { stdout } = await inProcess(
    `import v8 from "node:v8";
     import vm from "node:vm";
     v8.setFlagsFromString("--expose-gc");
     const gc = vm.runInNewContext("gc");
     const binding = (await import(process.argv[1])).loadBinding();
     const args = { m: 8, n: 8, k: 8, a: new Float32Array(64), b: new Float32Array(64) };
     const round = async () => {
       for (let i = 0; i < 10_000; i++) {
         binding.sgemmSync(args);
         await binding.sgemm(args);
       }
       gc();
       await new Promise(setImmediate);
       const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
       return { rss, heapUsed, arrayBuffers };
     };
     await round();
     const before = await round();
     for (let i = 0; i < 2; i++) await round();
     process.stdout.write(JSON.stringify({ before, after: await round() }));`,
    {},
  );
  const { before, after } = JSON.parse(stdout);
  // 60,000 calls lie between: one reference or one array of 256 bytes that each left would show.
  expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(1 << 20);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(2 << 20);
  expect(after.rss - before.rss).toBeLessThan(16 << 20);
});

describe("the environment's wishes", () => {
  const info = "process.stdout.write(JSON.stringify((await import(process.argv[1])).loadBinding().runtimeInfo()))";

  test.each(binding.runtimeInfo().supportedSimd)("PRISMREC_SIMD=%s is obeyed", async (simd) => {
    const { stdout } = await inProcess(info, { PRISMREC_SIMD: simd });
    expect(JSON.parse(stdout)).toMatchObject({ simd });
  });

  test("an instruction set that does not exist is refused at load, with those that do", async () => {
    const code = `try { (await import(process.argv[1])).loadBinding(); } catch (error) { process.stdout.write(JSON.stringify({ ...error })); }`;
    const { stdout } = await inProcess(code, { PRISMREC_SIMD: "mmx" });
    expect(JSON.parse(stdout)).toMatchObject({
      code: "DEVICE_UNAVAILABLE",
      received: "mmx",
      expected: expect.stringContaining("scalar"),
    });
  });

  test("PRISMREC_THREADS sets the budget", async () => {
    const { stdout } = await inProcess(info, { PRISMREC_THREADS: "3" });
    expect(JSON.parse(stdout)).toMatchObject({ threads: 3 });
  });

  test.runIf(process.platform === "linux")("processors that the process may not run on do not count", async () => {
    const { stdout } = await run("taskset", ["-c", "0", process.execPath, "--input-type=module", "-e", info, index], {
      env: { ...process.env, PRISMREC_THREADS: "" },
    });
    expect(JSON.parse(stdout)).toMatchObject({ hardwareThreads: 1, threads: 1 });
  });

  test("a path without an addon is named, with the platform and the remedy", async () => {
    const code = `try { (await import(process.argv[1])).loadBinding(); } catch (error) { process.stdout.write(JSON.stringify({ ...error, message: error.message })); }`;
    const { stdout } = await inProcess(code, { PRISMREC_NATIVE_PATH: "/nowhere/addon.node" });
    const error: unknown = JSON.parse(stdout);
    expect(error).toMatchObject({ code: "NATIVE_NOT_FOUND", hint: expect.stringContaining("native/build.js") });
    expect(error).toMatchObject({ message: expect.stringContaining(`${process.platform}-${process.arch}`) });
  });
});
