import { createReadStream } from "node:fs";
import { mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fromFileError, hashJson, PrismrecError, sha256, systemCode, writeFileAtomic } from "@prismrec/core/base";
import type Database from "libsql";
import { z } from "zod";

/** Model and question of an answer, as `answerKey` writes them. */
const KEY = /^[0-9a-f]{16}\/[0-9a-f]{32}$/;
const MODEL_LENGTH = 16;
const SUM_LENGTH = 8;
/** How long a process waits for another that is writing. */
const PATIENCE_MS = 60_000;
/** A file of before: what it is about, and one line of it (checksum, key, value as JSON). */
const OLD_FILE = /^([0-9a-f]{16})(-.*)?\.answers$/;
const OLD_LINE = /^([0-9a-f]{8}) ([0-9a-f]{32}) (.*)$/s;
const EXPORT_FORMAT = "prismrec-answers";
const EXPORT_VERSION = 1;
/** Answers of one write, or of one look, where all are meant. */
const AT_ONCE = 1000;

const headerSchema = z.object({ format: z.literal(EXPORT_FORMAT), version: z.literal(EXPORT_VERSION) });
const lineSchema = z.tuple([z.string().regex(KEY), z.unknown()]);

const storedSchema = z.object({ sum: z.string(), value: z.string() });
const rowSchema = z.object({ key: z.string(), sum: z.string(), value: z.string() });
type AnswerRow = z.infer<typeof rowSchema>;
const countSchema = z.object({ count: z.number() });
const modelCountSchema = z.object({ model: z.string(), count: z.number() });

export interface CacheState {
  readonly entries: number;
  /** Answers that were cut or damaged and are treated as never written. */
  readonly damaged: number;
}

/** What a question to a model is kept under: the model first, so that its answers lie together. */
export function answerKey(modelHash: string, question: unknown): string {
  return `${modelHash.slice(0, MODEL_LENGTH)}/${hashJson(question).slice(0, 32)}`;
}

/**
 * Answers of language models by content, in one SQLite file: several processes read and write it at once, a kill at any point
 * costs at most what was not yet written, and only what is asked for is read into memory. Keys hold all that decides an
 * answer.
 */
export class AnswerCache {
  readonly path: string;
  readonly #readOnly: boolean;
  /** undefined: there is no file, and none is made. */
  readonly #database: Database.Database | undefined;
  readonly #select: Database.Statement<[string]> | undefined;
  /** What was put and is not written, or, where nothing is written, all that was put. */
  readonly #unwritten = new Map<string, string>();
  readonly #damaged = new Set<string>();
  #damagedBefore = 0;
  #scheduled: NodeJS.Immediate | undefined;

  private constructor(path: string, database: Database.Database | undefined, readOnly: boolean) {
    this.path = path;
    this.#readOnly = readOnly;
    this.#database = database;
    this.#select = database?.prepare("SELECT sum, value FROM answers WHERE key = ?");
  }

  /**
   * Opens `<dir>/<name>.sqlite`, making it where it is missing; with `readOnly` it is read where it is there and never written.
   * Files of before (`<model>.answers`; for a name that ends in `-SUFFIX`, `<model>-SUFFIX.answers`) are taken over and removed.
   *
   * @throws PrismrecError IO or DISK_FULL; DATA_FORMAT for a file that is no cache; NATIVE_NOT_FOUND where SQLite has no binary
   */
  static async open(dir: string, name: string, { readOnly = false } = {}): Promise<AnswerCache> {
    const path = join(dir, `${name}.sqlite`);
    try {
      if (readOnly) {
        const isThere = await stat(path).then(({ size }) => size > 0, noFile);
        return new AnswerCache(path, isThere === true ? await openFile(path, true) : undefined, true);
      }
      await mkdir(dir, { recursive: true });
      // SQLite does not say why a file cannot be written.
      await (await open(path, "a")).close();
      const cache = new AnswerCache(path, await openFile(path, false), false);
      await cache.#takeOver(dir, /-.*$/.exec(name)?.[0]);
      return cache;
    } catch (error) {
      throw cacheError(error, path, readOnly ? "read" : "write");
    }
  }

  state(): CacheState {
    const row = this.#database?.prepare("SELECT count(*) AS count FROM answers").get();
    const written = row === undefined ? 0 : countSchema.parse(row).count;
    const unwritten = [...this.#unwritten.keys()].filter((key) => this.#select?.get(key) === undefined).length;
    return { entries: written + unwritten, damaged: this.#damagedBefore + this.#damaged.size };
  }

  /** Answers of each model, by the first 16 digits of its hash. */
  models(): Map<string, number> {
    const rows = this.#database
      ?.prepare(`SELECT substr(key, 1, ${MODEL_LENGTH}) AS model, count(*) AS count FROM answers GROUP BY model`)
      .all();
    return new Map(
      z
        .array(modelCountSchema)
        .parse(rows ?? [])
        .map(({ model, count }) => [model, count]),
    );
  }

  /** The answer to a key made by `answerKey`, or undefined. */
  get(key: string): unknown {
    const text = this.#text(key);
    return text === undefined ? undefined : JSON.parse(text);
  }

  has(key: string): boolean {
    return this.#text(key) !== undefined;
  }

  /** Keeps an answer; it is written with others of the same turn, and `flush` says whether that worked. */
  put(key: string, value: unknown): void {
    this.#put(key, JSON.stringify(value));
  }

  /** Writes all that was put. Throws DISK_FULL or IO. */
  async flush(): Promise<void> {
    this.#writeAll();
  }

  async close(): Promise<void> {
    try {
      this.#writeAll();
    } finally {
      clearImmediate(this.#scheduled);
      this.#database?.close();
    }
  }

  /** Writes every answer into a text file that `import` reads, sorted by key; returns how many. Throws IO, DISK_FULL. */
  async export(file: string): Promise<number> {
    this.#writeAll();
    let answers = 0;
    const lines = function* (rows: Iterable<AnswerRow>): Generator<string> {
      yield `${JSON.stringify({ format: EXPORT_FORMAT, version: EXPORT_VERSION })}\n`;
      for (const { key, sum, value } of rows) {
        if (checksum(key, value) !== sum) continue;
        answers++;
        yield `[${JSON.stringify(key)},${value}]\n`;
      }
    };
    await writeFileAtomic(file, lines(this.#rows()));
    return answers;
  }

  /**
   * Takes over the answers of a file that `export` wrote; what is known already stays as it is.
   *
   * @throws PrismrecError DATA_FORMAT, naming the line, where the file is none; what stood before that line is kept
   */
  async import(file: string, signal?: AbortSignal): Promise<{ readonly added: number; readonly known: number }> {
    let line = 0;
    let added = 0;
    let known = 0;
    for await (const text of linesOf(file)) {
      line++;
      const value = parseJson(text);
      const header = line === 1 ? headerSchema.safeParse(value) : undefined;
      const answer = line === 1 ? undefined : lineSchema.safeParse(value);
      if (header?.success === false || answer?.success === false) throw noAnswers(file, line, text);
      if (answer === undefined) continue;
      const [key, said] = answer.data;
      if (this.has(key)) known++;
      else {
        this.put(key, said);
        added++;
      }
      if (line % AT_ONCE === 0) {
        signal?.throwIfAborted();
        this.#writeAll();
      }
    }
    if (line === 0) throw noAnswers(file, 1, "");
    this.#writeAll();
    return { added, known };
  }

  /** All that is written, by key, a thousand rows at a time. */
  *#rows(): Generator<AnswerRow> {
    const select = this.#database?.prepare(
      `SELECT key, sum, value FROM answers WHERE key > ? ORDER BY key LIMIT ${AT_ONCE}`,
    );
    for (let last = "", rows: AnswerRow[] = []; ; last = rows.at(-1)!.key) {
      rows = z.array(rowSchema).parse(select?.all(last) ?? []);
      if (rows.length === 0) return;
      yield* rows;
    }
  }

  /** The JSON of an answer whose checksum fits. */
  #text(key: string): string | undefined {
    const unwritten = this.#unwritten.get(key);
    if (unwritten !== undefined) return unwritten;
    const found = this.#select?.get(key);
    if (found === undefined) return undefined;
    const { sum, value } = storedSchema.parse(found);
    if (checksum(key, value) === sum) return value;
    this.#damaged.add(key);
    return undefined;
  }

  #put(key: string, text: string): void {
    this.#unwritten.set(key, text);
    this.#damaged.delete(key);
    if (this.#readOnly) return;
    // What fails here stays unwritten, and is tried and told of again by the next `flush`.
    this.#scheduled ??= setImmediate(() => {
      try {
        this.#writeAll();
      } catch {}
    });
  }

  #writeAll(): void {
    clearImmediate(this.#scheduled);
    this.#scheduled = undefined;
    const database = this.#database;
    if (this.#readOnly || database === undefined || this.#unwritten.size === 0) return;
    try {
      const insert = database.prepare("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)");
      database
        .transaction(() => {
          for (const [key, text] of this.#unwritten) insert.run(key, checksum(key, text), text);
        })
        .immediate();
      this.#unwritten.clear();
    } catch (error) {
      throw cacheError(error, this.path, "write");
    }
  }

  /** Takes over the files that answers were kept in before, under the same keys; each goes once it is. */
  async #takeOver(dir: string, suffix: string | undefined): Promise<void> {
    for (const name of await readdir(dir)) {
      const [, model, about] = OLD_FILE.exec(name) ?? [];
      if (model === undefined || about !== suffix) continue;
      let count = 0;
      for await (const line of linesOf(join(dir, name))) {
        const [, sum, short, json] = OLD_LINE.exec(line) ?? [];
        const isWhole = short !== undefined && json !== undefined && checksum(short, json) === sum;
        if (!isWhole) this.#damagedBefore += line === "" ? 0 : 1;
        else if (!this.has(`${model}/${short}`)) this.#put(`${model}/${short}`, json);
        if (++count % AT_ONCE === 0) this.#writeAll();
      }
      this.#writeAll();
      await rm(join(dir, name), { force: true });
    }
  }
}

function checksum(key: string, json: string): string {
  return sha256(`${key} ${json}`).slice(0, SUM_LENGTH);
}

/** With a rollback journal, which needs no second file while nobody writes, and can be read where nothing may be written. */
async function openFile(path: string, readOnly: boolean): Promise<Database.Database> {
  const Sqlite = await loadSqlite();
  const database = new Sqlite(path, { readonly: readOnly, fileMustExist: readOnly, timeout: PATIENCE_MS });
  try {
    // The option above is not heeded by every version.
    database.pragma(`busy_timeout = ${PATIENCE_MS}`);
    if (!readOnly) {
      database.exec(
        "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, sum TEXT NOT NULL, value TEXT NOT NULL) WITHOUT ROWID",
      );
    }
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

/** Loaded where it is needed first: everything else works without it. */
async function loadSqlite(): Promise<typeof Database> {
  try {
    return (await import("libsql")).default;
  } catch (error) {
    throw new PrismrecError("NATIVE_NOT_FOUND", "answers of a language model cannot be kept: SQLite does not load", {
      expected: `libsql's binary for ${process.platform}-${process.arch}`,
      received: error instanceof Error ? error.message : String(error),
      hint: "Install again without leaving optional packages out.",
      cause: error,
    });
  }
}

function noFile(error: unknown): undefined {
  if (systemCode(error) !== "ENOENT") throw error;
}

function noAnswers(file: string, line: number, text: string): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `${file} holds no answers that can be taken over`, {
    expected: line === 1 ? `a file of prismrec answers, version ${EXPORT_VERSION}` : "a key and an answer",
    received: text === "" ? "nothing" : `line ${line}: ${text.slice(0, 80)}`,
    hint: "Export the answers again: prismrec answers export.",
  });
}

async function* linesOf(path: string): AsyncGenerator<string> {
  const stream = createReadStream(path, "utf8");
  try {
    yield* createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY });
  } catch (error) {
    throw fromFileError(error, path, "read");
  } finally {
    stream.destroy();
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** SQLite's errors have a code of their own. */
function cacheError(error: unknown, path: string, action: "read" | "write"): PrismrecError {
  const code = systemCode(error) ?? "";
  if (!(error instanceof Error) || !code.startsWith("SQLITE_")) return fromFileError(error, path, action);
  const info = { received: `${error.message} (${code})`, cause: error };
  if (code === "SQLITE_FULL") {
    const hint = "Free some space and run the same command again: what was answered before is kept.";
    return new PrismrecError("DISK_FULL", `no space left to write ${path}`, { ...info, hint });
  }
  if (code === "SQLITE_NOTADB" || code === "SQLITE_CORRUPT" || code === "SQLITE_ERROR") {
    return new PrismrecError("DATA_FORMAT", `${path} cannot be used as a cache of answers`, {
      expected: "a file that prismrec has written",
      ...info,
      hint: "Move it away: the answers are asked for again then.",
    });
  }
  if (code.startsWith("SQLITE_BUSY")) {
    const hint = "Another process writes into it; run the same command again when that one is through.";
    return new PrismrecError("IO", `${path} is held by another process`, { ...info, hint });
  }
  return new PrismrecError("IO", `cannot ${action} ${path}`, info);
}
