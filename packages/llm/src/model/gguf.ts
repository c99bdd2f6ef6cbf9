import type { Stats } from "node:fs";
import { open, stat } from "node:fs/promises";
import { fromFileError, isPrismrecError, PrismrecError } from "@prismrec/core/base";
import type { GgufFileInfo } from "node-llama-cpp";
import { requireLlamaCpp } from "./engine.js";

/** What a GGUF file says of itself. */
export interface GgufInfo {
  readonly version: number;
  readonly architecture: string;
  readonly name: string | undefined;
  readonly licence: string | undefined;
  readonly contextLength: number | undefined;
  readonly embeddingLength: number | undefined;
  readonly hasChatTemplate: boolean;
  readonly tensors: number;
  readonly bytes: number;
}

const START = Buffer.from("GGUF");
/** Tensors and entries of the largest models are a few thousand; a file that says more is broken, and would be read for ever. */
const MOST_PARTS = 1 << 20;

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

/**
 * Reads a GGUF file's header with node-llama-cpp and checks that its tensors lie inside the file, so that a corrupt or truncated
 * model is refused before llama.cpp sees it. Throws FILE_NOT_FOUND, IO, MODEL_INVALID or LLM_ENGINE_MISSING.
 */
export async function inspectGguf(path: string): Promise<GgufInfo> {
  let file: Stats;
  try {
    file = await stat(path);
    if (!file.isFile()) throw invalid(path, "a folder or device");
    await checkStart(path, file.size);
  } catch (error) {
    throw fromFileError(error, path, "read");
  }
  requireLlamaCpp();
  const { readGgufFileInfo } = await import("node-llama-cpp");
  try {
    const info = await readGgufFileInfo(path, {
      sourceType: "filesystem",
      logWarnings: false,
      spliceSplitFiles: false,
    });
    return summary(path, info, file.size);
  } catch (error) {
    if (isPrismrecError(error)) throw error;
    throw invalid(path, `a header that cannot be read (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** What the reader would stumble over: another format, another version, counts that make no sense. */
async function checkStart(path: string, size: number): Promise<void> {
  const file = await open(path, "r");
  const start = Buffer.alloc(24);
  try {
    const { bytesRead } = await file.read(start, 0, start.length, 0);
    if (size === 0) throw invalid(path, "an empty file");
    if (!start.subarray(0, START.length).equals(START)) throw invalid(path, "a file that does not start with GGUF");
    if (bytesRead < start.length) throw invalid(path, `a file that ends inside its header (${size} bytes)`);
  } finally {
    await file.close();
  }
  const version = start.readUInt32LE(4);
  if (version < 2 || version > 3) throw invalid(path, `GGUF version ${version}`);
  for (const count of [start.readBigUInt64LE(8), start.readBigUInt64LE(16)]) {
    if (count > BigInt(MOST_PARTS)) throw invalid(path, `a header of ${count} parts`);
  }
}

function summary(
  path: string,
  { version, metadata, tensorInfo = [], infoEndOffset = 0 }: GgufFileInfo,
  bytes: number,
): GgufInfo {
  const { architecture, name, license } = metadata.general;
  if (typeof architecture !== "string" || tensorInfo.length === 0)
    throw invalid(path, "a GGUF file without a model in it");
  let needed = infoEndOffset;
  for (const { dimensions, ggmlType, fileOffset } of tensorInfo) {
    const [size, weights] = TENSOR_TYPES[ggmlType] ?? [0, 1];
    const count = dimensions.reduce<number>((product, length) => product * Number(length), 1);
    needed = Math.max(needed, Number(fileOffset) + (count / weights) * size);
  }
  if (needed > bytes) throw invalid(path, `a truncated file: ${bytes} bytes of at least ${needed}`);
  const own = (metadata as unknown as Record<string, Record<string, unknown> | undefined>)[architecture];
  const number = (key: string): number | undefined => {
    const value = own?.[key];
    return typeof value === "number" ? value : undefined;
  };
  return {
    version,
    architecture,
    name,
    licence: license,
    contextLength: number("context_length"),
    embeddingLength: number("embedding_length"),
    hasChatTemplate: typeof metadata.tokenizer?.chat_template === "string",
    tensors: tensorInfo.length,
    bytes,
  };
}

function invalid(path: string, received: string): PrismrecError {
  return new PrismrecError("MODEL_INVALID", `${path} is not a usable model`, {
    expected: "a complete GGUF file (version 2 or 3)",
    received,
    hint: "download the file again, or leave --llm out to use the recommended small model",
  });
}
