import { PrismrecError } from "../../base/errors.js";

/** The dtypes prismrec writes, with safetensors' names. */
const DTYPES = {
  F32: Float32Array,
  F64: Float64Array,
  I16: Int16Array,
  I32: Int32Array,
  U8: Uint8Array,
  U32: Uint32Array,
} as const;

type DType = keyof typeof DTYPES;
export type TensorData = Float32Array | Float64Array | Int16Array | Int32Array | Uint8Array | Uint32Array;

export interface StoredTensor {
  readonly shape: readonly number[];
  readonly data: TensorData;
}

export interface TensorFile {
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Of the header's length, at the start of a file. */
export const LENGTH_BYTES = 8;
const MAX_HEADER = 100_000_000;

/**
 * A safetensors file piece by piece: eight bytes of header length, a JSON header padded to eight bytes, and the little-endian data
 * of each tensor where they lie. Tensors stand in the order given, so equal content gives equal bytes.
 *
 * @throws PrismrecError SHAPE_MISMATCH where data and shape disagree
 */
export function safetensorsParts(
  tensors: Iterable<readonly [string, StoredTensor]>,
  metadata: Readonly<Record<string, string>> = {},
): readonly Uint8Array[] {
  const header: Record<string, unknown> = {};
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, data }] of tensors) {
    const length = shape.reduce((product, extent) => product * extent, 1);
    if (length !== data.length) {
      throw new PrismrecError("SHAPE_MISMATCH", `tensor ${name} does not have the length of its shape`, {
        expected: `${length} values for [${shape.join(", ")}]`,
        received: `${data.length} values`,
      });
    }
    header[name] = { dtype: dtypeOf(data), shape, data_offsets: [offset, offset + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    offset += data.byteLength;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const headerLength = Math.ceil(json.length / LENGTH_BYTES) * LENGTH_BYTES;
  const head = new Uint8Array(LENGTH_BYTES + headerLength).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerLength), true);
  head.set(json, LENGTH_BYTES);
  return [head, ...parts];
}

/** `safetensorsParts` as one array. */
export function encodeSafetensors(...content: Parameters<typeof safetensorsParts>): Uint8Array {
  const parts = safetensorsParts(...content);
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/**
 * Reads what `encodeSafetensors`, or any other writer of the dtypes above, wrote. Every tensor owns its memory.
 *
 * @param name of the file, for messages
 * @throws PrismrecError DATA_FORMAT for a file that is cut short, overlong or no safetensors file
 */
export function decodeSafetensors(bytes: Uint8Array, name: string): TensorFile {
  const start = LENGTH_BYTES + headerLengthOf(bytes, bytes.length, name);
  const { entries, metadata } = readHeader(bytes.subarray(LENGTH_BYTES, start), bytes.length - start, name);
  const tensors = new Map<string, StoredTensor>();
  for (const { key, shape, view, from, to } of entries) {
    const buffer = new ArrayBuffer(to - from);
    new Uint8Array(buffer).set(bytes.subarray(start + from, start + to));
    tensors.set(key, { shape, data: new view(buffer) });
  }
  return { tensors, metadata };
}

/** A tensor as a header has it; bytes counted from the end of the header. */
export interface TensorEntry {
  readonly key: string;
  readonly shape: readonly number[];
  readonly view: (typeof DTYPES)[DType];
  readonly from: number;
  readonly to: number;
}

/**
 * How long the header is that the first bytes of a file announce.
 *
 * @param size of the whole file
 * @throws PrismrecError DATA_FORMAT
 */
export function headerLengthOf(bytes: Uint8Array, size: number, name: string): number {
  if (bytes.length < LENGTH_BYTES) throw broken(name, `${bytes.length} bytes are too few for a header`);
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER) || LENGTH_BYTES + Number(length) > size) {
    throw broken(name, `a header of ${length} bytes in a file of ${size}`);
  }
  return Number(length);
}

/**
 * What a header says of the data behind it.
 *
 * @param size of the data
 * @throws PrismrecError DATA_FORMAT
 */
export function readHeader(
  bytes: Uint8Array,
  size: number,
  name: string,
): { readonly entries: readonly TensorEntry[]; readonly metadata: Readonly<Record<string, string>> } {
  let metadata: Record<string, string> = {};
  let end = 0;
  const entries: TensorEntry[] = [];
  for (const [key, entry] of Object.entries(parseHeader(bytes, name))) {
    if (key === "__metadata__") {
      metadata = stringMembers(entry, name);
      continue;
    }
    const { dtype, shape, from, to } = readEntry(entry, key, name);
    const view = DTYPES[dtype];
    const length = shape.reduce((product, extent) => product * extent, 1);
    if (to - from !== length * view.BYTES_PER_ELEMENT) throw broken(name, `the size of ${key} contradicts its shape`);
    if (to > size) throw broken(name, `tensor ${key} ends at byte ${to} of ${size}: the file is cut short`);
    entries.push({ key, shape, view, from, to });
    end = Math.max(end, to);
  }
  if (end !== size) throw broken(name, `${size - end} bytes follow the last tensor`);
  return { entries, metadata };
}

function parseHeader(bytes: Uint8Array, name: string): object {
  const text = new TextDecoder().decode(bytes);
  let header: unknown;
  try {
    header = JSON.parse(text);
  } catch (error) {
    throw broken(name, "the header is not JSON", error);
  }
  if (typeof header !== "object" || header === null || Array.isArray(header))
    throw broken(name, "the header is no object");
  return header;
}

function readEntry(entry: unknown, key: string, name: string) {
  if (typeof entry !== "object" || entry === null) throw broken(name, `entry ${key} is no object`);
  const dtype = "dtype" in entry ? entry.dtype : undefined;
  const shape = "shape" in entry ? entry.shape : undefined;
  const offsets = "data_offsets" in entry ? entry.data_offsets : undefined;
  if (typeof dtype !== "string" || !isDType(dtype)) throw broken(name, `tensor ${key} has the dtype ${String(dtype)}`);
  if (!isCounts(shape)) throw broken(name, `tensor ${key} has no valid shape`);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    throw broken(name, `tensor ${key} has no valid data_offsets`);
  }
  return { dtype, shape, from: offsets[0]!, to: offsets[1]! };
}

function stringMembers(value: unknown, name: string): Record<string, string> {
  if (typeof value !== "object" || value === null) throw broken(name, "__metadata__ is no object");
  const members: Record<string, string> = {};
  for (const [key, member] of Object.entries(value)) {
    if (typeof member !== "string") throw broken(name, `metadata ${key} is no text`);
    members[key] = member;
  }
  return members;
}

function isDType(dtype: string): dtype is DType {
  return Object.hasOwn(DTYPES, dtype);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((entry) => Number.isSafeInteger(entry) && entry >= 0);
}

function dtypeOf(data: TensorData): DType {
  for (const [dtype, view] of Object.entries(DTYPES)) if (data instanceof view && isDType(dtype)) return dtype;
  throw new PrismrecError("INTERNAL", "a tensor of a dtype that safetensors does not have");
}

export function broken(name: string, what: string, cause?: unknown): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `${name} is not a whole safetensors file: ${what}`, {
    hint: "The file was cut short or changed after it was written; restore it or train again.",
    ...(cause === undefined ? {} : { cause }),
  });
}
