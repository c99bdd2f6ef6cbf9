import { dirname, resolve } from "node:path";
import { readJson } from "@prismrec/core/base";
import { parseVariants, type Served, type ServedVariants, servedOf } from "@prismrec/service";
import { type OpenOptions, open } from "./api/open.js";
import type { Recommender } from "./api/recommender.js";

/** Absolute paths of what is to be served. */
export interface ServedPaths {
  /** Run directory. */
  readonly run: string;
  /** Business rules of its lists. */
  readonly rules?: string | undefined;
  /** Document of the variants that answer instead; paths in it are relative to it. */
  readonly variants?: string | undefined;
}

/**
 * Opens what `prismrec serve` answers from, its documents too. A run that several variants share is opened once.
 *
 * @throws PrismrecError CONFIG_INVALID with a JSON pointer into the document, FILE_NOT_FOUND, and what opening a run throws
 */
export async function openServed(
  { run, rules, variants }: ServedPaths,
  options: OpenOptions,
): Promise<Served | ServedVariants> {
  const runs = new Map<string, Recommender>();
  const close = async (): Promise<void> => {
    for (const recommender of runs.values()) await recommender.close();
  };
  const served = async (dir: string, rulesPath: string | undefined): Promise<Served> => {
    const recommender = runs.get(dir) ?? (await open(dir, options));
    runs.set(dir, recommender);
    const { model, hash, items, users } = recommender;
    const own =
      rulesPath === undefined ? undefined : recommender.rules(await readJson(rulesPath, "CONFIG_INVALID"), rulesPath);
    return servedOf(recommender, { model, hash, items, users, close }, own);
  };
  try {
    if (variants === undefined) return await served(run, rules);
    const document = parseVariants(await readJson(variants, "CONFIG_INVALID"), variants);
    const inside = (path: string): string => resolve(dirname(variants), path);
    const all: ServedVariants["variants"][number][] = [];
    for (const { name, share, ...own } of document.variants) {
      const dir = own.run === undefined ? run : inside(own.run);
      const rulesPath = own.rules === undefined ? undefined : inside(own.rules);
      all.push({ name, share, served: await served(dir, rulesPath) });
    }
    const { salt, byRequest } = document;
    return { salt, byRequest, variants: all as [(typeof all)[number], ...typeof all], close };
  } catch (error) {
    await close();
    throw error;
  }
}
