import { createHash } from "node:crypto";
import { appendFile, mkdtemp, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeSafetensors, type StoredTensor } from "./safetensors.js";
import { readSafetensors, writeSafetensors } from "./safetensors-file.js";

let file = "";
beforeEach(async () => {
  file = join(await mkdtemp(join(tmpdir(), "prismrec-safetensors-")), "file");
});
afterEach(() => rm(join(file, ".."), { recursive: true, force: true }));

const sample = new Map<string, StoredTensor>([
  ["weights", { shape: [2, 3], data: Float32Array.of(1, -2.5, 3e-30, 4, 5, 6) }],
  ["empty", { shape: [0, 4], data: new Float32Array(0) }],
  ["steps", { shape: [2], data: Uint32Array.of(7, 4_000_000_000) }],
]);
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("safetensors files", () => {
  it("hold the bytes of the encoding, and come back with their hash", async () => {
    const bytes = encodeSafetensors(sample);
    expect(await writeSafetensors(file, sample)).toEqual({ bytes: bytes.length, sha256: sha256(bytes) });
    expect(new Uint8Array(await readFile(file))).toEqual(bytes);
    const read = await readSafetensors(file);
    expect([...read.tensors]).toEqual([...sample]);
    expect(read).toMatchObject({ bytes: bytes.length, sha256: sha256(bytes) });
  });

  it("come back in the arrays that are given for them, as far as these fit", async () => {
    await writeSafetensors(file, sample);
    const weights = new Float32Array(8).subarray(1, 7);
    const others: Record<string, Float32Array> = { weights, steps: new Float32Array(2), empty: new Float32Array(1) };
    const { tensors } = await readSafetensors(file, (name) => others[name]);
    expect([...tensors]).toEqual([...sample]);
    expect(tensors.get("weights")!.data).toBe(weights);
    expect(others.steps).toEqual(new Float32Array(2));
  });

  it("come back whole where a tensor is larger than what is read at once", async () => {
    const data = Uint32Array.from({ length: (1 << 24) + 5 }, (_, i) => Math.imul(i, 2654435761));
    const { sha256: written } = await writeSafetensors(file, [["x", { shape: [data.length], data }]]);
    const { tensors, sha256: found } = await readSafetensors(file);
    expect(found).toBe(written);
    expect(Buffer.from(tensors.get("x")!.data.buffer).equals(Buffer.from(data.buffer))).toBe(true);
  });

  it("are refused where they are cut short, overlong, full of holes or not there", async () => {
    const { bytes } = await writeSafetensors(file, sample);
    for (const length of [0, 3, 8, 40, bytes - 1]) {
      await writeSafetensors(file, sample);
      await truncate(file, length);
      await expect(readSafetensors(file), String(length)).rejects.toMatchObject({ code: "DATA_FORMAT" });
    }
    await writeSafetensors(file, sample);
    await appendFile(file, "x");
    await expect(readSafetensors(file)).rejects.toThrow(/follow the last tensor/);
    const entry = (from: number) => ({ dtype: "U8", shape: [1], data_offsets: [from, from + 1] });
    const json = Buffer.from(JSON.stringify({ a: entry(0), b: entry(2) }));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(json.length));
    await writeFile(file, Buffer.concat([length, json, Buffer.alloc(3)]));
    await expect(readSafetensors(file)).rejects.toThrow(/b does not follow the one before it/);
    await rm(file);
    await expect(readSafetensors(file)).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});
