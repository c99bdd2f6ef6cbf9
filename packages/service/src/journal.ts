import { type FileHandle, mkdir, open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { fromFileError, PrismrecError, syncFolder } from "@prismrec/core/base";
import { damagedLine, readJsonLines } from "./json-lines.js";

const MEND = "Mend or remove the line: the service starts with all of its events or not at all.";

interface Waiting {
  readonly text: string;
  resolve(): void;
  reject(error: unknown): void;
}

/**
 * A file of JSON lines that grows at its end. What `append` has resolved for is on the disk; lines that come while the disk
 * is busy go there together. One process writes it at a time.
 */
export class Journal {
  readonly #waiting: Waiting[] = [];
  #running: Promise<void> | undefined;
  #broken: PrismrecError | undefined;

  private constructor(
    readonly path: string,
    private readonly file: FileHandle,
    /** Undefined for a pipe, which cannot be cut. */
    private size: number | undefined,
    private readonly durable: boolean,
    /** Bytes of a line that was begun and never finished, cut off when the file was opened. */
    readonly torn: number,
  ) {}

  /**
   * @param onLine given every line that is there, for a file that is to be kept: a line counts then once it would outlive
   *   the machine. Without it what is there is not read, and the file may be a pipe
   * @throws PrismrecError DATA_FORMAT for a line that is no JSON, INVALID_ARGUMENT for what is no file, IO, DISK_FULL
   */
  static async open(path: string, onLine?: (value: unknown, line: number) => void): Promise<Journal> {
    let file: FileHandle | undefined;
    try {
      await mkdir(dirname(path), { recursive: true });
      file = await open(path, "a");
      const stats = await file.stat();
      const isFile = stats.isFile();
      if (onLine === undefined) return new Journal(path, file, isFile ? stats.size : undefined, false, 0);
      if (!isFile) {
        throw new PrismrecError("INVALID_ARGUMENT", `${path} is no file`, {
          expected: "a file that can be read back",
          received: path,
        });
      }
      const whole = await readJsonLines(path, MEND, onLine);
      if (whole < stats.size) await file.truncate(whole);
      await file.sync();
      await syncFolder(dirname(path));
      return new Journal(path, file, whole, true, stats.size - whole);
    } catch (error) {
      await file?.close();
      throw fromFileError(error, path, "write");
    }
  }

  /** @throws PrismrecError IO, DISK_FULL: nothing of it is kept then */
  append(values: readonly unknown[]): Promise<void> {
    if (values.length === 0) return Promise.resolve();
    const text = values.map((value) => `${JSON.stringify(value)}\n`).join("");
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text, resolve, reject });
      this.#running ??= this.#write().finally(() => {
        this.#running = undefined;
      });
    });
  }

  /** Whether a path leads to this very file. */
  async isAt(path: string): Promise<boolean> {
    const [own, there] = await Promise.all([this.file.stat(), stat(path).catch(() => undefined)]);
    return there !== undefined && own.ino === there.ino && own.dev === there.dev;
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.#running;
    await this.file.close();
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0);
      try {
        if (this.#broken !== undefined) throw this.#broken;
        await this.#put(Buffer.from(together.map(({ text }) => text).join("")));
        for (const { resolve } of together) resolve();
      } catch (error) {
        for (const { reject } of together) reject(error);
      }
    }
  }

  async #put(bytes: Buffer): Promise<void> {
    try {
      await this.file.appendFile(bytes);
    } catch (error) {
      // What was written of it before it failed is cut off again.
      if (this.size !== undefined) {
        await this.file.truncate(this.size).catch((fault: unknown) => {
          this.#broken = fromFileError(fault, this.path, "write");
        });
      }
      throw fromFileError(error, this.path, "write");
    }
    if (this.size !== undefined) this.size += bytes.length;
    if (!this.durable) return;
    try {
      await this.file.datasync();
    } catch (error) {
      // What the system has after a failed sync is not known, and a second one would not tell.
      this.#broken = new PrismrecError("IO", `${this.path} could not be brought to the disk`, {
        received: error instanceof Error ? error.message : String(error),
        hint: "Restart the service once the disk is well: what was acknowledged before is there.",
        cause: error,
      });
      throw this.#broken;
    }
  }
}

/** A line of a journal that the service did not write. */
export const damaged = (path: string, line: number, received: string): PrismrecError =>
  damagedLine(path, line, received, MEND);
