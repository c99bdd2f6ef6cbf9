import { PrismrecError, partOf } from "@prismrec/core/base";
import { z } from "zod";

const count = (least: number) => z.int().min(least);

/** Settings of the service; the defaults suit one process behind one program on the same machine. */
export const serviceSettingsSchema = z.strictObject({
  kMax: count(1).default(100).describe("longest list that may be asked for"),
  pagedMax: count(1).default(1000).describe("items that the pages of one list may hold together"),
  historyMax: count(1).default(1000).describe("most events of a history in a request"),
  batchMax: count(1).default(64).describe("most entries of a batch"),
  eventsMax: count(1).default(1000).describe("most events of one request"),
  bodyMax: count(1)
    .default(1024 * 1024)
    .describe("most bytes of a request's body"),
  timeoutMs: count(1).default(10_000).describe("longest that a request may take, in milliseconds"),
  concurrency: count(1).default(8).describe("requests that are worked on at once; further ones wait"),
  queueMax: count(0).default(256).describe("requests that may wait; further ones are refused (503)"),
  eventLoopDelayMax: count(0)
    .default(1000)
    .describe("delay of the event loop, in milliseconds, from which requests are refused; 0: never"),
  ratePerMinute: count(0).default(6000).describe("requests a minute of one client (its address); 0: any number"),
  corsOrigins: z.array(z.url()).default([]).describe("origins whose pages may call the service"),
});

export type ServiceSettings = z.output<typeof serviceSettingsSchema>;
export type RawServiceSettings = z.input<typeof serviceSettingsSchema>;

/** @throws PrismrecError CONFIG_INVALID, naming the setting */
export function parseServiceSettings(raw: RawServiceSettings): ServiceSettings {
  const parsed = serviceSettingsSchema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new PrismrecError(
    "CONFIG_INVALID",
    `a setting of the service cannot be: ${issue?.path.join(".") || "settings"}`,
    {
      expected: issue?.message ?? "settings of the service",
      received: JSON.stringify(partOf(raw, issue?.path ?? [])) ?? "nothing",
    },
  );
}
