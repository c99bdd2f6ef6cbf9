import { hashJson } from "@prismrec/core/base";
import { z } from "zod";
import { RequestError } from "./problems.js";
import type { RecommendBody } from "./schemas.js";

const cursorSchema = z.strictObject({ of: z.string(), ids: z.array(z.string()) });

/**
 * Where a list goes on: the items of its pages so far, which the next one excludes. No item comes twice, whatever happens
 * to the model or the user's history between two pages, and nothing is kept for it here.
 */
export function cursorOf(body: RecommendBody, ids: readonly string[]): string {
  return Buffer.from(JSON.stringify({ of: requestHash(body), ids })).toString("base64url");
}

/** Ids of the pages before. @throws RequestError INVALID_ARGUMENT for a cursor of another request, or none at all */
export function readCursor(body: RecommendBody): readonly string[] {
  if (body.cursor === undefined) return [];
  const read = cursorSchema.safeParse(parsed(Buffer.from(body.cursor, "base64url").toString()));
  if (read.success && read.data.of === requestHash(body)) return read.data.ids;
  throw new RequestError({
    code: "INVALID_ARGUMENT",
    status: 400,
    detail: "the cursor is of another request",
    expected: "the cursor of the page before, with the request that gave it (k may differ)",
    hint: "Ask without a cursor to begin anew.",
    errors: [{ pointer: "#/cursor", detail: "of another request", received: body.cursor.slice(0, 40) }],
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function requestHash({ k: _k, cursor: _cursor, explain: _explain, ...rest }: RecommendBody): string {
  return hashJson(rest).slice(0, 16);
}
