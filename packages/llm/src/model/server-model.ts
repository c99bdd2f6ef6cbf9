import { hashJson, PrismrecError, type RunOptions } from "@prismrec/core/base";
import { z } from "zod";
import type { Capabilities, GenerateOptions, LanguageModel, ScoreResult, Usage } from "./language-model.js";
import { RefusedError, type ServerLimits, ServerRequests } from "./server-requests.js";

export type { ServerLimits } from "./server-requests.js";

export interface ServerModelOptions extends ServerLimits {
  /** Address of the interface without a slash at its end, mostly ending in /v1. */
  readonly base: string;
  /** The model's name on the server; may be left out where the server has one. */
  readonly model?: string;
  readonly signal?: AbortSignal;
  /** Where keys are read from (default: the process' environment). */
  readonly env?: NodeJS.ProcessEnv;
}

/** Texts of one request for vectors. */
const EMBEDDED_AT_ONCE = 32;
/** A token is about so many characters; used where a server does not count. */
const CHARACTERS_PER_TOKEN = 4;
/** Statuses by which servers say that they cannot do something. */
const CANNOT = new Set([400, 404, 405, 415, 422, 501]);
/** What no model writes unless it is held to it. */
const HELD = "prism-7";
const CONTINUE = "Continue the text of the user. Write only what comes next, nothing else.";

const modelsSchema = z.object({
  data: z.array(z.object({ id: z.string(), root: z.string().nullish(), meta: z.unknown().optional() })),
});
const usageSchema = z
  .object({ prompt_tokens: z.number().nonnegative(), completion_tokens: z.number().nonnegative().nullish() })
  .nullish();
const chatSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })).min(1),
  usage: usageSchema,
});
const completionSchema = z.object({ choices: z.array(z.object({ text: z.string() })).min(1), usage: usageSchema });
const vectorsSchema = z.object({
  data: z.array(z.object({ index: z.int().nonnegative(), embedding: z.array(z.number()).min(1) })),
  usage: usageSchema,
});

interface Identity {
  readonly name: string;
  readonly hash: string;
}

/**
 * A model of a server that speaks OpenAI's interface (llama-server, vLLM, any service of that kind). It cannot score given
 * words: such servers give the likeliest ones alone. Its identity is its address, its name and what the server says it is
 * made of; weights that are exchanged under one name are not noticed.
 */
export class ServerModel implements LanguageModel {
  readonly name: string;
  readonly hash: string;
  readonly parallelism: number;
  readonly capabilities: Capabilities;
  readonly #requests: ServerRequests;
  /** Whether plain texts are continued by the server; else it is told to in a chat. */
  readonly #continues: boolean;
  #calls = 0;
  #promptTokens = 0;
  #generatedTokens = 0;
  #seconds = 0;

  private constructor(requests: ServerRequests, identity: Identity, found: Found) {
    this.name = identity.name;
    this.hash = identity.hash;
    this.parallelism = requests.concurrency;
    this.#requests = requests;
    this.#continues = found.continues;
    const { continues: _, ...capabilities } = found;
    this.capabilities = { ...capabilities, scoreWords: false, batching: requests.concurrency > 1 };
  }

  /**
   * Finds the model on its server and asks it a few words to see what it can do.
   *
   * @throws PrismrecError LLM_UNAUTHORIZED, LLM_MODEL_NOT_FOUND, LLM_TIMEOUT, LLM_SERVER_FAILED, LLM_OUTPUT_INVALID;
   *   CONFIG_INVALID where the server has several models and none is named
   */
  static async open(options: ServerModelOptions): Promise<ServerModel> {
    const { signal } = options;
    const requests = requestsOf(options);
    const identity = await identify(requests, options);
    return new ServerModel(requests, identity, await findCapabilities(requests, identity.name, signal));
  }

  async generate(prompts: readonly string[], options: GenerateOptions = {}): Promise<string[]> {
    this.#require("text", "write");
    const { chat = true, stop = [], signal, onProgress } = options;
    let done = 0;
    return this.#all(prompts, signal, async (prompt, either) => {
      const text =
        chat || !this.#continues
          ? await this.#chat(prompt, options, either)
          : await this.#continue(prompt, options, either);
      onProgress?.({ stage: "generate", done: ++done, total: prompts.length, unit: "prompts" });
      const cut = stop.map((end) => text.indexOf(end)).filter((at) => at >= 0);
      return cut.length === 0 ? text : text.slice(0, Math.min(...cut));
    });
  }

  async embed(texts: readonly string[], { signal, onProgress }: RunOptions = {}): Promise<Float32Array[]> {
    this.#require("embeddings", "embed");
    const parts: string[][] = [];
    for (let at = 0; at < texts.length; at += EMBEDDED_AT_ONCE) parts.push(texts.slice(at, at + EMBEDDED_AT_ONCE));
    let done = 0;
    const rows = await this.#all(parts, signal, async (part, either) => {
      const body = { model: this.name, input: part, encoding_format: "float" };
      const vectors = await this.#counted("/embeddings", body, part.join(""), either, (answer) => {
        const { data, usage } = vectorsSchema.parse(answer);
        const inOrder = data.toSorted((a, b) => a.index - b.index);
        const width = inOrder[0]?.embedding.length;
        if (
          inOrder.length !== part.length ||
          inOrder.some((row, i) => row.index !== i || row.embedding.length !== width)
        )
          throw new RangeError("not one vector of the same length for each text");
        return { value: inOrder.map(({ embedding }) => Float32Array.from(embedding)), usage };
      });
      done += part.length;
      onProgress?.({ stage: "embed", done, total: texts.length, unit: "items" });
      return vectors;
    });
    return rows.flat();
  }

  /** Always rejects: MODEL_UNSUPPORTED. */
  async scoreNext(): Promise<ScoreResult> {
    throw new PrismrecError("MODEL_UNSUPPORTED", `${this.name} cannot score words that are given`, {
      expected: "a model that runs here",
      received: "a server, which gives the likeliest words alone",
      hint: "use --clusterer kinds, or a GGUF file with --llm",
    });
  }

  usage(): Usage {
    return {
      calls: this.#calls,
      promptTokens: this.#promptTokens,
      generatedTokens: this.#generatedTokens,
      seconds: this.#seconds,
    };
  }

  async close(): Promise<void> {
    this.#requests.close(new PrismrecError("DISPOSED", `the language model ${this.name} is closed`));
  }

  #require(capability: "text" | "embeddings", verb: string): void {
    if (this.capabilities[capability]) return;
    throw new PrismrecError("MODEL_UNSUPPORTED", `${this.name} does not ${verb} on this server`, {
      hint: "name another model after the # of --llm",
    });
  }

  #chat(prompt: string, options: GenerateOptions, signal: AbortSignal): Promise<string> {
    const { system, chat = true } = options;
    const said = chat ? system : CONTINUE;
    const messages = [
      ...(said === undefined ? [] : [{ role: "system", content: said }]),
      { role: "user", content: prompt },
    ];
    const body = { model: this.name, messages, ...this.#asked(options) };
    return this.#counted("/chat/completions", body, prompt + (said ?? ""), signal, (answer) => {
      const { choices, usage } = chatSchema.parse(answer);
      return { value: choices[0]!.message.content, usage };
    });
  }

  #continue(prompt: string, options: GenerateOptions, signal: AbortSignal): Promise<string> {
    const body = { model: this.name, prompt, ...this.#asked(options) };
    return this.#counted("/completions", body, prompt, signal, (answer) => {
      const { choices, usage } = completionSchema.parse(answer);
      return { value: choices[0]!.text, usage };
    });
  }

  /** The members of a request that say how to write. */
  #asked({ maxTokens = 256, temperature = 0, seed, stop = [], grammar, jsonSchema }: GenerateOptions) {
    return {
      max_tokens: maxTokens,
      temperature,
      ...(seed === undefined ? {} : { seed }),
      // The interface takes four; the text is cut at the others here.
      ...(stop.length === 0 ? {} : { stop: stop.slice(0, 4) }),
      ...this.#constraint(grammar, jsonSchema),
    };
  }

  #constraint(grammar: string | undefined, jsonSchema: GenerateOptions["jsonSchema"]): Record<string, unknown> {
    if (grammar !== undefined && this.capabilities.grammar) return { grammar };
    if (jsonSchema !== undefined && this.capabilities.jsonSchema) return { response_format: heldTo(jsonSchema) };
    return {};
  }

  async #counted<T>(
    path: string,
    body: unknown,
    prompt: string,
    signal: AbortSignal,
    read: (answer: unknown) => { value: T; usage: z.infer<typeof usageSchema> },
  ): Promise<T> {
    const start = performance.now();
    try {
      const { value, usage } = await this.#requests.ask(path, body, read, signal);
      const written = typeof value === "string" ? value.length / CHARACTERS_PER_TOKEN : 0;
      this.#calls++;
      this.#promptTokens += usage?.prompt_tokens ?? Math.ceil(prompt.length / CHARACTERS_PER_TOKEN);
      this.#generatedTokens += usage?.completion_tokens ?? Math.ceil(usage?.prompt_tokens === undefined ? written : 0);
      this.#seconds += (performance.now() - start) / 1000;
      return value;
    } catch (error) {
      throw error instanceof RefusedError ? refusal(error, this.name) : error;
    }
  }

  /** All at once, as far as the server is asked at once; the first failure takes back the others. */
  async #all<I, T>(
    inputs: readonly I[],
    signal: AbortSignal | undefined,
    ask: (input: I, signal: AbortSignal) => Promise<T>,
  ): Promise<T[]> {
    const stop = new AbortController();
    const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
    try {
      return await Promise.all(inputs.map((input) => ask(input, either)));
    } catch (error) {
      stop.abort(error);
      throw error;
    }
  }
}

/** Who a server's model is, without asking it anything. Throws as `ServerModel.open` does. */
export async function identifyServerModel(options: ServerModelOptions): Promise<Identity> {
  return identify(requestsOf(options), options);
}

function requestsOf(options: ServerModelOptions): ServerRequests {
  const { base, env = process.env } = options;
  return new ServerRequests(base, keyFor(base, env), options);
}

/** The key for a server: PRISMREC_LLM_KEY; OPENAI_API_KEY is OpenAI's own and goes nowhere else. */
function keyFor(base: string, env: NodeJS.ProcessEnv): string | undefined {
  const own = env.PRISMREC_LLM_KEY;
  if (own !== undefined && own !== "") return own;
  const openAi = new URL(base).host === "api.openai.com" ? env.OPENAI_API_KEY : undefined;
  return openAi === "" ? undefined : openAi;
}

async function identify(requests: ServerRequests, { base, model, signal }: ServerModelOptions): Promise<Identity> {
  const listed = await listModels(requests, signal);
  const identity = (name: string, made: unknown): Identity => ({
    name,
    hash: hashJson(["server-1", base, name, made]),
  });
  if (model === undefined) {
    const [only, ...others] = listed ?? [];
    if (only !== undefined && others.length === 0) return identity(only.id, madeOf(only));
    throw new PrismrecError("CONFIG_INVALID", `${base} does not say which model is meant`, {
      expected: `the name of one: ${base}#MODEL`,
      received: listed === undefined ? "a server that lists none" : someOf(listed),
    });
  }
  const found = listed?.find(({ id }) => id === model);
  if (listed !== undefined && listed.length > 0 && found === undefined) throw unknownModel(model, someOf(listed));
  return identity(model, found === undefined ? null : madeOf(found));
}

type Listed = z.infer<typeof modelsSchema>["data"][number];

/** What a server says that stays the same from one start to the next. */
function madeOf({ root, meta }: Listed): unknown {
  return { root: root ?? null, meta: meta ?? null };
}

function someOf(models: readonly Listed[]): string {
  const names = models.slice(0, 10).map(({ id }) => id);
  return `${names.join(", ")}${models.length > 10 ? `, and ${models.length - 10} more` : ""}`;
}

/** undefined where the server has no such list. */
async function listModels(requests: ServerRequests, signal: AbortSignal | undefined): Promise<Listed[] | undefined> {
  try {
    return await requests.ask("/models", undefined, (answer) => modelsSchema.parse(answer).data, signal);
  } catch (error) {
    if (error instanceof RefusedError && CANNOT.has(error.status)) return undefined;
    throw error instanceof RefusedError ? refusal(error, "the server") : error;
  }
}

type Found = Pick<Capabilities, "text" | "grammar" | "jsonSchema" | "embeddings"> & { readonly continues: boolean };

/** Sees by asking, since no server says it: a constraint counts where the answer shows that it was held to. */
async function findCapabilities(
  requests: ServerRequests,
  model: string,
  signal: AbortSignal | undefined,
): Promise<Found> {
  const asks = async <T>(path: string, body: object, read: (answer: unknown) => T): Promise<T | undefined> => {
    try {
      return await requests.ask(path, { model, ...body }, read, signal);
    } catch (error) {
      if (!(error instanceof RefusedError)) throw error;
      if (isUnknownModel(error)) throw unknownModel(model, error.why);
      if (CANNOT.has(error.status)) return undefined;
      throw refusal(error, model);
    }
  };
  const messages = [{ role: "user", content: "Say a word." }];
  const chat = (more: object): Promise<string | undefined> =>
    asks(
      "/chat/completions",
      { messages, max_tokens: 24, temperature: 0, ...more },
      (answer) => chatSchema.parse(answer).choices[0]!.message.content,
    );
  const schema = { type: "object", properties: { a: { enum: [HELD] } }, required: ["a"], additionalProperties: false };
  const text = (await chat({})) !== undefined;
  const vectors = await asks(
    "/embeddings",
    { input: ["word"], encoding_format: "float" },
    (answer) => vectorsSchema.parse(answer).data.length,
  );
  const embeddings = vectors !== undefined && vectors > 0;
  if (!text && !embeddings) {
    throw new PrismrecError("MODEL_UNSUPPORTED", `${model} neither writes nor embeds on this server`, {
      expected: "an answer at /chat/completions or /embeddings",
      received: "refusals",
      hint: "See whether the address ends where the interface begins, mostly in /v1.",
    });
  }
  if (!text) return { text, embeddings, grammar: false, jsonSchema: false, continues: false };
  const continued = await asks(
    "/completions",
    { prompt: "One, two,", max_tokens: 2, temperature: 0 },
    (answer) => completionSchema.parse(answer).choices.length,
  );
  return {
    text,
    embeddings,
    grammar: (await chat({ grammar: `root ::= "${HELD}"` }))?.trim() === HELD,
    jsonSchema: isHeld(await chat({ response_format: heldTo(schema) })),
    continues: continued !== undefined,
  };
}

function isHeld(text: string | undefined): boolean {
  try {
    return z.object({ a: z.literal(HELD) }).safeParse(JSON.parse(text ?? "")).success;
  } catch {
    return false;
  }
}

function heldTo(schema: Readonly<Record<string, unknown>>): object {
  return { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
}

function isUnknownModel({ status, why }: RefusedError): boolean {
  return status === 404 && /model/i.test(why);
}

function unknownModel(model: string, received: string): PrismrecError {
  return new PrismrecError("LLM_MODEL_NOT_FOUND", `the server has no model called ${model}`, {
    expected: "the name of one that it has, after the # of --llm",
    received,
  });
}

function refusal(error: RefusedError, model: string): PrismrecError {
  if (isUnknownModel(error)) return unknownModel(model, error.why);
  if (
    /context.{0,20}(?:length|size|window)|too (?:long|large)|maximum.{0,20}tokens/i.test(error.why) ||
    error.status === 413
  ) {
    return new PrismrecError("INVALID_ARGUMENT", `a prompt is too long for ${model}`, {
      received: error.message,
      hint: "shorten the items' texts, or use a model with a larger context",
      cause: error,
    });
  }
  return new PrismrecError("MODEL_UNSUPPORTED", `${model} cannot do this`, {
    received: error.message,
    hint: "See whether the address ends where the interface begins, mostly in /v1.",
    cause: error,
  });
}
