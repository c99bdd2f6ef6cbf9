import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hashJson, sha256 } from "@prismrec/core/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { FakeModel } from "../testing/fake-model.js";
import { AnswerCache, answerKey } from "./answer-cache.js";
import { CachedModel } from "./cached-model.js";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-cache-"));
});
afterEach(() => rm(dir, { recursive: true }));

const scoring = () => new FakeModel({ score: (text, word) => -text.length - word.length / 7 });
const request = (texts: readonly string[]) => ({ prefix: "p", continuations: texts, words: ["food", "art"] });

describe("AnswerCache", () => {
  const key = (question: unknown, model = "a".repeat(64)): string => answerKey(model, question);

  it("gives back what was put, at once and after closing and opening again", async () => {
    const values: unknown[] = [[1.5, -2], "line\nbreak \u2028 “quoted” \0", { words: ["é"] }, ""];
    const cache = await AnswerCache.open(dir, "m");
    values.forEach((value, i) => {
      cache.put(key(i), value);
    });
    expect(values.map((_, i) => cache.get(key(i)))).toEqual(values);
    expect(cache.state()).toEqual({ entries: values.length, damaged: 0 });
    await cache.close();
    const again = await AnswerCache.open(dir, "m");
    expect(values.map((_, i) => again.get(key(i)))).toEqual(values);
    expect(again.state()).toEqual({ entries: values.length, damaged: 0 });
    expect(again.get(key("other"))).toBeUndefined();
    await again.close();
    expect(await readdir(dir)).toEqual(["m.sqlite"]);
  });

  it("is read and never written where it is only to be read, whether it is there or not", async () => {
    const cache = await AnswerCache.open(dir, "m");
    cache.put(key(1), "one");
    await cache.close();
    const before = await readFile(cache.path);
    const reader = await AnswerCache.open(dir, "m", { readOnly: true });
    reader.put(key(2), "two");
    await reader.flush();
    expect([reader.get(key(1)), reader.get(key(2))]).toEqual(["one", "two"]);
    expect(reader.state().entries).toBe(2);
    await reader.close();
    expect(await readFile(cache.path)).toEqual(before);
    const missing = await AnswerCache.open(join(dir, "none"), "m", { readOnly: true });
    expect(missing.state().entries).toBe(0);
    await missing.close();
    expect(await readdir(dir)).toEqual(["m.sqlite"]);
  });

  it("keeps what several processes write at once, but for what one that is killed has not yet written", async () => {
    const cache = await AnswerCache.open(dir, "m");
    const writers = Array.from({ length: 3 }, (_, i) => once(startWriter(`w${i}`, 100), "exit"));
    const killed = startWriter("killed", 1_000_000);
    await expect.poll(() => cache.has(key("killed-80")), { timeout: 60_000, interval: 20 }).toBe(true);
    killed.kill("SIGKILL");
    expect(await Promise.all(writers)).toEqual([0, 1, 2].map(() => [0, null]));
    await cache.close();
    const after = await AnswerCache.open(dir, "m");
    for (const i of [0, 1, 2]) {
      for (let n = 0; n < 100; n++) expect(after.get(key(`w${i}-${n}`))).toEqual({ name: `w${i}`, n });
    }
    const kept = (n: number): boolean => after.has(key(`killed-${n}`));
    let count = 80;
    while (kept(count)) count++;
    for (let n = 0; n < count; n++) expect(after.get(key(`killed-${n}`))).toEqual({ name: "killed", n });
    expect(after.state()).toEqual({ entries: 300 + count, damaged: 0 });
    await after.close();
  });

  it("treats an answer whose bytes were changed as never written", async () => {
    const cache = await AnswerCache.open(dir, "m");
    cache.put(key(0), [1, 2, 3]);
    await cache.close();
    const bytes = await readFile(cache.path);
    bytes.write("[1,2,4]", bytes.indexOf("[1,2,3]"));
    await writeFile(cache.path, bytes);
    const again = await AnswerCache.open(dir, "m");
    expect(again.get(key(0))).toBeUndefined();
    expect(again.state()).toEqual({ entries: 1, damaged: 1 });
    again.put(key(0), [1, 2, 3]);
    await again.close();
    const last = await AnswerCache.open(dir, "m");
    expect([last.get(key(0)), last.state()]).toEqual([[1, 2, 3], { entries: 1, damaged: 0 }]);
    await last.close();
  });

  it("takes over what was kept in text files before, once, without what was cut or is about something else", async () => {
    const model = "0123456789abcdef";
    const line = (question: number, json: string): string => {
      const short = hashJson(question).slice(0, 32);
      return `${sha256(`${short} ${json}`).slice(0, 8)} ${short} ${json}\n`;
    };
    const text = line(1, '"one"') + line(2, "[2]") + line(3, '"three"').slice(0, 45);
    await writeFile(join(dir, `${model}.answers`), text);
    await writeFile(join(dir, `${model}-histories.answers`), line(4, '"four"'));
    const cache = await AnswerCache.open(dir, "answers");
    expect([1, 2, 3, 4].map((question) => cache.get(key(question, model)))).toEqual(["one", [2], undefined, undefined]);
    expect(cache.state()).toEqual({ entries: 2, damaged: 1 });
    await cache.close();
    expect(await readdir(dir)).toEqual([`${model}-histories.answers`, "answers.sqlite"]);
    const histories = await AnswerCache.open(dir, "answers-histories");
    expect(histories.get(key(4, model))).toBe("four");
    expect(histories.models()).toEqual(new Map([[model, 1]]));
    await histories.close();
  });

  it("goes out as text and comes in again elsewhere, where what is known stays", async () => {
    const from = await AnswerCache.open(dir, "from");
    const values = Object.fromEntries(Array.from({ length: 2500 }, (_, i) => [key(i), { i, title: "é\n\u2028" }]));
    for (const [at, value] of Object.entries(values)) from.put(at, value);
    const file = join(dir, "answers.jsonl");
    expect(await from.export(file)).toBe(2500);
    await from.close();
    const to = await AnswerCache.open(dir, "to");
    to.put(key(0), "mine");
    expect(await to.import(file)).toEqual({ added: 2499, known: 1 });
    expect(await to.import(file)).toEqual({ added: 0, known: 2500 });
    expect(Object.keys(values).map((at) => to.get(at))).toEqual(["mine", ...Object.values(values).slice(1)]);
    const lines = (await readFile(file, "utf8")).split("\n");
    const cut = join(dir, "cut.jsonl");
    await writeFile(cut, [...lines.slice(0, 5), lines[5]!.slice(0, 40)].join("\n"));
    const error = { code: "DATA_FORMAT", received: expect.stringContaining("line 6") };
    await expect(to.import(cut)).rejects.toMatchObject(error);
    await writeFile(cut, lines.slice(1).join("\n"));
    await expect(to.import(cut)).rejects.toMatchObject({ received: expect.stringContaining("line 1") });
    await expect(to.import(join(dir, "none"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await to.close();
  });

  it("says where it cannot write, and what is no cache", async () => {
    await writeFile(join(dir, "file"), "");
    await expect(AnswerCache.open(join(dir, "file"), "m")).rejects.toMatchObject({ code: "IO" });
    for (const bytes of ["no database", "no database ".repeat(2000)]) {
      await writeFile(join(dir, "m.sqlite"), bytes);
      for (const readOnly of [true, false]) {
        await expect(AnswerCache.open(dir, "m", { readOnly })).rejects.toMatchObject({ code: "DATA_FORMAT" });
      }
    }
  });

  /** Another process that puts `count` answers one turn after another. */
  function startWriter(name: string, count: number): ChildProcess {
    const code = `
      import { AnswerCache, answerKey } from ${JSON.stringify(new URL("../../dist/cache/answer-cache.js", import.meta.url).href)};
      const cache = await AnswerCache.open(${JSON.stringify(dir)}, "m");
      for (let n = 0; n < ${count}; n++) {
        cache.put(answerKey("a".repeat(64), "${name}-" + n), { name: "${name}", n });
        await cache.flush();
      }
      await cache.close();`;
    return spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "inherit" });
  }
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
