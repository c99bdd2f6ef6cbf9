import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const run = promisify(execFile);
const calls = fileURLToPath(new URL("./border-calls.mjs", import.meta.url));
const sequences = fileURLToPath(new URL("./border-sequences.mjs", import.meta.url));
const reduced = process.env.PRISMREC_TEST_REDUCED === "1";

interface Report {
  readonly found: Readonly<Record<string, number>>;
  readonly faults: readonly string[];
}

/** What a script found; a crash of its process is a rejection. */
async function report(script: string, seed: number, count: number): Promise<Report> {
  const folder = await mkdtemp(join(tmpdir(), "prismrec-arguments-"));
  try {
    const preload = process.env.PRISMREC_TEST_PRELOAD;
    const { stdout } = await run(process.execPath, [script, folder, String(seed), String(count)], {
      env: { ...process.env, ...(preload === undefined ? {} : { LD_PRELOAD: preload }) },
      maxBuffer: 1 << 26,
    });
    return JSON.parse(stdout);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

test("every function of native/binding.d.ts refuses every kind of wrong argument with a typed error", async () => {
  const { found, faults } = await report(calls, 1, 0);
  expect(faults).toEqual([]);
  // As many as there are parameters, functions and kinds of wrong: the list has not shrunk unseen.
  expect((found.INVALID_ARGUMENT ?? 0) + (found.SHAPE_MISMATCH ?? 0)).toBeGreaterThan(4000);
  expect(found.ok).toBeGreaterThan(500);
});

test.each([2, 3])("no combination of sizes and lengths reaches past an array (seed %i)", async (seed) => {
  const { found, faults } = await report(calls, seed, reduced ? 1500 : 8000);
  expect(faults).toEqual([]);
  expect(found.ok).toBeGreaterThan(500);
});

test.each([5, 6])("operations in any order and number compute what each computes alone (seed %i)", async (seed) => {
  const { found, faults } = await report(sequences, seed, reduced ? 450 : 1500);
  expect(faults).toEqual([]);
  expect(found.ok).toBeGreaterThan(100);
  expect(found.CANCELLED).toBeGreaterThan(5);
  expect(found.workers).toBeGreaterThan(1);
});
