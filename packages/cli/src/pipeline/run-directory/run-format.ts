import { readdir } from "node:fs/promises";
import { join } from "node:path";
import {
  fromFileError,
  isPrismrecError,
  PrismrecError,
  readJson,
  systemCode,
  writeJsonAtomic,
} from "@prismrec/core/base";
import { z } from "zod";

/** Says that a folder is a run, and of which format. */
export const MARKER = "run.json";
const FORMAT = "prismrec-run";
/** Raised when a run directory of before cannot be read any more. */
const VERSION = 1;

const markerSchema = z.object({ format: z.literal(FORMAT), version: z.int() });
const stageSchema = z.object({ stage: z.string(), key: z.string(), fingerprint: z.string() });

/**
 * Refuses a folder that holds a run of another format, one from before runs said theirs included. A folder without any
 * run is none of these.
 *
 * @throws PrismrecError RUN_FORMAT; RUN_INVALID where what says the format is damaged
 */
export async function checkRunFormat(dir: string): Promise<"run" | "none"> {
  const path = join(dir, MARKER);
  let content: unknown;
  try {
    content = await readJson(path, "RUN_INVALID");
  } catch (error) {
    if (!isPrismrecError(error, "FILE_NOT_FOUND")) throw error;
    if (!(await holdsStages(dir))) return "none";
    throw otherFormat(dir, `a run of an earlier version, which has no ${MARKER}`);
  }
  const parsed = markerSchema.safeParse(content);
  if (!parsed.success) {
    throw new PrismrecError("RUN_INVALID", `${path} does not say what format this run has`, {
      received: z.prettifyError(parsed.error),
      hint: "Make the run in another folder.",
    });
  }
  if (parsed.data.version !== VERSION) throw otherFormat(dir, `format ${parsed.data.version}`);
  return "run";
}

/** Says in a folder that what follows is a run of this format. */
export async function markRunFormat(dir: string): Promise<void> {
  await writeJsonAtomic(join(dir, MARKER), { format: FORMAT, version: VERSION } satisfies z.infer<typeof markerSchema>);
}

async function holdsStages(dir: string): Promise<boolean> {
  let names: string[];
  try {
    names = (await readdir(dir, { withFileTypes: true }))
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return false;
    throw fromFileError(error, dir, "read");
  }
  for (const name of names) if (await isStage(join(dir, name, "manifest.json"), name)) return true;
  return false;
}

/** Other programs have files of that name too. */
async function isStage(path: string, name: string): Promise<boolean> {
  try {
    return stageSchema.safeParse(await readJson(path, "RUN_INVALID")).data?.stage === name;
  } catch (error) {
    if (isPrismrecError(error, "FILE_NOT_FOUND") || isPrismrecError(error, "RUN_INVALID")) return false;
    throw error;
  }
}

function otherFormat(dir: string, received: string): PrismrecError {
  return new PrismrecError("RUN_FORMAT", `${dir} holds a run of another format`, {
    expected: `format ${VERSION}`,
    received,
    hint:
      "Make it again in a new folder: its prismrec.config.json says how (--config), and its cache/llm holds the language " +
      "model's answers (--llm-cache).",
  });
}
