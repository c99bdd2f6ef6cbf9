import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashJson } from "@prismrec/core/base";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeModel } from "../testing/fake-model.js";
import { AnswerCache } from "./answer-cache.js";
import { CachedModel } from "./cached-model.js";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-cache-"));
});
afterEach(() => rm(dir, { recursive: true }));

const scoring = () => new FakeModel({ score: (text, word) => -text.length - word.length / 7 });
const request = (texts: readonly string[]) => ({ prefix: "p", continuations: texts, words: ["food", "art"] });

describe("AnswerCache", () => {
  it("gives back what was put, after closing and opening again", async () => {
    const values: unknown[] = [[1.5, -2], "line\nbreak \u2028 “quoted”", { words: ["é"] }, ""];
    const cache = await AnswerCache.open(dir, "m");
    values.forEach((value, i) => {
      cache.put(hashJson(i), value);
    });
    await cache.close();
    const again = await AnswerCache.open(dir, "m");
    expect(values.map((_, i) => again.get(hashJson(i)))).toEqual(values);
    expect(again.state()).toEqual({ entries: values.length, damaged: 0 });
    expect(again.get(hashJson("other"))).toBeUndefined();
    await again.close();
  });

  it("is read and never written where it is only to be read, whether it is there or not", async () => {
    const cache = await AnswerCache.open(dir, "m");
    cache.put(hashJson(1), "one");
    await cache.close();
    const before = await readFile(cache.path);
    const reader = await AnswerCache.open(dir, "m", { readOnly: true });
    reader.put(hashJson(2), "two");
    expect([reader.get(hashJson(1)), reader.get(hashJson(2))]).toEqual(["one", "two"]);
    await reader.close();
    expect(await readFile(cache.path)).toEqual(before);
    const missing = await AnswerCache.open(join(dir, "none"), "m", { readOnly: true });
    expect(missing.state().entries).toBe(0);
    await missing.close();
    expect(await readdir(dir)).toEqual(["m.answers"]);
  });

  it("drops the entry a kill cut in half, wherever it was cut, and keeps all others and all later ones", async () => {
    const cache = await AnswerCache.open(dir, "m");
    for (let i = 0; i < 3; i++) cache.put(hashJson(i), { i });
    await cache.close();
    const whole = await readFile(cache.path);
    const lastLine = whole.lastIndexOf("\n", whole.length - 2) + 1;
    const cuts = fc.integer({ min: lastLine + 1, max: whole.length - 2 });
    await fc.assert(
      fc.asyncProperty(cuts, async (cut) => {
        await writeFile(cache.path, whole.subarray(0, cut));
        const after = await AnswerCache.open(dir, "m");
        expect(after.state()).toEqual({ entries: 2, damaged: 1 });
        expect(after.get(hashJson(2))).toBeUndefined();
        after.put(hashJson(9), "later");
        await after.close();
        const last = await AnswerCache.open(dir, "m");
        expect([last.get(hashJson(0)), last.get(hashJson(1)), last.get(hashJson(9))]).toEqual([
          { i: 0 },
          { i: 1 },
          "later",
        ]);
        await last.close();
      }),
      { numRuns: 15, seed: 3 },
    );
  });

  it("treats a line whose bytes were changed as never written", async () => {
    const cache = await AnswerCache.open(dir, "m");
    cache.put(hashJson(0), [1, 2, 3]);
    await cache.close();
    await writeFile(cache.path, (await readFile(cache.path, "utf8")).replace("[1,2,3]", "[1,2,4]"));
    const again = await AnswerCache.open(dir, "m");
    expect(again.state()).toEqual({ entries: 0, damaged: 1 });
    await again.close();
  });

  it("says where it cannot write", async () => {
    await writeFile(join(dir, "file"), "");
    await expect(AnswerCache.open(join(dir, "file"), "m")).rejects.toMatchObject({ code: "IO" });
  });
});

describe("CachedModel", () => {
  it("asks each text once, and never again in a later run", async () => {
    const texts = ["a", "bb", "a", "ccc"];
    const cache = await AnswerCache.open(dir, "m");
    const model = scoring();
    const first = await new CachedModel(model, cache).scoreNext(request(texts));
    await cache.close();
    expect(new Set(model.asked)).toEqual(new Set(texts));
    const reopened = await AnswerCache.open(dir, "m");
    const idle = scoring();
    const second = await new CachedModel(idle, reopened).scoreNext(request(texts));
    expect(idle.asked).toEqual([]);
    expect(second).toEqual(first);
    await reopened.close();
  });

  it("keeps answers of other weights, prompts and words apart", async () => {
    const cache = await AnswerCache.open(dir, "m");
    await new CachedModel(scoring(), cache).scoreNext(request(["a"]));
    const others = [
      { model: new FakeModel({ score: () => -1 }, "other weights"), request: request(["a"]) },
      { model: scoring(), request: { ...request(["a"]), prefix: "q" } },
      { model: scoring(), request: { ...request(["a"]), words: ["food"] } },
    ];
    for (const other of others) {
      await new CachedModel(other.model, cache).scoreNext(other.request);
      expect(other.model.asked).toContain("a");
    }
    await cache.close();
  });

  it("continues after an abort with what is saved", async () => {
    const texts = Array.from({ length: 40 }, (_, i) => `text ${i}`);
    const cache = await AnswerCache.open(dir, "m");
    const controller = new AbortController();
    const reason = new Error("enough");
    const broken = new CachedModel(scoring(), cache).scoreNext(request(texts), {
      signal: controller.signal,
      onProgress: ({ done }) => {
        if (done === 20) controller.abort(reason);
      },
    });
    await expect(broken).rejects.toBe(reason);
    await cache.close();
    const reopened = await AnswerCache.open(dir, "m");
    const rest = scoring();
    await new CachedModel(rest, reopened).scoreNext(request(texts));
    expect(rest.asked.length).toBeLessThanOrEqual(20);
    await reopened.close();
  });

  it("stops at the budget with everything saved, and goes on with a new one", async () => {
    const texts = Array.from({ length: 60 }, (_, i) => `text ${i}`);
    const cache = await AnswerCache.open(dir, "m");
    const limited = new CachedModel(scoring(), cache, { maxCalls: 20 });
    await expect(limited.scoreNext(request(texts))).rejects.toMatchObject({
      code: "BUDGET_EXCEEDED",
      received: expect.stringContaining("all of them saved"),
    });
    const saved = cache.state().entries;
    expect(saved).toBeGreaterThanOrEqual(20);
    const { logProbs } = await new CachedModel(scoring(), cache).scoreNext(request(texts));
    expect(logProbs).toHaveLength(60);
    await cache.close();
  });

  it("keeps generated texts by prompt and options, and vectors by text", async () => {
    const cache = await AnswerCache.open(dir, "m");
    const model = new FakeModel({
      generate: (prompt, { seed }) => `${prompt}!${seed}`,
      embed: (text) => [text.length, 0.5],
    });
    const cached = new CachedModel(model, cache);
    expect(await cached.generate(["a", "b"], { seed: 1 })).toEqual(["a!1", "b!1"]);
    expect(await cached.generate(["a"], { seed: 2 })).toEqual(["a!2"]);
    expect(await cached.embed(["abc"])).toEqual([Float32Array.of(3, 0.5)]);
    const before = model.asked.length;
    await cached.generate(["b", "a"], { seed: 1 });
    await cached.embed(["abc"]);
    expect(model.asked).toHaveLength(before);
    await cache.close();
  });
});
