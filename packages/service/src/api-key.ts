import { createHash, timingSafeEqual } from "node:crypto";
import type { FastifyRequest } from "fastify";
import { RequestError } from "./problems.js";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/**
 * Says whether a request carries the key (`authorization: Bearer KEY` or `x-api-key: KEY`). Hashes are compared, in a time
 * that tells nothing of either; the key is kept as a hash only.
 */
export function keyCheck(key: string): (request: FastifyRequest) => void {
  const wanted = digest(key);
  return ({ headers }) => {
    const own = headers["x-api-key"];
    const given = typeof own === "string" ? own : /^Bearer (.+)$/i.exec(headers.authorization ?? "")?.[1];
    if (given !== undefined && timingSafeEqual(digest(given), wanted)) return;
    throw new RequestError({
      code: "UNAUTHORIZED",
      status: 401,
      detail: given === undefined ? "the request carries no API key" : "the API key is not this service's",
      expected: "authorization: Bearer KEY, or x-api-key: KEY",
      hint: "The key is the one that the service was started with.",
    });
  };
}
