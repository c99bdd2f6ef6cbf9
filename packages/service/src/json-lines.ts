import { createReadStream } from "node:fs";
import { PrismrecError } from "@prismrec/core/errors";

/**
 * Gives each whole line of a file as JSON.
 *
 * @param hint what to do about a line that cannot be read
 * @returns bytes of the whole lines together: what stands behind them is a line without an end
 * @throws PrismrecError DATA_FORMAT for a line that is no JSON, and what `onLine` throws; errors of the file as they are
 */
export async function readJsonLines(
  path: string,
  hint: string,
  onLine: (value: unknown, line: number) => void,
): Promise<number> {
  let rest = Buffer.alloc(0);
  let [whole, line] = [0, 0];
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    const bytes = Buffer.concat([rest, chunk]);
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      line++;
      onLine(parsed(bytes.toString("utf8", from, end), path, line, hint), line);
      whole += end + 1 - from;
      from = end + 1;
    }
    rest = bytes.subarray(from);
  }
  return whole;
}

function parsed(text: string, path: string, line: number, hint: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw damagedLine(path, line, error instanceof Error ? error.message : String(error), hint);
  }
}

/** A line that the service did not write. */
export function damagedLine(path: string, line: number, received: string, hint: string): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `line ${line} of ${path} cannot be read`, {
    expected: "a line as the service writes it",
    received,
    hint,
  });
}
