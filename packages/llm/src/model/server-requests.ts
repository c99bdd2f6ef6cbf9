import { setTimeout as delay } from "node:timers/promises";
import { PrismrecError } from "@prismrec/core/base";
import PQueue from "p-queue";
import pRetry from "p-retry";

/** How much is asked of a server at once, and how long it is waited for. */
export interface ServerLimits {
  /** Requests under way at once (default 8). */
  readonly concurrency?: number;
  /** Requests begun in any minute (default: no limit; a server that says 429 is obeyed anyway). */
  readonly requestsPerMinute?: number;
  /** Seconds that one attempt may take (default 120). */
  readonly timeoutSeconds?: number;
  /** Further attempts after one that failed in a way that may pass (default 5). */
  readonly retries?: number;
  /** Seconds before the first further attempt; they double from one to the next (default .5). */
  readonly backoffSeconds?: number;
}

/** An answer that says no; `why` is what the server wrote, without the key. */
export class RefusedError extends Error {
  constructor(
    readonly status: number,
    readonly why: string,
  ) {
    super(`HTTP ${status}${why === "" ? "" : `: ${why}`}`);
  }
}

/** An attempt that may go well another time. */
class PassingError extends Error {
  constructor(readonly fault: PrismrecError) {
    super(fault.message);
  }
}

/** Statuses of servers that are busy, starting or failing for the moment. */
const PASSING = new Set([408, 409, 425, 429, 500, 502, 503, 504, 529]);
/** A server that asks for a longer pause is not waited for. */
const LONGEST_PAUSE_SECONDS = 600;
const SAID_LENGTH = 300;

/**
 * Requests to one server: so many at once and in a minute, each tried again with growing pauses where it failed in a way that
 * may pass. A server that says how long to wait (Retry-After) is asked nothing by anybody until then.
 */
export class ServerRequests {
  readonly #base: string;
  readonly #key: string | undefined;
  readonly #queue: PQueue;
  readonly #limits: Required<Omit<ServerLimits, "requestsPerMinute">>;
  readonly #closed = new AbortController();
  #pausedUntil = 0;

  /** @param key goes into the header of every request, and nowhere else */
  constructor(base: string, key: string | undefined, limits: ServerLimits) {
    const { concurrency = 8, requestsPerMinute, timeoutSeconds = 120, retries = 5, backoffSeconds = 0.5 } = limits;
    this.#base = base;
    this.#key = key;
    this.#limits = { concurrency, timeoutSeconds, retries, backoffSeconds };
    this.#queue = new PQueue({
      concurrency,
      ...(requestsPerMinute === undefined ? {} : { interval: 60_000, intervalCap: requestsPerMinute }),
    });
  }

  get concurrency(): number {
    return this.#limits.concurrency;
  }

  /**
   * One answer as JSON, checked by `read`, which throws for what it cannot use. Rejects with the signal's reason, RefusedError
   * for a refusal that asking again does not change, LLM_UNAUTHORIZED, LLM_TIMEOUT, LLM_SERVER_FAILED or LLM_OUTPUT_INVALID.
   */
  async ask<T>(path: string, body: unknown, read: (answer: unknown) => T, signal?: AbortSignal): Promise<T> {
    const { retries, backoffSeconds } = this.#limits;
    const either = signal === undefined ? this.#closed.signal : AbortSignal.any([signal, this.#closed.signal]);
    try {
      return await this.#queue.add(
        () =>
          pRetry(() => this.#attempt(path, body, read, either), {
            retries,
            minTimeout: 1000 * backoffSeconds,
            maxTimeout: 30_000,
            randomize: true,
            signal: either,
            shouldRetry: ({ error }) => error instanceof PassingError,
          }),
        { signal: either, throwOnTimeout: true },
      );
    } catch (error) {
      either.throwIfAborted();
      throw error instanceof PassingError ? error.fault : error;
    }
  }

  close(reason: unknown): void {
    this.#closed.abort(reason);
    this.#queue.clear();
  }

  async #attempt<T>(path: string, body: unknown, read: (answer: unknown) => T, signal: AbortSignal): Promise<T> {
    for (let pause = this.#pausedUntil - Date.now(); pause > 0; pause = this.#pausedUntil - Date.now()) {
      await delay(pause, undefined, { signal });
    }
    const { timeoutSeconds } = this.#limits;
    const timeout = AbortSignal.timeout(1000 * timeoutSeconds);
    let text: string;
    let response: Response;
    try {
      response = await fetch(`${this.#base}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: {
          accept: "application/json",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(this.#key === undefined ? {} : { authorization: `Bearer ${this.#key}` }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        // A key is for the server that was named, not for one that it points to.
        redirect: "error",
        signal: AbortSignal.any([signal, timeout]),
      });
      text = await response.text();
    } catch (error) {
      signal.throwIfAborted();
      throw new PassingError(timeout.aborted ? this.#timedOut() : this.#unreachable(error));
    }
    const { status } = response;
    if (response.ok) return this.#read(text, read);
    if (status === 401 || status === 403) throw this.#unauthorized(status, text);
    if (!PASSING.has(status)) throw new RefusedError(status, this.#said(text));
    this.#pause(response.headers.get("retry-after"), status, text);
    throw new PassingError(this.#failed(`HTTP ${status}: ${this.#said(text)}`));
  }

  #read<T>(text: string, read: (answer: unknown) => T): T {
    try {
      return read(JSON.parse(text));
    } catch (error) {
      if (error instanceof PrismrecError) throw error;
      throw new PassingError(
        new PrismrecError("LLM_OUTPUT_INVALID", `${this.#base} gave an answer that cannot be read`, {
          expected: "the JSON of OpenAI's interface",
          received: this.#said(text),
          hint: "See whether the address is that of a language model's server; it often ends in /v1.",
          cause: error,
        }),
      );
    }
  }

  /** Nobody asks before the server's pause is over. Throws where it is too long. */
  #pause(retryAfter: string | null, status: number, text: string): void {
    const seconds = pauseSeconds(retryAfter);
    if (seconds === undefined) return;
    if (seconds > LONGEST_PAUSE_SECONDS) {
      throw this.#failed(`HTTP ${status}, to be asked again in ${Math.ceil(seconds)} s: ${this.#said(text)}`);
    }
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + 1000 * seconds);
  }

  /** What a server wrote, short and on one line, without the key that it may repeat. */
  #said(text: string): string {
    const message = errorMessage(text) ?? text;
    const safe = this.#key === undefined ? message : message.replaceAll(this.#key, "***");
    return safe
      .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
      .trim()
      .slice(0, SAID_LENGTH);
  }

  #unauthorized(status: number, text: string): PrismrecError {
    return new PrismrecError("LLM_UNAUTHORIZED", `${this.#base} does not let us in`, {
      expected: "a key that the server knows, in PRISMREC_LLM_KEY",
      received: `HTTP ${status} ${this.#key === undefined ? "without a key" : "with the key that is set"}: ${this.#said(text)}`,
      hint: "Set PRISMREC_LLM_KEY to the server's key and run the same command again.",
    });
  }

  #timedOut(): PrismrecError {
    return new PrismrecError("LLM_TIMEOUT", `${this.#base} did not answer in time`, {
      expected: `an answer in ${this.#limits.timeoutSeconds} s`,
      received: `none, ${1 + this.#limits.retries} times`,
      hint: "What was answered before is kept. Raise the time or lower the number of requests at once.",
    });
  }

  #unreachable(error: unknown): PrismrecError {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return this.#failed(cause instanceof Error ? cause.message || cause.name : String(cause));
  }

  #failed(received: string): PrismrecError {
    return new PrismrecError("LLM_SERVER_FAILED", `${this.#base} does not answer`, {
      expected: `an answer, after at most ${1 + this.#limits.retries} attempts`,
      received,
      hint: "What was answered before is kept: run the same command again when the server is well.",
    });
  }
}

/** Seconds that a Retry-After header asks for, as seconds or as a date; undefined where it says nothing. */
export function pauseSeconds(header: string | null, now: number = Date.now()): number | undefined {
  if (header === null) return undefined;
  const seconds = /^\s*\d+(?:\.\d+)?\s*$/.test(header) ? Number(header) : (Date.parse(header) - now) / 1000;
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}

/** The message of an error's document, where there is one. */
function errorMessage(text: string): string | undefined {
  try {
    const { error, message, detail } = JSON.parse(text) as Record<string, unknown>;
    const inner = typeof error === "object" && error !== null && "message" in error ? error.message : error;
    return [inner, message, detail].find((value) => typeof value === "string");
  } catch {
    return undefined;
  }
}
