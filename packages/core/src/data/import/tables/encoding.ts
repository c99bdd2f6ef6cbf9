import { isAscii, isUtf8 } from "node:buffer";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { createGunzip } from "node:zlib";
import { PrismrecError } from "../../../base/errors.js";
import { fromFileError, systemCode } from "../../../base/file-errors.js";

export type Encoding = "utf-8" | "windows-1252" | "utf-16le" | "utf-16be";

/** Stands at the end of a line that is not valid UTF-8: half of a surrogate pair, which no valid line holds. */
export const DAMAGED = "\uDFFF";

const HEAD_BYTES = 1 << 18;
const CHUNK_BYTES = 1 << 18;

/** The text of a file: its first part, and all of it as a stream. */
export interface TextSource {
  /** The decoded first quarter megabyte (less a cut last character), without a byte-order mark. */
  readonly head: string;
  /** Whether `head` is all there is. */
  readonly whole: boolean;
  readonly notes: string[];
  /** Whether a line so far carries the mark `DAMAGED`. */
  damaged(): boolean;
  /** All of the text, `head` included, in pieces of any size; lines may be cut. */
  pieces(signal: AbortSignal | undefined): AsyncGenerator<string>;
}

export interface FileHead {
  /** Unpacked where the file is gzip. */
  readonly bytes: Buffer;
  readonly whole: boolean;
  readonly gzip: boolean;
}

/** The first quarter megabyte of a file, unpacked. Throws FILE_NOT_FOUND, IO or DATA_FORMAT. */
export async function readHead(path: string): Promise<FileHead> {
  const start = await readStart(path);
  const gzip = start.bytes[0] === 0x1f && start.bytes[1] === 0x8b;
  if (!gzip) return { ...start, gzip };
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of fileBytes(path, true)) {
    parts.push(part);
    length += part.length;
    if (length > HEAD_BYTES) break;
  }
  const bytes = Buffer.concat(parts);
  return { bytes: bytes.subarray(0, HEAD_BYTES), whole: length <= HEAD_BYTES, gzip };
}

async function readStart(path: string): Promise<{ readonly bytes: Buffer; readonly whole: boolean }> {
  try {
    const info = await stat(path);
    if (!info.isFile() && !info.isDirectory()) {
      throw new PrismrecError("IO", `${path} is not a regular file`, {
        expected: "a file that can be read more than once",
        received: "a pipe or a device",
        hint: "Copy it into a file first (spoolIfPipe does).",
      });
    }
    const file = await open(path, "r");
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(Math.min(info.size, HEAD_BYTES)), 0);
      return { bytes: buffer.subarray(0, bytesRead), whole: info.size <= HEAD_BYTES };
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
}

/** A file's bytes, unpacked where `gzip` says so. */
async function* fileBytes(path: string, gzip: boolean, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const file = createReadStream(path, { highWaterMark: CHUNK_BYTES });
  const stream = gzip ? file.pipe(createGunzip({ chunkSize: CHUNK_BYTES })) : file;
  if (stream !== file) file.on("error", (error) => stream.destroy(error));
  try {
    for await (const chunk of stream) {
      signal?.throwIfAborted();
      yield chunk as Buffer;
    }
  } catch (error) {
    signal?.throwIfAborted();
    const code = systemCode(error);
    if (code === undefined || !/^Z_|^ERR_/.test(code)) throw fromFileError(error, path, "read");
    throw new PrismrecError("DATA_FORMAT", `${path} cannot be unpacked`, {
      expected: "a whole gzip file",
      received: error instanceof Error ? error.message : String(error),
      hint: `It is cut short or damaged: see what gunzip -t ${path} says, and get it again.`,
      cause: error,
    });
  } finally {
    stream.destroy();
    file.destroy();
  }
}

/** Opens a text file whose head has been read: decides its encoding on its bytes. */
export async function openText(path: string, head: FileHead): Promise<TextSource> {
  const { bytes, gzip } = head;
  const notes: string[] = gzip ? ["it is gzip, and was unpacked while it was read"] : [];
  const mark = byteOrderMark(bytes);
  let encoding: Encoding | undefined = mark?.encoding ?? wideWithoutMark(bytes);
  const skip = mark?.length ?? 0;
  let damagedLines = 0;
  const settle = async (found: Encoding, signal?: AbortSignal): Promise<Encoding> => {
    if (found === "windows-1252") notes.push(await windowsNote(path, gzip, signal));
    return found;
  };
  if (encoding === "utf-16le" || encoding === "utf-16be") notes.push(`it is ${encoding.toUpperCase()}`);
  const body = bytes.subarray(skip);
  if (encoding === undefined && !isUtf8(head.whole ? body : body.subarray(0, characterEnd(body)))) {
    encoding = await settle(await surveyEncoding(path, gzip, skip));
  }
  const decode = (piece: Buffer): string => {
    if (isAscii(piece)) return piece.toString("latin1");
    if (encoding === "windows-1252") return decodeWindows(piece);
    if (isUtf8(piece)) return piece.toString("utf8");
    return decodeLines(piece, () => damagedLines++);
  };
  const wide = encoding === "utf-16le" || encoding === "utf-16be";
  const headText = wide
    ? new TextDecoder(encoding).decode(body.subarray(0, body.length & ~1))
    : decode(head.whole ? body : body.subarray(0, characterEnd(body)));
  return {
    head: headText,
    whole: head.whole,
    notes,
    damaged: () => damagedLines > 0,
    async *pieces(signal) {
      if (wide) {
        yield* widePieces(path, gzip, encoding as Encoding, signal);
        return;
      }
      for await (const piece of linePieces(path, gzip, skip, signal)) {
        if (encoding === undefined && !isUtf8(piece)) {
          encoding = await settle(await surveyEncoding(path, gzip, skip, signal), signal);
        }
        yield decode(piece);
      }
    },
  };
}

function byteOrderMark(bytes: Buffer): { readonly encoding: Encoding; readonly length: number } | undefined {
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return { encoding: "utf-8", length: 3 };
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return { encoding: "utf-16le", length: 2 };
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return { encoding: "utf-16be", length: 2 };
  return undefined;
}

/** UTF-16 without a mark: text of mostly ASCII has a NUL in nearly every second byte, and none in the others. */
function wideWithoutMark(bytes: Buffer): Encoding | undefined {
  const pairs = Math.min(bytes.length, 4096) >> 1;
  if (pairs < 4) return undefined;
  let even = 0;
  let odd = 0;
  for (let i = 0; i < pairs; i++) {
    if (bytes[2 * i] === 0) even++;
    if (bytes[2 * i + 1] === 0) odd++;
  }
  if (odd > 0.6 * pairs && even === 0) return "utf-16le";
  return even > 0.6 * pairs && odd === 0 ? "utf-16be" : undefined;
}

async function* widePieces(
  path: string,
  gzip: boolean,
  encoding: Encoding,
  signal: AbortSignal | undefined,
): AsyncGenerator<string> {
  const decoder = new TextDecoder(encoding);
  for await (const chunk of fileBytes(path, gzip, signal)) yield decoder.decode(chunk, { stream: true });
  yield decoder.decode();
}

/** A file's bytes cut after line ends, or at least between characters. */
async function* linePieces(
  path: string,
  gzip: boolean,
  skip: number,
  signal?: AbortSignal,
): AsyncGenerator<Buffer<ArrayBufferLike>> {
  let rest: Buffer<ArrayBufferLike> = Buffer.alloc(0);
  let toSkip = skip;
  for await (const chunk of fileBytes(path, gzip, signal)) {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (bytes.length < toSkip) {
      rest = bytes;
      continue;
    }
    const line = Math.max(bytes.lastIndexOf(10), bytes.lastIndexOf(13)) + 1;
    const end = line > toSkip ? line : characterEnd(bytes);
    if (end > toSkip) yield bytes.subarray(toSkip, end);
    rest = bytes.subarray(Math.max(end, toSkip));
    toSkip = 0;
  }
  if (rest.length > 0) yield rest;
}

/** Where the last whole UTF-8 character of `bytes` ends. */
function characterEnd(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(4, bytes.length); back++) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
    return length > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/**
 * UTF-8 or Windows-1252, for a file with bytes that are not UTF-8: the one that more lines with other than ASCII
 * characters speak for. Damaged lines of a UTF-8 file are few beside its whole ones; text in Windows-1252 or Latin-1 is
 * hardly ever valid UTF-8.
 */
async function surveyEncoding(path: string, gzip: boolean, skip: number, signal?: AbortSignal): Promise<Encoding> {
  let valid = 0;
  let invalid = 0;
  for await (const piece of linePieces(path, gzip, skip, signal)) {
    if (isAscii(piece)) continue;
    forEachLine(piece, (line) => {
      if (isAscii(line)) return;
      if (isUtf8(line)) valid++;
      else invalid++;
    });
  }
  return valid > invalid ? "utf-8" : "windows-1252";
}

/** Says that a file was read as Windows-1252, and whether that is likely: other encodings put high bytes side by side. */
async function windowsNote(path: string, gzip: boolean, signal: AbortSignal | undefined): Promise<string> {
  let alone = 0;
  let beside = 0;
  for await (const piece of linePieces(path, gzip, 0, signal)) {
    if (isAscii(piece)) continue;
    for (let i = 0; i < piece.length; i++) {
      if (piece[i]! < 0x80) continue;
      if ((piece[i - 1] ?? 0) >= 0x80 || (piece[i + 1] ?? 0) >= 0x80) beside++;
      else alone++;
    }
  }
  const note = "it is not valid UTF-8 and was read as Windows-1252 (Latin-1)";
  if (beside <= alone) return note;
  return `${note}, though its characters stand as in another encoding: see whether titles look right, else convert it (iconv -f GB18030 -t UTF-8, or -f CP1251)`;
}

function forEachLine(bytes: Buffer, use: (line: Buffer) => void): void {
  for (let at = 0; at < bytes.length; ) {
    const found = bytes.indexOf(10, at);
    const end = found < 0 ? bytes.length : found + 1;
    use(bytes.subarray(at, end));
    at = end;
  }
}

function decodeLines(piece: Buffer, onDamage: () => void): string {
  let text = "";
  forEachLine(piece, (line) => {
    if (isUtf8(line)) {
      text += line.toString("utf8");
      return;
    }
    onDamage();
    const ended = /\r?\n?$/.exec(line.toString("utf8"))?.[0] ?? "";
    text += line.toString("utf8", 0, line.length - ended.length) + DAMAGED + ended;
  });
  return text;
}

/** What Windows-1252 has where Latin-1 has control codes, from 0x80 on. */
const WINDOWS =
  "\u20AC\x81\u201A\u0192\u201E\u2026\u2020\u2021\u02C6\u2030\u0160\u2039\u0152\x8D\u017D\x8F\x90\u2018\u2019\u201C\u201D\u2022\u2013\u2014\u02DC\u2122\u0161\u203A\u0153\x9D\u017E\u0178";

function decodeWindows(bytes: Buffer): string {
  return bytes.toString("latin1").replace(/[\x80-\x9f]/g, (character) => WINDOWS[character.charCodeAt(0) - 0x80]!);
}
