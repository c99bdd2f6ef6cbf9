import { type FileHandle, open } from "node:fs/promises";
import { fromFileError, PrismrecError } from "@prismrec/core/base";

/** What a GGUF file says of itself. */
export interface GgufInfo {
  readonly version: number;
  readonly architecture: string;
  readonly name: string | undefined;
  readonly contextLength: number | undefined;
  readonly embeddingLength: number | undefined;
  readonly hasChatTemplate: boolean;
  readonly tensors: number;
  readonly bytes: number;
}

const FIRST_READ = 1 << 20;
const LARGEST_HEADER = 1 << 28;

/** [bytes per block, weights per block] of the tensor types of ggml, by number; others are not checked for size. */
const TENSOR_TYPES: Readonly<Record<number, readonly [number, number]>> = {
  0: [4, 1],
  1: [2, 1],
  2: [18, 32],
  3: [20, 32],
  6: [22, 32],
  7: [24, 32],
  8: [34, 32],
  9: [36, 32],
  10: [84, 256],
  11: [110, 256],
  12: [144, 256],
  13: [176, 256],
  14: [210, 256],
  15: [292, 256],
  24: [1, 1],
  25: [2, 1],
  26: [4, 1],
  27: [8, 1],
  28: [8, 1],
  30: [2, 1],
};

/** Thrown inside the parser when the bytes read so far end before the header does. */
class NeedMore extends Error {}

class Reader {
  at = 0;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(length: number): number {
    if (this.at + length > this.#bytes.length) throw new NeedMore();
    const start = this.at;
    this.at += length;
    return start;
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  u64(): number {
    return Number(this.#view.getBigUint64(this.#take(8), true));
  }

  string(): string {
    const length = this.u64();
    if (length > LARGEST_HEADER) throw new RangeError(`a text of ${length} bytes`);
    const start = this.#take(length);
    return new TextDecoder().decode(this.#bytes.subarray(start, start + length));
  }

  /** A metadata value; arrays are skipped and come back as undefined. */
  value(type: number): string | number | undefined {
    switch (type) {
      case 0:
      case 1:
      case 7:
        return this.#bytes[this.#take(1)];
      case 2:
      case 3:
        return this.#view.getUint16(this.#take(2), true);
      case 4:
      case 5:
        return this.u32();
      case 6:
        return this.#view.getFloat32(this.#take(4), true);
      case 8:
        return this.string();
      case 9: {
        const inner = this.u32();
        const count = this.u64();
        for (let i = 0; i < count; i++) this.value(inner);
        return undefined;
      }
      case 10:
      case 11:
        return this.u64();
      case 12:
        return this.#view.getFloat64(this.#take(8), true);
      default:
        throw new RangeError(`a value of unknown type ${type}`);
    }
  }
}

/**
 * Reads a GGUF file's header and checks that its tensors lie inside the file, so that a corrupt or truncated model is
 * refused before llama.cpp sees it. Throws FILE_NOT_FOUND, IO or MODEL_INVALID.
 */
export async function inspectGguf(path: string): Promise<GgufInfo> {
  let file: FileHandle;
  try {
    file = await open(path, "r");
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
  try {
    const stat = await file.stat();
    if (!stat.isFile()) throw invalid(path, "a folder or device");
    const { size } = stat;
    for (let length = Math.min(size, FIRST_READ); ; length = Math.min(size, length * 4, LARGEST_HEADER)) {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await file.read(bytes, 0, length, 0);
      try {
        return parse(path, bytes.subarray(0, bytesRead), size);
      } catch (error) {
        if (error instanceof NeedMore && length < Math.min(size, LARGEST_HEADER)) continue;
        if (error instanceof NeedMore) throw invalid(path, `a file that ends inside its header (${size} bytes)`);
        if (error instanceof RangeError) throw invalid(path, `a header with ${error.message}`);
        throw error;
      }
    }
  } catch (error) {
    throw fromFileError(error, path, "read");
  } finally {
    await file.close();
  }
}

function parse(path: string, bytes: Uint8Array, size: number): GgufInfo {
  if (new TextDecoder("latin1").decode(bytes.subarray(0, 4)) !== "GGUF") {
    throw invalid(path, size === 0 ? "an empty file" : "a file that does not start with GGUF");
  }
  const reader = new Reader(bytes);
  reader.u32();
  const version = reader.u32();
  if (version < 2 || version > 3) throw invalid(path, `GGUF version ${version}`);
  const tensors = reader.u64();
  const entries = reader.u64();
  const metadata = new Map<string, string | number | undefined>();
  for (let i = 0; i < entries; i++) {
    const key = reader.string();
    metadata.set(key, reader.value(reader.u32()));
  }
  let end = 0;
  for (let i = 0; i < tensors; i++) {
    reader.string();
    const dimensions = reader.u32();
    let weights = 1;
    for (let d = 0; d < dimensions; d++) weights *= reader.u64();
    const type = TENSOR_TYPES[reader.u32()];
    const offset = reader.u64();
    end = Math.max(end, offset + (type === undefined ? 0 : (weights / type[1]) * type[0]));
  }
  const alignment = Number(metadata.get("general.alignment") ?? 32);
  const needed = Math.ceil(reader.at / alignment) * alignment + end;
  if (tensors > 0 && needed > size) {
    throw invalid(path, `a truncated file: ${size} bytes of at least ${needed}`);
  }
  const architecture = metadata.get("general.architecture");
  if (typeof architecture !== "string" || tensors === 0) throw invalid(path, "a GGUF file without a model in it");
  const text = (key: string): string | undefined => {
    const value = metadata.get(key);
    return typeof value === "string" ? value : undefined;
  };
  const number = (key: string): number | undefined => {
    const value = metadata.get(`${architecture}.${key}`);
    return typeof value === "number" ? value : undefined;
  };
  return {
    version,
    architecture,
    name: text("general.name"),
    contextLength: number("context_length"),
    embeddingLength: number("embedding_length"),
    hasChatTemplate: text("tokenizer.chat_template") !== undefined,
    tensors,
    bytes: size,
  };
}

function invalid(path: string, received: string): PrismrecError {
  return new PrismrecError("MODEL_INVALID", `${path} is not a usable model`, {
    expected: "a complete GGUF file (version 2 or 3)",
    received,
    hint: "download the file again, or leave --llm out to use the recommended small model",
  });
}
