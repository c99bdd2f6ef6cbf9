import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { cancelSlot, fromNativeError, runNative } from "../ops/native.js";
import { readJson, writeFileAtomic, writeJsonAtomic } from "./atomic-file.js";
import { PrismrecError } from "./errors.js";
import { canonicalJson, hashJson, sha256, sha256File } from "./hash.js";
import { setThreadBudget, threadBudget } from "./threads.js";

let dir: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-runtime-"));
});

afterEach(async () => {
  vi.unstubAllEnvs();
  setThreadBudget(undefined);
  await rm(dir, { recursive: true, force: true });
});

describe("writeFileAtomic", () => {
  it("writes text, bytes and parts, and makes the folder", async () => {
    const path = join(dir, "new", "file");
    await writeFileAtomic(path, "text");
    expect(await readFile(path, "utf8")).toBe("text");
    await writeFileAtomic(path, ["a", Buffer.from("b"), "c"]);
    expect(await readFile(path, "utf8")).toBe("abc");
    expect(await readdir(join(dir, "new"))).toEqual(["file"]);
  });

  it("keeps the old file and leaves no part behind when the disk fills up", async () => {
    const path = join(dir, "file");
    await writeFileAtomic(path, "old");
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    async function* halfWritten() {
      yield "new";
      throw full;
    }
    await expect(writeFileAtomic(path, halfWritten())).rejects.toMatchObject({ code: "DISK_FULL", cause: full });
    expect(await readFile(path, "utf8")).toBe("old");
    expect(await readdir(dir)).toEqual(["file"]);
  });

  it("answers a path that cannot be written with IO", async () => {
    await writeFile(join(dir, "file"), "");
    await expect(writeFileAtomic(join(dir, "file", "below"), "x")).rejects.toMatchObject({ code: "IO" });
  });

  it("reads back JSON, and names content that is none", async () => {
    const path = join(dir, "value.json");
    await writeJsonAtomic(path, { a: [1] });
    expect(await readJson(path, "DATA_FORMAT")).toEqual({ a: [1] });
    await writeFile(path, '{"a": [');
    await expect(readJson(path, "RUN_INVALID")).rejects.toMatchObject({ code: "RUN_INVALID" });
    await expect(readJson(join(dir, "absent"), "RUN_INVALID")).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});

describe("hashes", () => {
  it("hash bytes as SHA-256 does", async () => {
    const known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    await writeFile(join(dir, "abc"), "abc");
    expect(sha256("abc")).toBe(known);
    expect(await sha256File(join(dir, "abc"))).toBe(known);
    await expect(sha256File(join(dir, "absent"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    const reason = new Error("stop");
    await expect(sha256File(join(dir, "abc"), AbortSignal.abort(reason))).rejects.toBe(reason);
  });

  it("see neither the order of keys nor members that JSON drops", () => {
    expect(hashJson({ a: 1, b: { c: 2, d: undefined } })).toBe(hashJson({ b: { c: 2 }, a: 1 }));
    expect(hashJson([1, 2])).not.toBe(hashJson([2, 1]));
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it("refuse what JSON would change in silence", () => {
    const cycle: unknown[] = [];
    cycle.push(cycle);
    for (const value of [Number.NaN, { a: Infinity }, [() => 1], cycle, [undefined], 1n]) {
      expect(() => hashJson(value)).toThrowError(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    }
  });
});

describe("threadBudget", () => {
  it("is what was set, else PRISMREC_THREADS, else what the machine grants", () => {
    vi.stubEnv("PRISMREC_THREADS", "");
    expect(threadBudget()).toBeGreaterThanOrEqual(1);
    vi.stubEnv("PRISMREC_THREADS", "3");
    expect(threadBudget()).toBe(3);
    setThreadBudget(2);
    expect(threadBudget()).toBe(2);
  });

  it("refuses what is no number of threads", () => {
    vi.stubEnv("PRISMREC_THREADS", "many");
    expect(() => threadBudget()).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(() => setThreadBudget(0)).toThrowError(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

describe("native calls", () => {
  it("arrive as the project's own errors, with all that the addon said", () => {
    const error = Object.assign(new Error("queries has 3 columns"), {
      code: "SHAPE_MISMATCH",
      expected: "4",
      received: "3",
      hint: "Check d.",
    });
    expect(fromNativeError(error)).toMatchObject({
      name: "PrismrecError",
      code: "SHAPE_MISMATCH",
      expected: "4",
      received: "3",
      hint: "Check d.",
      cause: error,
    });
    expect(fromNativeError(new Error("?")).code).toBe("INTERNAL");
    expect(fromNativeError(Object.assign(new Error("?"), { code: "ENOENT" })).code).toBe("INTERNAL");
    const own = new PrismrecError("IO", "x");
    expect(fromNativeError(own)).toBe(own);
  });

  it("see the cancel flag rise when the signal aborts, and the signal is free again afterwards", () => {
    const controller = new AbortController();
    const slot = cancelSlot(controller.signal);
    const other = cancelSlot(controller.signal);
    expect(slot.flag?.[0]).toBe(0);
    other[Symbol.dispose]();
    controller.abort();
    expect([slot.flag?.[0], other.flag?.[0]]).toEqual([1, 0]);
    expect(cancelSlot(controller.signal).flag?.[0]).toBe(1);
    expect(cancelSlot(undefined).flag).toBeUndefined();
  });

  it("reject with the signal's own reason, whatever the addon throws when it is cancelled", async () => {
    const controller = new AbortController();
    const reason = new Error("stop");
    const call = runNative(controller.signal, async (flag) => {
      controller.abort(reason);
      expect(flag?.[0]).toBe(1);
      throw Object.assign(new Error("cancelled"), { code: "CANCELLED" });
    });
    await expect(call).rejects.toBe(reason);
    await expect(runNative(undefined, async () => 7)).resolves.toBe(7);
  });
});
