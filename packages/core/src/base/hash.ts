import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { pipeline } from "node:stream/promises";
import { PrismrecError } from "./errors.js";
import { fromFileError } from "./file-errors.js";

const HASHED_AT_ONCE = 2 ** 30;

/** Hexadecimal SHA-256 of a file's bytes, streamed. Throws FILE_NOT_FOUND or IO; an abort rejects with its reason. */
export async function sha256File(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash("sha256");
  try {
    await pipeline(createReadStream(path), hash, { signal });
  } catch (error) {
    signal?.throwIfAborted();
    throw fromFileError(error, path, "read");
  }
  return hash.digest("hex");
}

/** Hexadecimal SHA-256 of bytes or of a text's UTF-8 bytes. */
export function sha256(bytes: Uint8Array | string): string {
  const hash = createHash("sha256");
  if (typeof bytes === "string") return hash.update(bytes).digest("hex");
  // A single update takes less than 2 GiB.
  for (let from = 0; from < bytes.length; from += HASHED_AT_ONCE)
    hash.update(bytes.subarray(from, from + HASHED_AT_ONCE));
  return hash.digest("hex");
}

/** SHA-256 of a value's canonical JSON: keys sorted, `undefined` members left out, so that key order cannot matter. */
export function hashJson(value: unknown): string {
  return sha256(canonicalJson(value));
}

/** JSON with sorted keys. Throws INVALID_ARGUMENT for what JSON cannot hold without loss (NaN, functions, cycles). */
export function canonicalJson(value: unknown): string {
  return write(value, []);
}

function write(value: unknown, above: readonly object[]): string {
  if (value === null || typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (typeof value === "number" && Number.isFinite(value)) return JSON.stringify(value);
  if (typeof value !== "object" || above.includes(value)) {
    throw new PrismrecError("INVALID_ARGUMENT", "a value that is to be hashed must be plain JSON", {
      expected: "null, booleans, finite numbers, strings, arrays and plain objects without cycles",
      received: typeof value === "object" ? "a cycle" : String(value),
    });
  }
  const inside = [...above, value];
  if (Array.isArray(value)) return `[${value.map((entry) => write(entry, inside)).join(",")}]`;
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${write(member, inside)}`);
  return `{${members.join(",")}}`;
}
