import { randomUUID } from "node:crypto";
import cors from "@fastify/cors";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import swagger from "@fastify/swagger";
import underPressure from "@fastify/under-pressure";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { jsonSchemaTransform, type ZodTypeProvider } from "fastify-type-provider-zod";
import type { z } from "zod";
import { keyCheck } from "./api-key.js";
import { EventStore } from "./events.js";
import { ExposureLog } from "./exposures.js";
import { Gate } from "./gate.js";
import { Holder } from "./holder.js";
import { Metrics } from "./metrics.js";
import { PROBLEM_TYPE, problemOf, RequestError, validationError } from "./problems.js";
import { addHealth } from "./routes/health.js";
import { addPage, PAGE_POLICY } from "./routes/page.js";
import { addVerbs } from "./routes/verbs.js";
import type { OpenServed, Served } from "./served.js";
import { parseServiceSettings, type RawServiceSettings, type ServiceSettings } from "./settings.js";

export interface ServiceOptions {
  /** Opens what is served: at `load` and at each reload. */
  readonly open: OpenServed;
  readonly settings?: RawServiceSettings;
  /** Asked of every request but those to the page and to `/health`; absent: nobody is asked for one. */
  readonly apiKey?: string;
  /** Journal of events, one JSON line each, that this process alone writes. Absent: events are refused. */
  readonly events?: string;
  /** Exposure log, one JSON line for each list that was given. Absent: none is kept. */
  readonly exposures?: string;
  readonly version?: string;
  /** Told of failures that nobody who asks is told more of. */
  readonly onError?: (error: unknown, requestId: string | undefined) => void;
}

/** What the routes share. */
export interface Context {
  readonly holder: Holder;
  readonly events: EventStore;
  readonly gate: Gate;
  readonly metrics: Metrics;
  readonly settings: ServiceSettings;
  readonly exposures: ExposureLog | undefined;
  onError(error: unknown, requestId: string | undefined): void;
}

/** Fastify with routes that are typed by their schemas. */
export type App = FastifyInstance<
  import("node:http").Server,
  import("node:http").IncomingMessage,
  import("node:http").ServerResponse,
  import("fastify").FastifyBaseLogger,
  ZodTypeProvider
>;

/** Between two looks for idle connections while the service ends. */
const SWEEP_MS = 50;

/** A recommender over HTTP. */
export class Service implements AsyncDisposable {
  readonly #stop = new AbortController();
  #closed: Promise<void> | undefined;

  private constructor(
    /** For `inject`; `listen` opens a port. */
    readonly app: App,
    private readonly context: Context,
  ) {}

  /**
   * Makes a service that answers once `load` has resolved; nothing is opened on the network before `listen`.
   *
   * @throws PrismrecError CONFIG_INVALID; DATA_FORMAT for a damaged journal; IO
   */
  static async create(options: ServiceOptions): Promise<Service> {
    const settings = parseServiceSettings(options.settings ?? {});
    const events = await EventStore.open(options.events);
    const exposures = options.exposures === undefined ? undefined : await ExposureLog.open(options.exposures);
    const gate = new Gate(settings.concurrency, settings.queueMax);
    const context: Context = {
      holder: new Holder(options.open),
      events,
      gate,
      metrics: new Metrics(() => gate.waiting),
      settings,
      exposures,
      onError: options.onError ?? (() => undefined),
    };
    return new Service(await createApp(context, options), context);
  }

  /** What answers now where no user is named; undefined before `load`. */
  get served(): Served | undefined {
    return this.context.holder.lineup?.first;
  }

  /** Names of the variants that are served; none without an experiment, and before `load`. */
  get variants(): readonly string[] {
    return this.context.holder.lineup?.all.flatMap(({ name }) => name ?? []) ?? [];
  }

  /** How many events have been received, those of earlier processes included. */
  get events(): number {
    return this.context.events.size;
  }

  /** Bytes of an unacknowledged event that a process left behind when it was killed; they were cut off. */
  get torn(): number {
    return this.context.events.torn;
  }

  /** The same of the exposure log. */
  get exposuresTorn(): number {
    return this.context.exposures?.torn ?? 0;
  }

  /**
   * Opens and warms what is served, or, later on, opens it anew: requests go to the new one once it is warm, those under
   * way end with the old one. Where it fails the old one stays. An exposure log that has been moved away is begun anew.
   *
   * @throws what opening throws
   */
  async load(): Promise<Served> {
    const { holder, metrics, exposures, onError } = this.context;
    const first = holder.lineup === undefined;
    try {
      await holder.load(this.#stop.signal);
    } catch (error) {
      if (!first) metrics.reloads.inc({ outcome: "failed" });
      throw error;
    }
    const lineup = holder.lineup!;
    metrics.lineupIs(lineup);
    if (!first) {
      metrics.reloads.inc({ outcome: "done" });
      await exposures?.reopen().catch((error: unknown) => onError(error, undefined));
    }
    return lineup.first;
  }

  /** @returns where it listens, such as http://127.0.0.1:8080 */
  async listen({ host = "127.0.0.1", port }: { readonly host?: string; readonly port: number }): Promise<string> {
    return this.app.listen({ host, port });
  }

  /** Takes no further requests, ends those under way, and gives everything back; a second call does nothing. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const { holder, events, exposures } = this.context;
    this.#stop.abort();
    // A connection that is kept alive is idle once its last answer is out; nothing else would end it for a minute.
    const sweep = setInterval(() => this.app.server.closeIdleConnections(), SWEEP_MS);
    try {
      await this.app.close();
    } finally {
      clearInterval(sweep);
    }
    await holder.close();
    await events.close();
    await exposures?.close();
  }
}

async function createApp(context: Context, { apiKey, version = "0.0.0" }: ServiceOptions): Promise<App> {
  const { settings, metrics } = context;
  const app: App = Fastify({
    bodyLimit: settings.bodyMax,
    // Until a request has arrived; from then on it has the same time again for its answer.
    requestTimeout: settings.timeoutMs,
    genReqId: () => randomUUID(),
    requestIdHeader: false,
    forceCloseConnections: "idle",
    routerOptions: { maxParamLength: 2048 },
  }).withTypeProvider<ZodTypeProvider>();
  app.setValidatorCompiler(({ schema }) => (sent: unknown) => {
    const parsed = (schema as z.ZodType).safeParse(sent);
    return parsed.success ? { value: parsed.data } : { error: validationError(parsed.error, sent) };
  });
  // The types hold answers to their schemas, and so do the tests; no answer pays for being read again.
  app.setSerializerCompiler(() => JSON.stringify);
  app.setErrorHandler((error, request, reply) => sendProblem(context, error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const fault = {
      code: "NOT_FOUND",
      status: 404,
      detail: `there is no ${request.method} ${request.url.split("?")[0]}`,
      hint: "GET /openapi.json lists what there is.",
    } as const;
    sendProblem(context, new RequestError(fault), request, reply);
  });
  app.addHook("onRequest", async (request, reply) => {
    reply.header("x-request-id", request.id);
    const start = performance.now();
    reply.raw.once("close", () => {
      const { url = "unmatched" } = request.routeOptions;
      const status = reply.raw.writableEnded ? reply.statusCode : 499;
      metrics.requests.observe({ method: request.method, route: url, status }, (performance.now() - start) / 1000);
    });
  });
  let closing = false;
  app.addHook("preClose", async () => {
    closing = true;
  });
  app.addHook("onSend", async (_request, reply) => {
    if (closing) reply.header("connection", "close");
  });
  await app.register(helmet, { strictTransportSecurity: false, contentSecurityPolicy: PAGE_POLICY });
  if (settings.corsOrigins.length > 0) await app.register(cors, { origin: settings.corsOrigins });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "prismrec", version, description: "Recommendations, each with the interest behind it" },
      ...(apiKey === undefined
        ? {}
        : {
            components: { securitySchemes: { key: { type: "http", scheme: "bearer" } } },
            security: [{ key: [] }],
          }),
    },
    transform: jsonSchemaTransform,
  });
  await app.register(async (scope) => {
    if (settings.ratePerMinute > 0) {
      await scope.register(rateLimit, { max: settings.ratePerMinute, timeWindow: 60_000 });
    }
    if (settings.eventLoopDelayMax > 0) {
      await scope.register(underPressure, { maxEventLoopDelay: settings.eventLoopDelayMax, retryAfter: 1 });
    }
    if (apiKey !== undefined) {
      const check = keyCheck(apiKey);
      // After the rate limit, so that keys cannot be tried without end, and before the body is read.
      scope.addHook("preParsing", async (request) => check(request));
    }
    addVerbs(scope.withTypeProvider<ZodTypeProvider>(), context);
    scope.get("/metrics", { schema: { hide: true } }, async (_request, reply) => {
      reply.type(metrics.registry.contentType);
      return metrics.registry.metrics();
    });
    scope.get("/openapi.json", { schema: { hide: true } }, async () => app.swagger());
  });
  addHealth(app, context);
  await addPage(app);
  await app.ready();
  return app;
}

function sendProblem(context: Context, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const problem = problemOf(error, request.id);
  if (problem.status >= 500 && problem.status !== 503 && problem.status !== 504) context.onError(error, request.id);
  if (problem.status === 503 && !reply.hasHeader("retry-after")) reply.header("retry-after", "1");
  if (problem.status === 401) reply.header("www-authenticate", "Bearer");
  reply.code(problem.status).type(PROBLEM_TYPE).send(problem);
}
