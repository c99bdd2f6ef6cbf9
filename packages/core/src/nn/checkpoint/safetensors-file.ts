import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { writeFileAtomic } from "../../base/atomic-file.js";
import { isPrismrecError } from "../../base/errors.js";
import { fromFileError } from "../../base/file-errors.js";
import {
  broken,
  headerLengthOf,
  LENGTH_BYTES,
  readHeader,
  type StoredTensor,
  safetensorsParts,
  type TensorData,
  type TensorFile,
} from "./safetensors.js";

/** Read, written and hashed at once: a file may be larger than any array. */
const PIECE = 1 << 26;

/** What a file is known again by. */
export interface FileIdentity {
  readonly bytes: number;
  readonly sha256: string;
}

export type TensorPlace = (name: string) => TensorData | undefined;

/**
 * Writes tensors to a safetensors file from where they lie: the old file or the new one, never a part.
 *
 * @throws PrismrecError SHAPE_MISMATCH, DISK_FULL, IO
 */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<readonly [string, StoredTensor]>,
): Promise<FileIdentity> {
  const hash = createHash("sha256");
  let bytes = 0;
  function* pieces(): Generator<Uint8Array> {
    for (const part of safetensorsParts(tensors)) {
      for (let from = 0; from < part.length; from += PIECE) {
        const piece = part.subarray(from, from + PIECE);
        hash.update(piece);
        bytes += piece.length;
        yield piece;
      }
    }
  }
  await writeFileAtomic(path, pieces());
  return { bytes, sha256: hash.digest("hex") };
}

/**
 * Reads what `writeSafetensors` wrote.
 *
 * @param place where a tensor of that name is to lie, taken where type and length are its own; else it has memory of its own.
 *   What is read there stays there, whatever the file turns out to be
 * @throws PrismrecError FILE_NOT_FOUND, IO; DATA_FORMAT for a file that is cut short, overlong or no safetensors file
 */
export async function readSafetensors(path: string, place?: TensorPlace): Promise<TensorFile & FileIdentity> {
  try {
    const file = await open(path, "r");
    try {
      return await readTensors(file, path, place);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw isPrismrecError(error) ? error : fromFileError(error, path, "read");
  }
}

async function readTensors(
  file: FileHandle,
  path: string,
  place: TensorPlace | undefined,
): Promise<TensorFile & FileIdentity> {
  const hash = createHash("sha256");
  const { size } = await file.stat();
  let at = 0;
  const fill = async (bytes: Uint8Array): Promise<void> => {
    for (let from = 0; from < bytes.length; ) {
      const piece = bytes.subarray(from, from + PIECE);
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead === 0) throw broken(path, `it ends at byte ${at}`);
      hash.update(piece.subarray(0, bytesRead));
      from += bytesRead;
      at += bytesRead;
    }
  };
  const head = new Uint8Array(Math.min(LENGTH_BYTES, size));
  await fill(head);
  const header = new Uint8Array(headerLengthOf(head, size, path));
  await fill(header);
  const start = at;
  const { entries, metadata } = readHeader(header, size - start, path);
  const found = new Map<string, StoredTensor>();
  for (const { key, shape, view, from, to } of entries.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    if (start + from !== at) throw broken(path, `tensor ${key} does not follow the one before it`);
    const own = place?.(key);
    const data = own instanceof view && own.byteLength === to - from ? own : new view(new ArrayBuffer(to - from));
    await fill(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    found.set(key, { shape, data });
  }
  const tensors = new Map(entries.map(({ key }) => [key, found.get(key)!] as const));
  return { tensors, metadata, bytes: size, sha256: hash.digest("hex") };
}
