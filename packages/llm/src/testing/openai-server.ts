import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isPrismrecError } from "@prismrec/core/base";
import type { LanguageModel } from "../model/language-model.js";

/** What goes wrong with one request before the next is answered: a status, no answer at all, or a text that is none. */
export interface Fault {
  /** Requests to paths that end so (default: any). */
  readonly path?: string;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Never answers. */
  readonly hangs?: boolean;
  /** Breaks the connection off. */
  readonly breaks?: boolean;
}

export interface SeenRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Readonly<Record<string, unknown>>;
  /** Milliseconds since the server was started. */
  readonly at: number;
}

export interface OpenAiServerOptions {
  /** The models by name. */
  readonly models: Readonly<Record<string, LanguageModel>>;
  /** Refuses whoever does not give it. */
  readonly key?: string;
  /** Members of requests that it knows nothing of, and takes no notice of. */
  readonly ignores?: readonly ("grammar" | "response_format")[];
  /** Members of requests that it refuses. */
  readonly refuses?: readonly ("grammar" | "response_format")[];
  /** Paths that it does not have, without /v1. */
  readonly lacks?: readonly string[];
}

/** A server on loopback that speaks as much of OpenAI's interface as is asked of one, with real models behind. For tests only. */
export class OpenAiServer {
  readonly seen: SeenRequest[] = [];
  /** Taken from the front, one for each request whose path fits. */
  readonly faults: Fault[] = [];
  /** Most requests that were under way at once. */
  busiest = 0;
  readonly #options: OpenAiServerOptions;
  readonly #server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const text = Buffer.concat(parts).toString();
      const path = (request.url ?? "").replace(/^\/v1/, "");
      const body = text === "" ? {} : (JSON.parse(text) as Record<string, unknown>);
      this.seen.push({ path, headers: request.headers, body, at: performance.now() - this.#start });
      this.busiest = Math.max(this.busiest, ++this.#busy);
      response.on("close", () => this.#busy--);
      this.#answer(path, body, request.headers, response).catch((error: unknown) => {
        const isLong = isPrismrecError(error, "INVALID_ARGUMENT");
        send(response, isLong ? 400 : 501, failure(isLong ? "the prompt exceeds the context length" : String(error)));
      });
    });
  });
  readonly #start = performance.now();
  #busy = 0;

  private constructor(options: OpenAiServerOptions) {
    this.#options = options;
  }

  static async start(options: OpenAiServerOptions): Promise<OpenAiServer> {
    const server = new OpenAiServer(options);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  /** Address of the interface. */
  get base(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/v1`;
  }

  /** Requests to a path since the last look, which are forgotten. */
  take(path: string): SeenRequest[] {
    return this.seen.splice(0).filter((request) => request.path === path);
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  async #answer(
    path: string,
    body: Readonly<Record<string, unknown>>,
    headers: IncomingHttpHeaders,
    response: ServerResponse,
  ): Promise<void> {
    const { models, key, lacks = [], refuses = [], ignores = [] } = this.#options;
    const at = this.faults.findIndex((fault) => fault.path === undefined || fault.path === path);
    const [fault] = at < 0 ? [] : this.faults.splice(at, 1);
    if (fault?.hangs === true) return;
    if (fault?.breaks === true) {
      response.destroy();
      return;
    }
    if (fault !== undefined)
      return send(response, fault.status ?? 200, fault.body ?? failure("out of order"), fault.headers);
    if (key !== undefined && headers.authorization !== `Bearer ${key}`) {
      return send(
        response,
        401,
        failure(`Incorrect API key provided: ${headers.authorization?.replace("Bearer ", "")}`),
      );
    }
    if (lacks.includes(path)) return send(response, 404, failure("Not Found"));
    const refused = refuses.find((name) => body[name] !== undefined);
    if (refused !== undefined) return send(response, 400, failure(`Unknown parameter: ${refused}`));
    const counted = (text: string) => ({ prompt_tokens: text.length, completion_tokens: 1 });
    if (path === "/models") {
      const data = Object.keys(models).map((id) => ({ id, object: "model", created: Date.now(), owned_by: "tests" }));
      return send(response, 200, { object: "list", data });
    }
    const model = models[String(body.model)];
    if (model === undefined) return send(response, 404, failure(`The model ${String(body.model)} does not exist`));
    const { grammar, response_format: format } = body as {
      grammar?: string;
      response_format?: { json_schema: { schema: Record<string, unknown> } };
    };
    const options = {
      maxTokens: Number(body.max_tokens),
      temperature: Number(body.temperature),
      stop: (body.stop ?? []) as string[],
      ...(grammar === undefined || ignores.includes("grammar") ? {} : { grammar }),
      ...(format === undefined || ignores.includes("response_format") ? {} : { jsonSchema: format.json_schema.schema }),
    };
    if (path === "/chat/completions") {
      const messages = body.messages as { role: string; content: string }[];
      const system = messages.find(({ role }) => role === "system")?.content;
      const prompt = messages.at(-1)!.content;
      const [content] = await model.generate([prompt], { ...options, ...(system === undefined ? {} : { system }) });
      return send(response, 200, {
        choices: [{ index: 0, message: { role: "assistant", content } }],
        usage: counted(prompt),
      });
    }
    if (path === "/completions") {
      const prompt = String(body.prompt);
      const [text] = await model.generate([prompt], { ...options, chat: false });
      return send(response, 200, { choices: [{ index: 0, text }], usage: counted(prompt) });
    }
    if (path === "/embeddings") {
      const input = body.input as string[];
      const vectors = await model.embed(input);
      const data = vectors.map((vector, index) => ({ object: "embedding", index, embedding: [...vector] }));
      // The order of the answer is not promised to anybody.
      return send(response, 200, { data: data.reverse(), usage: { prompt_tokens: input.join("").length } });
    }
    send(response, 404, failure("Not Found"));
  }
}

function failure(message: string): object {
  return { error: { message, type: "invalid_request_error" } };
}

function send(
  response: ServerResponse,
  status: number,
  body: object | string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.destroyed) return;
  response.writeHead(status, { "content-type": "application/json", ...headers });
  response.end(typeof body === "string" ? body : JSON.stringify(body));
}
