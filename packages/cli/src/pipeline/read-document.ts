import { PrismrecError, readJson } from "@prismrec/core/base";
import { z } from "zod";

/**
 * Reads a JSON document that a run has written.
 *
 * @param hint how to come by a whole one where it is damaged
 * @throws PrismrecError FILE_NOT_FOUND; RUN_INVALID where it is not what its schema says
 */
export async function readDocument<T>(path: string, schema: z.ZodType<T>, hint: string): Promise<T> {
  const parsed = schema.safeParse(await readJson(path, "RUN_INVALID"));
  if (parsed.success) return parsed.data;
  throw damaged(path, parsed.error, hint);
}

/** RUN_INVALID for a file of a run whose content is not what its schema says. */
export function damaged(path: string, error: z.ZodError, hint: string): PrismrecError {
  return new PrismrecError("RUN_INVALID", `${path} is damaged`, { received: z.prettifyError(error), hint });
}
