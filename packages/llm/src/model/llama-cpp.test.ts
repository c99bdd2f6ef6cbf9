import { execFileSync, spawn } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { LlamaCppModel } from "./llama-cpp.js";

const WORDS = ["food", "music", "zoo", "zebra", "art"];
const request = (...titles: string[]) => ({
  prefix: '"Bread" is about food.\n"',
  continuations: titles.map((title) => `${title}" is about`),
  words: WORDS,
});

let models: TinyModels;
let model: LlamaCppModel | undefined;
beforeAll(async () => {
  models = await tinyModels();
});
afterEach(async () => {
  await model?.close();
  model = undefined;
});
afterAll(() => models.remove());

/** Whether a process exists (a zombie does not count). */
function alive(pid: number): boolean {
  try {
    return !/\bZ/.test(execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }));
  } catch {
    return false;
  }
}

describe("LlamaCppModel", () => {
  it("scores words after a prompt with log-probabilities, and names those it cannot tell apart", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const { words, dropped, logProbs } = await model.scoreNext(request("The history of science", "Été à Paris"));
    expect(words).toEqual(["food", "music", "zoo", "art"]);
    expect(dropped).toEqual([{ word: "zebra", collidesWith: "zoo" }]);
    for (const row of logProbs) {
      expect(row.every((x) => x < 0)).toBe(true);
      expect(row.reduce((sum, x) => sum + Math.exp(x), 0)).toBeLessThan(1);
    }
  });

  it("gives the same bits whatever was asked before and however many processes share the work", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const titles = ["Sea", "The art of cooking", "A", "(500) Days", "Travel and games"];
    const forward = await model.scoreNext(request(...titles));
    const backward = await model.scoreNext(request(...[...titles].reverse()));
    const pooled = await LlamaCppModel.open({ modelPath: models.llama, threads: 2 });
    const shared = await pooled.scoreNext(request(...titles));
    await pooled.close();
    titles.forEach((_, i) => {
      expect(backward.logProbs[titles.length - 1 - i]).toEqual(forward.logProbs[i]);
      expect(shared.logProbs[i]).toEqual(forward.logProbs[i]);
    });
  });

  it("writes only what a grammar accepts, with and without a chat template", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const grammar = 'root ::= "1=" [A-C] " 2=" [A-C]';
    for (const chat of [true, false]) {
      const [text] = await model.generate(["the title"], { grammar, maxTokens: 16, chat });
      expect(text).toMatch(/^1=[A-C] 2=[A-C]$/);
    }
    const plain = { chat: false, maxTokens: 5 };
    const [once] = await model.generate(["the title"], plain);
    expect(await model.generate(["the title"], plain)).toEqual([once]);
  });

  it("writes short texts side by side, a tiny model as it writes them alone, and scores with the same bits beside them", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1, sequences: 8 });
    const plain = { chat: false, maxTokens: 8 };
    const prompts = Array.from({ length: 20 }, (_, i) => `the sea and the sky, title ${"abcdefghij"[i % 10]}`);
    const [together, scored] = await Promise.all([model.generate(prompts, plain), model.scoreNext(request("Sea"))]);
    const alone: string[] = [];
    for (const prompt of prompts) alone.push(...(await model.generate([prompt], plain)));
    expect(together).toEqual(alone);
    expect((await model.scoreNext(request("Sea"))).logProbs).toEqual(scored.logProbs);
  });

  it("embeds texts with an embedding model, and says that such a model cannot score", async () => {
    model = await LlamaCppModel.open({ modelPath: models.bert, threads: 1 });
    const [one, same, other] = await model.embed(["sea and sky", "sea and sky", "zoo"]);
    expect(one).toHaveLength(64);
    expect(one).toEqual(same);
    expect(one).not.toEqual(other);
    await expect(model.scoreNext(request("Sea"))).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
  });

  it("refuses files that are missing, cut, or whole but not what llama.cpp knows", async () => {
    const open = (modelPath: string) => LlamaCppModel.open({ modelPath, threads: 1 });
    await expect(open(join(models.dir, "absent.gguf"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    const bytes = await readFile(models.llama);
    const broken = join(models.dir, "broken.gguf");
    await writeFile(broken, bytes.subarray(0, bytes.length - 1000));
    await expect(open(broken)).rejects.toMatchObject({ code: "MODEL_INVALID" });
    await writeFile(broken, Buffer.from(bytes.toString("latin1").replaceAll("llama", "lhama"), "latin1"));
    await expect(open(broken)).rejects.toMatchObject({ code: "MODEL_INVALID", hint: expect.any(String) });
  });

  it("refuses a prompt that does not fit", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1, contextSize: 256 });
    await expect(model.scoreNext(request("x ".repeat(2000)))).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await model.scoreNext(request("Sea"))).logProbs).toHaveLength(1);
  });

  it("stops with the signal's own reason, before and in the middle, and goes on working", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const reason = new Error("enough");
    await expect(model.scoreNext(request("Sea"), { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const titles = Array.from({ length: 200 }, (_, i) => `Title ${i}`);
    let rows = 0;
    const scoring = model.scoreNext(request(...titles), {
      signal: controller.signal,
      onRow: () => {
        if (++rows === 3) controller.abort(reason);
      },
    });
    await expect(scoring).rejects.toBe(reason);
    expect(rows).toBeLessThan(titles.length);
    expect((await model.scoreNext(request("Sea"))).logProbs).toHaveLength(1);
    await expect(
      LlamaCppModel.open({ modelPath: models.llama, threads: 1, signal: AbortSignal.abort(reason) }),
    ).rejects.toBe(reason);
  });

  it("survives the crash of its process: the work in hand is given to a fresh one", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const expected = await model.scoreNext(request("Sea"));
    const [pid] = model.processes();
    const titles = Array.from({ length: 60 }, () => "Sea");
    let killed = false;
    const { logProbs } = await model.scoreNext(request(...titles), {
      onRow: () => {
        if (!killed) process.kill(pid!, "SIGKILL");
        killed = true;
      },
    });
    expect(logProbs).toHaveLength(titles.length);
    expect(logProbs.at(-1)).toEqual(expected.logProbs[0]);
    expect(model.processes()).not.toEqual([pid]);
  });

  it("gives texts that were written side by side to a fresh process when theirs is killed", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1, sequences: 8 });
    const plain = { chat: false, maxTokens: 8 };
    const prompts = Array.from({ length: 24 }, (_, i) => `title ${i}`);
    const expected = await model.generate(prompts, plain);
    const [pid] = model.processes();
    let killed = false;
    const texts = await model.generate(prompts, {
      ...plain,
      onProgress: () => {
        if (!killed) process.kill(pid!, "SIGKILL");
        killed = true;
      },
    });
    expect(texts).toEqual(expected);
    expect(model.processes()).not.toEqual([pid]);
  });

  it("says so when its process crashes again and again", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1, retries: 0 });
    const [pid] = model.processes();
    const scoring = model.scoreNext(request(...Array.from({ length: 50 }, () => "Sea")), {
      onRow: () => process.kill(pid!, "SIGKILL"),
    });
    await expect(scoring).rejects.toMatchObject({ code: "OUT_OF_MEMORY" });
  });

  it("refuses work after it was closed, and leaves no process behind", async () => {
    model = await LlamaCppModel.open({ modelPath: models.llama, threads: 1 });
    const [pid] = model.processes();
    await model.close();
    await expect(model.scoreNext(request("Sea"))).rejects.toMatchObject({ code: "DISPOSED" });
    await expect.poll(() => alive(pid!)).toBe(false);
  });

  it("leaves no process behind when the parent is killed", async () => {
    const library = pathToFileURL(fileURLToPath(new URL("../../dist/model/llama-cpp.js", import.meta.url))).href;
    const script =
      `const { LlamaCppModel } = await import(${JSON.stringify(library)});` +
      `const model = await LlamaCppModel.open({ modelPath: ${JSON.stringify(models.llama)}, threads: 1 });` +
      "process.stdout.write(model.processes().join() + '\\n'); setInterval(() => undefined, 1000);";
    const parent = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const pid = await new Promise<number>((resolve, reject) => {
      parent.stdout.once("data", (text: Buffer) => resolve(Number(text.toString())));
      parent.once("exit", () => reject(new Error("the parent ended before it opened the model")));
    });
    expect(alive(pid)).toBe(true);
    parent.kill("SIGKILL");
    for (let waited = 0; alive(pid) && waited < 10_000; waited += 50) await delay(50);
    expect(alive(pid)).toBe(false);
  });
});
