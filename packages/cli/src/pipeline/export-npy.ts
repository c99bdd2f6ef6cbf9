import { open } from "node:fs/promises";
import { replaceFile, writeNpy } from "@prismrec/core/base";
import { vectorDocuments } from "./export.js";
import type { Run } from "./run.js";

/** Characters that are written at once. */
const CHUNK = 1 << 16;

/**
 * Writes a run's vectors as a matrix of float32, [items + interests, d + 2], and beside it, under the name with `.ids.jsonl`
 * for `.npy`, a JSON line for each of its rows: all of `VectorDocument` but the vector.
 */
export async function exportToNpy(run: Run, path: string): Promise<void> {
  await replaceFile(path.replace(/\.npy$/i, ".ids.jsonl"), async (temporary) => {
    const lines = await open(temporary, "wx");
    try {
      let text = "";
      await writeNpy(path, rows());
      await lines.writeFile(text);
      await lines.sync();

      async function* rows(): AsyncGenerator<readonly number[]> {
        for await (const { vector, ...rest } of vectorDocuments(run)) {
          text += `${JSON.stringify(rest)}\n`;
          if (text.length >= CHUNK) {
            await lines.writeFile(text);
            text = "";
          }
          yield vector;
        }
      }
    } finally {
      await lines.close();
    }
  });
}
