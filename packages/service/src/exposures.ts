import { open, stat } from "node:fs/promises";
import { fromFileError, jsonPointer, PrismrecError, systemCode } from "@prismrec/core/base";
import { z } from "zod";
import { Journal } from "./journal.js";
import { damagedLine, readJsonLines } from "./json-lines.js";

/** A line of the exposure log: a list as it was given. */
export const exposureSchema = z.strictObject({
  time: z.iso.datetime(),
  requestId: z.string(),
  user: z.string().nullable().describe("null: the list was for a history"),
  variant: z.string().nullable(),
  model: z.string().describe("its hash"),
  fallback: z.string().nullable(),
  exact: z.boolean(),
  rules: z.array(z.string()).describe("JSON pointers of the rules that acted"),
  items: z.array(
    z.strictObject({
      id: z.string(),
      position: z.int().min(1).describe("in the list with all its pages"),
      interest: z.int().nullable(),
    }),
  ),
  interests: z.array(z.strictObject({ index: z.int(), label: z.string(), share: z.number() })),
});
export type Exposure = z.output<typeof exposureSchema>;

/**
 * Gives each list of an exposure log.
 *
 * @returns how many there are, and how many bytes of a line without an end stand behind them, left by a process that was killed
 * @throws PrismrecError DATA_FORMAT with the number of a line that the service did not write, FILE_NOT_FOUND, IO
 */
export async function readExposures(
  path: string,
  onExposure: (exposure: Exposure) => void,
): Promise<{ readonly lines: number; readonly torn: number }> {
  let lines = 0;
  try {
    const whole = await readJsonLines(path, MEND, (value, line) => {
      const parsed = exposureSchema.safeParse(value);
      if (!parsed.success) {
        const [issue] = parsed.error.issues;
        throw damagedLine(path, line, `${jsonPointer(issue?.path ?? [])}: ${issue?.message}`, MEND);
      }
      lines++;
      onExposure(parsed.data);
    });
    return { lines, torn: (await stat(path)).size - whole };
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
}

const MEND = "Mend or remove the line; every other line is judged with it or none is.";

/** Lines that may wait for the disk; a log that falls further behind loses lines, and says so. */
const WAITING_MAX = 10_000;
const TAIL = 64 * 1024;

/** What was shown, for later: written behind the answers' backs, in their order. */
export class ExposureLog {
  #waiting = 0;

  private constructor(
    readonly path: string,
    private journal: Journal,
    /** Bytes of a line that a process left unfinished when it was killed; they were cut off. */
    readonly torn: number,
  ) {}

  /** @throws PrismrecError IO, DISK_FULL */
  static async open(path: string): Promise<ExposureLog> {
    const torn = await cutTail(path);
    return new ExposureLog(path, await Journal.open(path), torn);
  }

  /** Writes a line as soon as the disk takes it; nobody waits. @param onFailure told where it cannot be written */
  record(exposure: Exposure, onFailure: (error: unknown) => void): void {
    if (this.#waiting === WAITING_MAX) {
      const expected = `at most ${WAITING_MAX} lines that wait for the disk`;
      onFailure(
        new PrismrecError("IO", `${this.path} takes no more lines for now`, { expected, received: "one more" }),
      );
      return;
    }
    this.#waiting++;
    this.journal
      .append([exposure])
      .catch(onFailure)
      .finally(() => {
        this.#waiting--;
      });
  }

  /** Goes on in a new file where the old one has been moved away, as log rotation does. */
  async reopen(): Promise<void> {
    if (await this.journal.isAt(this.path)) return;
    const before = this.journal;
    this.journal = await Journal.open(this.path);
    await before.close();
  }

  /** Waits until every line is written. */
  close(): Promise<void> {
    return this.journal.close();
  }
}

/** Cuts a line off that has no end, and says how many bytes it had: the next line would be joined to it. */
async function cutTail(path: string): Promise<number> {
  const stats = await stat(path).catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return undefined;
    throw fromFileError(error, path, "read");
  });
  if (stats === undefined || !stats.isFile() || stats.size === 0) return 0;
  try {
    await using file = await open(path, "r+");
    let end = stats.size;
    while (end > 0) {
      const from = Math.max(0, end - TAIL);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(end - from), 0, end - from, from);
      const at = buffer.subarray(0, bytesRead).lastIndexOf(10);
      end = at < 0 ? from : from + at + 1;
      if (at >= 0) break;
    }
    if (end < stats.size) await file.truncate(end);
    return stats.size - end;
  } catch (error) {
    throw fromFileError(error, path, "write");
  }
}
