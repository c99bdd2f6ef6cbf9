import { copyFile } from "node:fs/promises";
import { fromFileError, PrismrecError } from "@prismrec/core/base";
import { writeReport } from "./report.js";
import type { Run } from "./run.js";
import { isUnwritable } from "./settings-file.js";
import { reportParts } from "./stages.js";

/**
 * Brings the report of an evaluated run up to date and copies it to `output` where that is given; gives the file to look
 * at. Where the run cannot be written to, the report is written to `output` alone.
 */
export async function deliverReport(run: Run, output: string | undefined): Promise<string> {
  let kept: string;
  try {
    await run.run({ from: "index", to: "report" });
    kept = (await run.open("report")).file;
  } catch (error) {
    if (!isUnwritable(error)) throw error;
    if (output !== undefined) {
      await writeReport(run, reportParts(run.settings), output);
      return output;
    }
    throw new PrismrecError(error.code, `the report cannot be written into the run: ${error.message}`, {
      expected: "a run that can be written to",
      received: error.received ?? run.path,
      hint: "Give --output FILE: the report is then written there alone.",
      cause: error,
    });
  }
  if (output === undefined) return kept;
  await copyFile(kept, output).catch((error: unknown) => {
    throw fromFileError(error, output, "write");
  });
  return output;
}
