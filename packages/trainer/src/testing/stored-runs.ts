import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TrainOptions } from "../training/train.js";

/** The bytes of the model that a training stored in `dir`, by file name. For tests only. */
export async function modelBytes(dir: string): Promise<Record<string, Buffer>> {
  const names = (await readdir(join(dir, "model"))).sort();
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(dir, "model", name))] as const)),
  );
}

/** Options that abort a training as soon as `step` steps are done. */
export function stopAfter(step: number, dir: string): TrainOptions {
  const controller = new AbortController();
  return {
    dir,
    signal: controller.signal,
    onEvent: (event) => {
      if (event.type === "step" && event.step === step) controller.abort(new Error("enough"));
    },
  };
}
