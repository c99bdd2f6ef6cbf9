import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { writeNpy } from "./npy.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-npy-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function* rowsOf(rows: readonly (readonly number[])[]) {
  yield* rows;
}

it("puts rows behind a header of format 1.0 that ends at a multiple of 64", async () => {
  const path = join(folder, "some.npy");
  await writeNpy(path, rowsOf([[1, -0.5], [3e-3, Number.NaN], [Number.POSITIVE_INFINITY, 7]])); // biome-ignore format: a matrix
  const bytes = await readFile(path);
  expect(bytes.subarray(0, 8)).toEqual(Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]));
  expect(10 + bytes.readUInt16LE(8)).toBe(128);
  expect(bytes.subarray(10, 128).toString("latin1")).toMatch(
    /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(3, 2\), \} +\n$/,
  );
  const numbers = Array.from({ length: 6 }, (_, n) => bytes.readFloatLE(128 + 4 * n));
  expect(numbers).toEqual([1, -0.5, Math.fround(3e-3), Number.NaN, Number.POSITIVE_INFINITY, 7]);
  expect(bytes.length).toBe(128 + 4 * 6);
});

it("writes a matrix without rows", async () => {
  const path = join(folder, "none.npy");
  await writeNpy(path, rowsOf([]));
  expect((await readFile(path)).toString("latin1", 10)).toContain("'shape': (0, 0)");
});

it("refuses a row of another length, and leaves nothing behind", async () => {
  const path = join(folder, "bad.npy");
  await expect(writeNpy(path, rowsOf([[1, 2], [3]]))).rejects.toMatchObject({
    code: "SHAPE_MISMATCH",
    expected: "2",
    received: "1",
  });
  expect((await readdir(folder)).filter((name) => name.startsWith("bad"))).toEqual([]);
});
