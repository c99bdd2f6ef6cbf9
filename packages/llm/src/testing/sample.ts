import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Catalog } from "@prismrec/core/data";
import type { PartitionRequest } from "@prismrec/core/interests";
import { titledCatalog } from "../../../core/src/testing/catalog.js";

const WRITER = fileURLToPath(new URL("../../../../tools/sample-data.mjs", import.meta.url));

/** The embedded sample as the library sees it. For tests only. */
export interface Sample {
  readonly catalog: Catalog;
  readonly requests: readonly PartitionRequest[];
  /** [N + 1] the planted interest of each dense id, -1 for padding. */
  readonly truth: readonly number[];
}

export async function writeSample(users: number, items: number): Promise<Sample> {
  const dir = await mkdtemp(join(tmpdir(), "prismrec-sample-"));
  try {
    await promisify(execFile)(process.execPath, [WRITER, "--out", dir, "--users", `${users}`, "--items", `${items}`]);
    const rows = async (name: string): Promise<string[][]> =>
      (await readFile(join(dir, name), "utf8"))
        .trimEnd()
        .split("\n")
        .slice(1)
        .map((line) => Array.from(line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g), ([, cell]) => cell!));
    const itemRows = await rows("items.csv");
    const unquoted = itemRows.map(([, title]) => title!.replace(/^"|"$/g, "").replaceAll('""', '"'));
    const ids = new Map(itemRows.map(([id], i) => [id, i + 1]));
    const truthRows = await rows("truth.csv");
    const names = [...new Set(truthRows.map(([, interest]) => interest))];
    const histories = new Map<string, number[]>();
    for (const [user, item] of await rows("interactions.csv")) {
      histories.set(user!, [...(histories.get(user!) ?? []), ids.get(item!)!]);
    }
    return {
      catalog: titledCatalog(
        unquoted,
        itemRows.map((row) => [row[2]!]),
      ),
      requests: Array.from(histories, ([key, items]) => ({ key, items: Uint32Array.from(items), maxClusters: 8 })),
      truth: [-1, ...truthRows.map(([, interest]) => names.indexOf(interest))],
    };
  } finally {
    await rm(dir, { recursive: true });
  }
}
