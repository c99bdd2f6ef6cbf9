import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { userItems } from "../data/catalog.js";
import type { ImportReport } from "../data/report.js";
import type { Dataset } from "../data/types.js";

/** Files of a test in a folder of their own. */
export class TestFiles {
  #count = 0;

  private constructor(readonly dir: string) {}

  static async create(): Promise<TestFiles> {
    return new TestFiles(await mkdtemp(join(tmpdir(), "prismrec-dataset-")));
  }

  /** Writes a file under a fresh name and returns its path. */
  async write(content: string | Uint8Array, extension = "csv"): Promise<string> {
    const path = join(this.dir, `${this.#count++}.${extension}`);
    await writeFile(path, content);
    return path;
  }

  async remove(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}

export type Row = readonly (string | number)[];

export const csvOf = (header: string, rows: readonly Row[]): string =>
  `${[header, ...rows.map((row) => row.join(","))].join("\n")}\n`;

/** External ids of each user's sequence, and what else tells two datasets apart. */
export function describeDataset({ catalog, log, split }: Dataset) {
  return {
    items: catalog.items.map(({ id }) => id),
    popularity: [...catalog.popularity],
    sequences: Object.fromEntries(
      log.userIds.map((id, user) => [id, Array.from(userItems(log, user), (item) => catalog.items[item]!.id)]),
    ),
    split,
  };
}

/** Rows of the interactions that the report has no place for: 0 is the law of every import. */
export function unaccounted({ rowsRead, kept, drops }: ImportReport): number {
  const dropped = drops.filter(({ file }) => file === "interactions").reduce((sum, { count }) => sum + count, 0);
  return rowsRead - kept.events - dropped;
}
