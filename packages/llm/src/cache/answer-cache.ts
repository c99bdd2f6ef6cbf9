import { type FileHandle, mkdir, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromFileError, sha256, systemCode } from "@prismrec/core/base";

/** One line of the file: checksum of the rest, key, value as JSON. */
const LINE = /^([0-9a-f]{8}) ([0-9a-f]{32}) (.*)$/s;

const checksum = (key: string, json: string): string => sha256(`${key} ${json}`).slice(0, 8);

export interface CacheState {
  readonly entries: number;
  /** Lines that were cut or damaged and are treated as never written. */
  readonly damaged: number;
}

/**
 * Answers of a language model by content, in an append-only text file: a kill at any point costs at most the line
 * being written, which its checksum gives away. Several runs may share one folder; keys hold all that decides an answer.
 */
export class AnswerCache {
  readonly path: string;
  readonly #answers: Map<string, string>;
  /** undefined: what is put is known until the cache is closed, and written nowhere. */
  readonly #file: FileHandle | undefined;
  #damaged: number;
  #tail: Promise<void> = Promise.resolve();
  #failure: unknown;

  private constructor(path: string, file: FileHandle | undefined, answers: Map<string, string>, damaged: number) {
    this.path = path;
    this.#file = file;
    this.#answers = answers;
    this.#damaged = damaged;
  }

  /**
   * Opens `<dir>/<name>.answers`, making it where it is missing; with `readOnly` it is read where it is there and never
   * written. Throws IO or DISK_FULL.
   */
  static async open(dir: string, name: string, { readOnly = false } = {}): Promise<AnswerCache> {
    const path = join(dir, `${name}.answers`);
    try {
      if (!readOnly) await mkdir(dir, { recursive: true });
      const text = await readFile(path, "utf8").catch((error: unknown) => {
        if (systemCode(error) === "ENOENT") return "";
        throw error;
      });
      const answers = new Map<string, string>();
      let damaged = 0;
      for (const line of text.split("\n")) {
        if (line === "") continue;
        const [, sum, key, json] = LINE.exec(line) ?? [];
        if (key !== undefined && json !== undefined && checksum(key, json) === sum) answers.set(key, json);
        else damaged++;
      }
      const file = readOnly ? undefined : await open(path, "a");
      // A line cut in half must not swallow the next one.
      if (text !== "" && !text.endsWith("\n")) await file?.appendFile("\n");
      return new AnswerCache(path, file, answers, damaged);
    } catch (error) {
      throw fromFileError(error, path, readOnly ? "read" : "write");
    }
  }

  state(): CacheState {
    return { entries: this.#answers.size, damaged: this.#damaged };
  }

  /** The answer to a key made by `hashJson`, or undefined. */
  get(key: string): unknown {
    const json = this.#answers.get(key.slice(0, 32));
    return json === undefined ? undefined : JSON.parse(json);
  }

  has(key: string): boolean {
    return this.#answers.has(key.slice(0, 32));
  }

  /** Keeps an answer; the write goes on behind the caller's back and `flush` says whether it worked. */
  put(key: string, value: unknown): void {
    const short = key.slice(0, 32);
    const json = JSON.stringify(value);
    this.#answers.set(short, json);
    const file = this.#file;
    if (file === undefined) return;
    const line = `${checksum(short, json)} ${short} ${json}\n`;
    this.#tail = this.#tail
      .then(() => file.appendFile(line))
      .catch((error: unknown) => {
        this.#failure ??= error;
      });
  }

  /** Waits until all that was put is written. Throws DISK_FULL or IO. */
  async flush(): Promise<void> {
    await this.#tail;
    if (this.#failure !== undefined) throw fromFileError(this.#failure, this.path, "write");
  }

  async close(): Promise<void> {
    await this.#tail;
    await this.#file?.close();
    if (this.#failure !== undefined) throw fromFileError(this.#failure, this.path, "write");
  }
}
