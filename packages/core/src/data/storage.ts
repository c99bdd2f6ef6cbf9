import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { readJson, writeFileAtomic, writeJsonAtomic } from "../base/atomic-file.js";
import { PrismrecError } from "../base/errors.js";
import { fromFileError } from "../base/file-errors.js";
import { sha256 } from "../base/hash.js";
import { createCatalog, createLog } from "./catalog.js";
import { packColumns, unpackColumns } from "./column-storage.js";
import { type Columns, columnFault, type TextColumn } from "./columns.js";
import type { ImportReport } from "./report.js";
import type { Dataset, EvaluationPart, Item, TrainingPart } from "./types.js";

/** Raised when a saved dataset of before cannot be read any more. */
export const DATASET_FORMAT = 3;
const MANIFEST = "dataset.json";
const ITEMS = "items.json";
const LINES_AT_ONCE = 1 << 16;

const arrayTypes = {
  u8: Uint8Array,
  u32: Uint32Array,
  i64: BigInt64Array,
  f32: Float32Array,
  f64: Float64Array,
} as const;
type StoredArray = Uint8Array | Uint32Array | BigInt64Array | Float32Array | Float64Array;

const manifestSchema = z.object({
  format: z.literal(DATASET_FORMAT),
  fingerprint: z.string(),
  protocol: z.enum(["user-disjoint", "leave-one-out", "user-ratio", "temporal"]),
  users: z.int().nonnegative(),
  items: z.int().nonnegative(),
  events: z.int().nonnegative(),
  unordered: z.literal(true).optional(),
  /** Size and hash of each file beside this one. */
  files: z.record(z.string(), z.object({ bytes: z.int().nonnegative(), sha256: z.string() })),
});

const itemsSchema = z.array(
  z.object({
    id: z.string().min(1),
    title: z.string(),
    categories: z.array(z.string()),
    year: z.int().optional(),
  }),
);

/**
 * Writes a dataset to a folder: ids and titles as JSON text, numbers as little-endian arrays (one file each, named by
 * content and type), and last the manifest with every file's hash, so that an interrupted save is never taken for one.
 * Throws DISK_FULL or IO.
 */
export async function saveDataset(dataset: Dataset, report: ImportReport, dir: string): Promise<void> {
  const { catalog, log, split } = dataset;
  const contents: Record<string, string | Uint8Array | Iterable<string>> = {
    [ITEMS]: itemLines(catalog.items),
    "users.json": `${JSON.stringify(log.userIds)}\n`,
    "report.json": `${JSON.stringify(report, undefined, 2)}\n`,
    "popularity.u32": toBytes(catalog.popularity),
    "indptr.u32": toBytes(log.indptr),
    "events.u32": toBytes(log.items),
    ...(log.timestamps === undefined ? {} : { "timestamps.i64": toBytes(log.timestamps) }),
    ...(log.behaviours === undefined
      ? {}
      : {
          "behaviours.u32": toBytes(log.behaviours.codes),
          "behaviours.json": `${JSON.stringify(log.behaviours.dictionary)}\n`,
        }),
    ...(log.weights === undefined ? {} : { "weights.f32": toBytes(log.weights) }),
    ...columnFiles("item", catalog.columns, catalog.size + 1),
    ...columnFiles("user", log.profile, log.userCount),
    "train-users.u32": toBytes(split.train.users),
    "train-ends.u32": toBytes(split.train.ends),
  };
  for (const part of ["valid", "test"] as const) {
    contents[`${part}-users.u32`] = toBytes(split[part].users);
    contents[`${part}-history-ends.u32`] = toBytes(split[part].historyEnds);
    contents[`${part}-target-ends.u32`] = toBytes(split[part].targetEnds);
  }
  const files: Record<string, { bytes: number; sha256: string }> = {};
  for (const [name, content] of Object.entries(contents)) {
    const hash = createHash("sha256");
    let bytes = 0;
    const pieces = typeof content === "string" || content instanceof Uint8Array ? [content] : content;
    function* counted(): Generator<Uint8Array> {
      for (const piece of pieces) {
        const part = typeof piece === "string" ? Buffer.from(piece) : piece;
        hash.update(part);
        bytes += part.length;
        yield part;
      }
    }
    await writeFileAtomic(join(dir, name), counted());
    files[name] = { bytes, sha256: hash.digest("hex") };
  }
  await writeJsonAtomic(join(dir, MANIFEST), {
    format: DATASET_FORMAT,
    fingerprint: dataset.fingerprint,
    protocol: split.protocol,
    users: log.userCount,
    items: catalog.size,
    events: log.items.length,
    ...(log.unordered === undefined ? {} : { unordered: log.unordered }),
    files,
  } satisfies z.infer<typeof manifestSchema>);
}

/** Items as a JSON array, a line each; in pieces, because no string holds those of a catalog of millions. */
function* itemLines(items: readonly Item[]): Generator<string> {
  yield "[\n";
  for (let from = 1; from < items.length; from += LINES_AT_ONCE) {
    const part = items.slice(from, from + LINES_AT_ONCE).map((item) => JSON.stringify(item));
    yield `${part.join(",\n")}${from + LINES_AT_ONCE < items.length ? "," : ""}\n`;
  }
  yield "]\n";
}

/** Reads what `itemLines` gave, and the padding before it. */
function readItems(bytes: Buffer, path: string): Item[] {
  const items: Item[] = [{ id: "", title: "", categories: [] }];
  // Between the lines of the brackets.
  const end = bytes.length - "]\n".length;
  for (let from = "[\n".length; from < end; ) {
    let to = from;
    for (let n = 0; n < LINES_AT_ONCE && to < end; n++) to = bytes.indexOf(10, to) + 1 || end;
    const lines = bytes.toString("utf8", from, to).trimEnd();
    const parsed = itemsSchema.safeParse(JSON.parse(`[${lines.endsWith(",") ? lines.slice(0, -1) : lines}]`));
    if (!parsed.success) throw damaged(path, z.prettifyError(parsed.error));
    for (const item of parsed.data) items.push(withoutAbsentYear(item));
    from = to;
  }
  return items;
}

/** The files of some columns; types that none of them has are left out. */
function columnFiles(prefix: string, columns: Columns | undefined, rows: number): Record<string, string | Uint8Array> {
  if (columns === undefined) return {};
  const { head, texts, ...arrays } = packColumns(columns, rows);
  return {
    [`${prefix}-columns.json`]: head,
    ...(texts === "" ? {} : { [`${prefix}-columns.jsonl`]: texts }),
    ...Object.fromEntries(
      Object.entries(arrays)
        .filter(([, values]) => values.length > 0)
        .map(([type, values]) => [`${prefix}-columns.${type}`, toBytes(values)]),
    ),
  };
}

/**
 * Reads what `saveDataset` wrote and verifies it: hashes of all files and the invariants that every later stage relies
 * on. Throws FILE_NOT_FOUND where there is no dataset and DATA_FORMAT where it is damaged.
 */
export async function loadDataset(dir: string): Promise<{ readonly dataset: Dataset; readonly report: ImportReport }> {
  const path = join(dir, MANIFEST);
  const stored = await readJson(path, "DATA_FORMAT");
  const format = z.object({ format: z.number() }).safeParse(stored);
  if (format.success && format.data.format !== DATASET_FORMAT) {
    throw new PrismrecError("DATA_FORMAT", `the saved dataset is of another version: ${path}`, {
      expected: `format ${DATASET_FORMAT}`,
      received: `format ${format.data.format}`,
      hint: "Import again.",
    });
  }
  const parsed = manifestSchema.safeParse(stored);
  if (!parsed.success) throw damaged(path, z.prettifyError(parsed.error));
  const manifest = parsed.data;
  const read = async (name: string): Promise<Buffer> => {
    const file = join(dir, name);
    const expected = manifest.files[name];
    if (expected === undefined) throw damaged(path, `no entry for ${name}`);
    let bytes: Buffer;
    try {
      bytes = await readFile(file);
    } catch (error) {
      throw fromFileError(error, file, "read");
    }
    if (bytes.length !== expected.bytes || sha256(bytes) !== expected.sha256) {
      throw damaged(file, `${bytes.length} bytes that are not the ${expected.bytes} that were saved`);
    }
    return bytes;
  };
  const u32 = async (name: string): Promise<Uint32Array> => fromBytes(await read(name), "u32");
  const evaluation = async (part: "valid" | "test"): Promise<EvaluationPart> => ({
    users: await u32(`${part}-users.u32`),
    historyEnds: await u32(`${part}-history-ends.u32`),
    targetEnds: await u32(`${part}-target-ends.u32`),
  });
  const items = readItems(await read(ITEMS), join(dir, ITEMS));
  const userIds = z.array(z.string().min(1)).parse(JSON.parse((await read("users.json")).toString()));
  const report: ImportReport = JSON.parse((await read("report.json")).toString());
  const has = (name: string): boolean => manifest.files[name] !== undefined;
  const array = async <T extends keyof typeof arrayTypes>(name: string, type: T) =>
    fromBytes(has(name) ? await read(name) : Buffer.alloc(0), type);
  const columns = async (prefix: string, rows: number): Promise<Columns | undefined> => {
    const name = `${prefix}-columns`;
    if (!has(`${name}.json`)) return undefined;
    const stored = {
      head: (await read(`${name}.json`)).toString(),
      texts: has(`${name}.jsonl`) ? (await read(`${name}.jsonl`)).toString() : "",
      f64: await array(`${name}.f64`, "f64"),
      u8: await array(`${name}.u8`, "u8"),
      u32: await array(`${name}.u32`, "u32"),
    };
    return unpackColumns(stored, rows, (received) => damaged(join(dir, `${name}.json`), received));
  };
  const behaviours: TextColumn | undefined = has("behaviours.u32")
    ? {
        kind: "text",
        codes: await u32("behaviours.u32"),
        dictionary: z.array(z.string()).parse(JSON.parse((await read("behaviours.json")).toString())),
      }
    : undefined;
  const profile = await columns("user", userIds.length);
  const timestamps =
    manifest.files["timestamps.i64"] === undefined ? undefined : fromBytes(await read("timestamps.i64"), "i64");
  const dataset: Dataset = {
    fingerprint: manifest.fingerprint,
    catalog: createCatalog(items, await u32("popularity.u32"), await columns("item", items.length)),
    log: createLog({
      userIds,
      indptr: await u32("indptr.u32"),
      items: await u32("events.u32"),
      ...(timestamps === undefined ? {} : { timestamps }),
      ...(behaviours === undefined ? {} : { behaviours }),
      ...(has("weights.f32") ? { weights: await array("weights.f32", "f32") } : {}),
      ...(manifest.unordered === undefined ? {} : { unordered: manifest.unordered }),
      ...(profile === undefined ? {} : { profile }),
    }),
    split: {
      protocol: manifest.protocol,
      train: { users: await u32("train-users.u32"), ends: await u32("train-ends.u32") } satisfies TrainingPart,
      valid: await evaluation("valid"),
      test: await evaluation("test"),
    },
  };
  checkDataset(dataset, dir);
  return { dataset, report };
}

function withoutAbsentYear({ year, ...item }: z.infer<typeof itemsSchema>[number]): Item {
  return year === undefined ? item : { ...item, year };
}

/** Throws DATA_FORMAT (naming `where`) unless shapes, id ranges and the split of a dataset fit together. */
export function checkDataset({ catalog, log, split }: Dataset, where: string): void {
  const fail = (received: string): never => {
    throw damaged(where, received);
  };
  if (catalog.popularity.length !== catalog.size + 1) fail(`${catalog.popularity.length} item counts`);
  if (log.indptr.length !== log.userCount + 1 || log.indptr[log.userCount] !== log.items.length) fail("user offsets");
  for (let user = 0; user < log.userCount; user++) {
    if (log.indptr[user]! > log.indptr[user + 1]!) fail(`offsets of user ${user}`);
  }
  if (log.timestamps !== undefined && log.timestamps.length !== log.items.length) fail("timestamps");
  if (log.weights !== undefined && log.weights.length !== log.items.length) fail("weights");
  const kept = [
    ...(log.behaviours === undefined ? [] : [["behaviours", log.behaviours, log.items.length] as const]),
    ...[...(log.profile ?? [])].map(([name, column]) => [name, column, log.userCount] as const),
    ...[...(catalog.columns ?? [])].map(([name, column]) => [name, column, catalog.size + 1] as const),
  ];
  for (const [name, column, rows] of kept) {
    const fault = columnFault(column, rows);
    if (fault !== undefined) fail(`${name}: ${fault}`);
  }
  for (const item of log.items) if (item < 1 || item > catalog.size) fail(`item ${item}`);
  const lengthOf = (user: number): number => (user < log.userCount ? log.indptr[user + 1]! - log.indptr[user]! : -1);
  split.train.users.forEach((user, j) => {
    if (!(split.train.ends[j]! <= lengthOf(user))) fail(`train user ${user}`);
  });
  for (const part of [split.valid, split.test]) {
    part.users.forEach((user, j) => {
      const [history, target] = [part.historyEnds[j]!, part.targetEnds[j]!];
      if (!(history >= 1 && history < target && target <= lengthOf(user))) fail(`evaluated user ${user}`);
    });
  }
}

function damaged(path: string, received: string): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `the saved dataset is damaged: ${path}`, {
    expected: "what an import has written",
    received,
    hint: "Import again.",
  });
}

function toBytes(values: StoredArray): Uint8Array {
  const bytes = Buffer.from(values.buffer.slice(values.byteOffset, values.byteOffset + values.byteLength));
  return swapOnBigEndian(bytes, values.BYTES_PER_ELEMENT);
}

function fromBytes<T extends keyof typeof arrayTypes>(bytes: Buffer, type: T): InstanceType<(typeof arrayTypes)[T]>;
function fromBytes(bytes: Buffer, type: keyof typeof arrayTypes): StoredArray {
  const aligned = swapOnBigEndian(Buffer.from(bytes), arrayTypes[type].BYTES_PER_ELEMENT);
  const { buffer, byteOffset, byteLength } = new Uint8Array(aligned);
  return new arrayTypes[type](buffer, byteOffset, byteLength / arrayTypes[type].BYTES_PER_ELEMENT);
}

function swapOnBigEndian(bytes: Buffer, width: number): Buffer {
  if (endianness() === "LE" || width === 1) return bytes;
  return width === 8 ? bytes.swap64() : bytes.swap32();
}
