import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { AnswerCache } from "../cache/answer-cache.js";
import { CachedModel } from "../cache/cached-model.js";
import { createClusterer } from "../clusterers/clusterers.js";
import { OpenAiServer } from "../testing/openai-server.js";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { LlamaCppModel } from "./llama-cpp.js";
import { identifyModel, parseModelUri } from "./model-uri.js";
import { openLanguageModel } from "./open-model.js";
import { ServerModel, type ServerModelOptions } from "./server-model.js";
import { pauseSeconds } from "./server-requests.js";

const KEY = "sk-very-secret-1234";

let files: TinyModels;
let tiny: LlamaCppModel;
let bert: LlamaCppModel;
beforeAll(async () => {
  files = await tinyModels();
  tiny = await LlamaCppModel.open({ modelPath: files.llama, threads: 1 });
  bert = await LlamaCppModel.open({ modelPath: files.bert, threads: 1 });
}, 120_000);
afterAll(async () => {
  await tiny.close();
  await bert.close();
  await files.remove();
});

let server: OpenAiServer;
beforeEach(async () => {
  server = await OpenAiServer.start({ models: { tiny, bert } });
});
afterEach(() => server.close());

const quick = { backoffSeconds: 0.005, env: {} } as const;
const open = (more: Partial<ServerModelOptions> = {}): Promise<ServerModel> =>
  ServerModel.open({ base: server.base, model: "tiny", ...quick, ...more });

describe("a model of a server", () => {
  it("writes what the model behind it writes, in chats and plain texts, held to a grammar and to a schema", async () => {
    const model = await open();
    expect(model.capabilities).toEqual({
      text: true,
      grammar: true,
      jsonSchema: true,
      scoreWords: false,
      embeddings: true,
      batching: true,
    });
    const prompts = ["The sea", "Été à Paris"];
    const plain = { chat: false, maxTokens: 12, stop: [".", "a", "e", "i", "o", "u"] };
    expect(await model.generate(prompts, plain)).toEqual(await tiny.generate(prompts, plain));
    const held = { grammar: 'root ::= "yes" | "no"', maxTokens: 8, system: "Answer." };
    expect(await model.generate(prompts, held)).toEqual(await tiny.generate(prompts, held));
    const jsonSchema = { type: "object", properties: { group: { enum: ["A", "B"] } } };
    for (const answer of await model.generate(prompts, { jsonSchema, maxTokens: 40 })) {
      expect(["A", "B"]).toContain((JSON.parse(answer) as { group: string }).group);
    }
    const { calls, promptTokens, generatedTokens } = model.usage();
    expect({ calls, generatedTokens }).toEqual({ calls: 6, generatedTokens: 6 });
    expect(promptTokens).toBe(3 * prompts.join("").length);
    await model.close();
    await expect(model.generate(["x"])).rejects.toMatchObject({ code: "DISPOSED" });
  });

  it("embeds as the model behind it does, in order, several texts a request", async () => {
    const model = await open({ model: "bert" });
    expect(model.capabilities).toMatchObject({ text: false, embeddings: true, grammar: false });
    const texts = Array.from({ length: 70 }, (_, i) => `title ${i}`);
    server.seen.length = 0;
    const vectors = await model.embed(texts);
    expect(server.take("/embeddings").map(({ body }) => (body.input as string[]).length)).toEqual([32, 32, 6]);
    expect(vectors).toEqual(await bert.embed(texts));
    await expect(model.generate(["x"])).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
    await model.close();
  });

  it("is told what it can do by what it does: members that are refused or taken no notice of do not count", async () => {
    await server.close();
    server = await OpenAiServer.start({
      models: { tiny },
      ignores: ["grammar"],
      refuses: ["response_format"],
      lacks: ["/completions", "/embeddings"],
    });
    const model = await open();
    expect(model.capabilities).toMatchObject({ text: true, grammar: false, jsonSchema: false, embeddings: false });
    server.seen.length = 0;
    await model.generate(["One, two,"], { chat: false, maxTokens: 2, grammar: 'root ::= "a"' });
    const [request] = server.take("/chat/completions");
    expect(request?.body).toMatchObject({ messages: [{ role: "system" }, { content: "One, two," }] });
    expect(request?.body).not.toHaveProperty("grammar");
    await model.close();
  });

  it("is refused by facets, which say what to use", async () => {
    const model = await open();
    await expect(createClusterer("facets", { catalog: titledCatalog(["A", "B"]), model })).rejects.toMatchObject({
      code: "MODEL_UNSUPPORTED",
      expected: expect.stringContaining("log-probabilities of given words"),
      hint: expect.stringContaining("--clusterer kinds"),
    });
    await expect(model.scoreNext()).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED" });
    await model.close();
  });

  it("has as many requests under way as it is told, and no more begun in a minute", async () => {
    const model = await open({ concurrency: 3 });
    server.busiest = 0;
    await model.generate(
      Array.from({ length: 12 }, (_, i) => `text ${i}`),
      { maxTokens: 1 },
    );
    expect(server.busiest).toBe(3);
    await model.close();
    const limited = await open({ requestsPerMinute: 9 });
    server.seen.length = 0;
    const stop = new AbortController();
    const asked = limited.generate(["a", "b", "c", "d", "e", "f"], { maxTokens: 1, signal: stop.signal });
    // Opening took six of the nine.
    await expect.poll(() => server.seen.length).toBe(3);
    stop.abort(new Error("enough"));
    await expect(asked).rejects.toThrow("enough");
    expect(server.seen).toHaveLength(3);
    await limited.close();
  }, 180_000);
});

describe("a server in trouble", () => {
  it("is asked again where it fails for the moment, breaks off or writes nonsense", async () => {
    const model = await open();
    const broken = [{ status: 503 }, { status: 500 }, { breaks: true }, { body: "<html>" }, { body: '{"choices":[]}' }];
    server.faults.push(...broken);
    server.seen.length = 0;
    const [answer] = await model.generate(["x"], { maxTokens: 2 });
    expect(answer).toEqual((await tiny.generate(["x"], { maxTokens: 2 }))[0]);
    expect(server.seen).toHaveLength(broken.length + 1);
    await model.close();
  });

  it("is asked nothing by anybody before the pause that it wants is over", async () => {
    const model = await open({ concurrency: 2 });
    server.faults.push({ status: 429, headers: { "retry-after": "1" } });
    server.seen.length = 0;
    await model.generate(["a", "b", "c", "d"], { maxTokens: 1 });
    // The one under way beside the refused one had begun before.
    const [first, , third] = server.seen;
    expect(third!.at - first!.at).toBeGreaterThan(950);
    expect(server.seen).toHaveLength(5);
    server.faults.push({ status: 429, headers: { "retry-after": "7200" } });
    await expect(model.generate(["e"])).rejects.toMatchObject({
      code: "LLM_SERVER_FAILED",
      received: expect.stringContaining("7200 s"),
    });
    await model.close();
  });

  it.each([
    ["a refused key", { status: 401 }, "LLM_UNAUTHORIZED", 1],
    [
      "a model it does not have any more",
      { status: 404, body: '{"error":{"message":"no such model"}}' },
      "LLM_MODEL_NOT_FOUND",
      1,
    ],
    [
      "a prompt too long",
      { status: 400, body: '{"error":{"message":"exceeds the context length"}}' },
      "INVALID_ARGUMENT",
      1,
    ],
    ["another refusal", { status: 422 }, "MODEL_UNSUPPORTED", 1],
    ["nonsense again and again", { body: "[1, 2" }, "LLM_OUTPUT_INVALID", 3],
    ["no message in the answer", { body: '{"choices":[{"message":{"content":null}}]}' }, "LLM_OUTPUT_INVALID", 3],
    ["failures again and again", { status: 500 }, "LLM_SERVER_FAILED", 3],
    [
      "a pointer to another server",
      { status: 307, headers: { location: "http://127.0.0.1:9/" } },
      "LLM_SERVER_FAILED",
      3,
    ],
    ["no answer", { hangs: true }, "LLM_TIMEOUT", 3],
  ] as const)("says so: %s", async (_, fault, code, attempts) => {
    const model = await open({ retries: 2, timeoutSeconds: "hangs" in fault ? 1.5 : 60 });
    server.seen.length = 0;
    for (let i = 0; i < 3; i++) server.faults.push(fault);
    await expect(model.generate(["x"])).rejects.toMatchObject({ code });
    expect(server.seen).toHaveLength(attempts);
    await model.close();
  });

  it("says at opening who is not there: no server, no such model, several models and none named", async () => {
    await expect(ServerModel.open({ base: "http://127.0.0.1:9/v1", retries: 1, ...quick })).rejects.toMatchObject({
      code: "LLM_SERVER_FAILED",
    });
    await expect(open({ model: "large" })).rejects.toMatchObject({
      code: "LLM_MODEL_NOT_FOUND",
      received: "tiny, bert",
    });
    await expect(ServerModel.open({ base: server.base, ...quick })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const elsewhere = ServerModel.open({ base: server.base.replace("/v1", "/v2"), model: "tiny", ...quick });
    await expect(elsewhere).rejects.toMatchObject({ code: "MODEL_UNSUPPORTED", hint: expect.stringContaining("/v1") });
  });

  it("is left alone once the signal aborts, while it is waited for and while nothing is asked", async () => {
    const model = await open({ concurrency: 2 });
    for (const fault of [{ hangs: true }, { status: 429, headers: { "retry-after": "60" } }]) {
      server.faults.push(fault, fault);
      server.seen.length = 0;
      const stop = new AbortController();
      const asked = model.generate(["a", "b", "c", "d"], { signal: stop.signal });
      await expect.poll(() => server.seen.length).toBe(2);
      stop.abort(new Error("enough"));
      await expect(asked).rejects.toThrow("enough");
      expect(server.seen).toHaveLength(2);
      server.faults.length = 0;
    }
    await model.close();
  });
});

describe("keys", () => {
  it("come from the environment, go to the server in a header, and stand in no error, name or cache", async () => {
    await server.close();
    server = await OpenAiServer.start({ models: { tiny }, key: KEY });
    const model = await open({ env: { PRISMREC_LLM_KEY: KEY } });
    expect(server.seen.every(({ headers }) => headers.authorization === `Bearer ${KEY}`)).toBe(true);
    const cache = await AnswerCache.open(files.dir, "keyed");
    await new CachedModel(model, cache).generate(["x"], { maxTokens: 2 });
    await cache.close();
    expect(JSON.stringify(model) + model.hash + model.name).not.toContain(KEY);
    for (const name of await readdir(files.dir)) {
      expect((await readFile(join(files.dir, name))).includes(KEY)).toBe(false);
    }
    await model.close();
    const wrong = await open({ env: { PRISMREC_LLM_KEY: `${KEY}5` } }).catch((error: unknown) => error);
    expect(wrong).toMatchObject({ code: "LLM_UNAUTHORIZED", received: expect.stringContaining("***") });
    expect(JSON.stringify(wrong)).not.toContain(KEY);
    await expect(open({ env: { OPENAI_API_KEY: KEY } })).rejects.toMatchObject({ code: "LLM_UNAUTHORIZED" });
    expect(server.seen.at(-1)?.headers.authorization).toBeUndefined();
  });
});

describe("a model's name", () => {
  it("is a file, a file with options of llama.cpp, or an address with the model behind #", () => {
    expect(parseModelUri("models/a b.gguf")).toEqual({ kind: "file", path: "models/a b.gguf" });
    expect(parseModelUri("node-llama-cpp:/m/a.gguf?gpu=true&contextSize=512")).toEqual({
      kind: "file",
      path: "/m/a.gguf",
      gpu: true,
      contextSize: 512,
    });
    expect(parseModelUri("https://host/v1/#org/model%3Aq4")).toEqual({
      kind: "server",
      base: "https://host/v1",
      model: "org/model:q4",
    });
    expect(parseModelUri("http://host:8080/v1")).toEqual({ kind: "server", base: "http://host:8080/v1" });
  });

  it.each(["http://user:hunter2@host/v1", "http://host/v1?key=hunter2", "http://", "http://host/v1#%zz"])(
    "is refused, and not repeated, where it cannot be used: %s",
    (uri) => {
      let error: unknown;
      try {
        parseModelUri(uri);
      } catch (caught) {
        error = caught;
      }
      expect(error).toMatchObject({ code: "CONFIG_INVALID" });
      expect(JSON.stringify(error)).not.toContain("hunter2");
    },
  );

  it("opens either kind, and names the same model alike each time", async () => {
    const file = await openLanguageModel(files.llama, { threads: 1 });
    expect([file.name, file.hash]).toEqual(["tiny-llama.gguf", await identifyModel(files.llama)]);
    await file.close();
    const uri = `${server.base}#tiny`;
    const served = await openLanguageModel(uri, quick);
    expect([served.name, served.hash]).toEqual(["tiny", await identifyModel(uri)]);
    expect(served.hash).not.toBe(await identifyModel(`${server.base}#bert`));
    await served.close();
  });
});

it("reads Retry-After as seconds and as a date", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  expect(pauseSeconds("1.5", now)).toBe(1.5);
  expect(pauseSeconds("Thu, 01 Jan 2026 00:00:30 GMT", now)).toBe(30);
  expect(pauseSeconds("Wed, 31 Dec 2025 00:00:00 GMT", now)).toBe(0);
  expect([pauseSeconds("soon", now), pauseSeconds(null, now)]).toEqual([undefined, undefined]);
});
