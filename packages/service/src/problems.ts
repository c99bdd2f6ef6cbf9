import { type ErrorCode, jsonPointer, PrismrecError, partOf } from "@prismrec/core/base";
import type { FastifyError } from "fastify";
import { z } from "zod";

/** What can go wrong with a request before any part of the project is asked. */
export type RequestErrorCode =
  | "UNAUTHORIZED"
  | "NOT_FOUND"
  | "BODY_INVALID"
  | "BODY_TOO_LARGE"
  | "TOO_MANY_REQUESTS"
  | "BUSY"
  | "NOT_READY"
  | "TIMED_OUT"
  | "CLIENT_GONE";

/** A problem document (RFC 9457), with what every error of the project tells. */
export const problemSchema = z.strictObject({
  type: z.string().describe("urn:prismrec:error: and the code"),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.string().describe("the project's error code"),
  expected: z.string().exactOptional(),
  received: z.string().exactOptional(),
  hint: z.string().exactOptional(),
  requestId: z.string(),
  errors: z
    .array(
      z.strictObject({
        pointer: z.string().describe("JSON pointer into what was sent, as a fragment: #/history/3"),
        detail: z.string(),
        received: z.string(),
      }),
    )
    .exactOptional()
    .describe("each part of the request that cannot be"),
});
export type Problem = z.output<typeof problemSchema>;

export const PROBLEM_TYPE = "application/problem+json; charset=utf-8";

interface Fault {
  readonly code: ErrorCode | RequestErrorCode;
  readonly status: number;
  readonly detail: string;
  readonly expected?: string | undefined;
  readonly received?: string | undefined;
  readonly hint?: string | undefined;
  readonly errors?: Problem["errors"];
}

/** A request that was refused by the service itself. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  constructor(readonly fault: Fault) {
    super(fault.detail);
  }
}

const TITLES: Readonly<Record<number, string>> = {
  400: "The request cannot be understood",
  401: "An API key is needed",
  404: "There is no such thing",
  413: "The request is too large",
  415: "The request is not JSON",
  422: "The model cannot do this",
  429: "Too many requests",
  500: "The service failed",
  503: "The service cannot answer now",
  504: "The request took too long",
  507: "The disk is full",
};

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  INVALID_ARGUMENT: 400,
  UNKNOWN_USER: 404,
  UNKNOWN_ITEM: 404,
  MODEL_UNSUPPORTED: 422,
  OUT_OF_MEMORY: 503,
  DISPOSED: 503,
  DISK_FULL: 507,
};

/** Longest text of a request that is repeated in a problem. */
const SHOWN = 200;

/**
 * The problem that an error is to whoever asked. What nobody foresaw says nothing of the service's insides.
 */
export function problemOf(error: unknown, requestId: string): Problem {
  const { code, status, detail, expected, received, hint, errors } = faultOf(error);
  return {
    type: `urn:prismrec:error:${code}`,
    title: TITLES[status] ?? "The request failed",
    status,
    detail,
    code,
    ...(expected === undefined ? {} : { expected }),
    ...(received === undefined ? {} : { received: received.slice(0, SHOWN) }),
    ...(hint === undefined ? {} : { hint }),
    requestId,
    ...(errors === undefined ? {} : { errors }),
  };
}

function faultOf(error: unknown): Fault {
  if (error instanceof RequestError) return error.fault;
  if (error instanceof PrismrecError) {
    const { code, message, expected, received, hint } = error;
    const status = STATUS[code] ?? 500;
    // What fails inside may name files of the machine.
    if (status === 500) return { code, status, detail: "the service failed; its log says why" };
    return { code, status, detail: message, expected, received, hint };
  }
  return httpFault(error as Partial<FastifyError>);
}

/**
 * A value that its schema refuses.
 *
 * @param inside path of the value in what was sent
 */
export function validationError({ issues }: z.ZodError, sent: unknown, inside: readonly string[] = []): RequestError {
  const errors = issues.flatMap((issue) => {
    const unknown = issue.code === "unrecognized_keys" ? issue.keys : [];
    const path = issue.path.map(String);
    const places = unknown.length === 0 ? [path] : unknown.map((key) => [...path, key]);
    return places.map((place) => ({
      pointer: jsonPointer([...inside, ...place]),
      detail: unknown.length === 0 ? issue.message : "no part of this request is called so",
      received: shown(partOf(sent, place)),
    }));
  });
  const [first] = errors;
  return new RequestError({
    code: "INVALID_ARGUMENT",
    status: 400,
    detail:
      errors.length === 1 ? `${first?.pointer}: ${first?.detail}` : `${errors.length} parts of the request cannot be`,
    ...(first === undefined ? {} : { expected: first.detail, received: first.received }),
    hint: "GET /openapi.json says what each verb takes.",
    errors,
  });
}

function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

/** Faults that Fastify and its plugins find themselves. */
function httpFault({ statusCode, code, message = "the service failed" }: Partial<FastifyError>): Fault {
  switch (statusCode) {
    case 413:
      return {
        code: "BODY_TOO_LARGE",
        status: 413,
        detail: "the body is longer than the service takes",
        hint: "Send less at once, or start the service with a larger --body-max.",
      };
    case 415:
      return {
        code: "BODY_INVALID",
        status: 415,
        detail: "the body is not said to be JSON",
        expected: "content-type: application/json",
        hint: "Send the header with the body.",
      };
    case 429:
      return {
        code: "TOO_MANY_REQUESTS",
        status: 429,
        detail: "this client asks more often than the service allows",
        hint: "Wait as long as the header retry-after says.",
      };
    case 503:
      return busy("the service is under pressure");
    default:
  }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return {
      code: "BODY_INVALID",
      status: statusCode,
      detail: code === "FST_ERR_CTP_EMPTY_JSON_BODY" ? "the body is empty" : message,
      expected: "a JSON document",
    };
  }
  return { code: "INTERNAL", status: 500, detail: "the service failed; its log says why" };
}

export const busy = (detail: string): Fault => ({
  code: "BUSY",
  status: 503,
  detail,
  hint: "Ask again as the header retry-after says.",
});
