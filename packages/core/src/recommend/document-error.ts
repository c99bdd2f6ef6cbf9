import type { z } from "zod";
import { type ErrorInfo, PrismrecError } from "../base/errors.js";
import { jsonPointer, partOf } from "../base/json-pointer.js";

/** CONFIG_INVALID for the first part of a document that its schema refuses, with a JSON pointer to it. */
export function documentError(error: z.ZodError, raw: unknown, source: string, hint: string): PrismrecError {
  const [issue] = error.issues;
  const unknown = issue?.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [];
  const detail = unknown.length > 0 ? "there is no part of this name" : (issue?.message ?? "not as it must be");
  return faultAt(raw, source, [...(issue?.path ?? []), ...unknown], detail, { hint });
}

/** CONFIG_INVALID for one part of a document. */
export function faultAt(
  raw: unknown,
  source: string,
  path: readonly PropertyKey[],
  detail: string,
  info: ErrorInfo = {},
): PrismrecError {
  return new PrismrecError("CONFIG_INVALID", `${source}, ${jsonPointer(path)}: ${detail}`, {
    received: (JSON.stringify(partOf(raw, path)) ?? "nothing").slice(0, 200),
    ...info,
  });
}
