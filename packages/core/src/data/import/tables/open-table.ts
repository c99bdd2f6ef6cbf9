import { extname } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../../base/errors.js";
import { openDelimited } from "./delimited.js";
import { type FileHead, openText, readHead } from "./encoding.js";
import { openJson } from "./json.js";
import { parseLiteral } from "./literals.js";
import { openParquet } from "./parquet.js";
import type { Table } from "./table.js";

/**
 * Opens a table file: delimited text, JSON records or Parquet, text also as gzip and in UTF-16 or Windows-1252. What it
 * is comes from its bytes, and from its extension only where they leave it open; columns come from its header, its
 * first records or its schema. Throws FILE_NOT_FOUND, IO, DATA_EMPTY or DATA_FORMAT.
 */
export async function openTable(connection: DuckDBConnection, path: string): Promise<Table> {
  const head = await readHead(path);
  if (head.bytes.length === 0) throw empty(path, "the file has no bytes");
  const name = path.toLowerCase().replace(/\.gz$/, "");
  const extension = extname(name);
  const magic = head.bytes.subarray(0, 4).toString("latin1");
  if (!head.gzip && (magic === "PAR1" || extension === ".parquet")) return await openParquet(connection, path);
  refusePacked(path, head, extension);
  const text = await openText(path, head);
  const start = text.head.trimStart();
  if (start === "" && text.whole) throw empty(path, "empty lines");
  if (text.head.includes("\0")) {
    throw new PrismrecError("DATA_FORMAT", `${path} is not a text table`, {
      expected: "CSV, TSV, JSONL or Parquet",
      received: `binary data (a NUL at ${text.head.indexOf("\0")})`,
    });
  }
  if (/^<(?:!doctype|html|\?xml)\b/i.test(start)) {
    throw new PrismrecError("DATA_FORMAT", `${path} is not a text table`, {
      expected: "CSV, TSV, JSONL or Parquet",
      received: `a web page or XML: ${start.slice(0, 60)}`,
      hint: "A download that failed often leaves a page in place of the file: get it again.",
    });
  }
  if ([".jsonl", ".ndjson", ".json"].includes(extension) || isJson(start)) return openJson(path, text);
  return openDelimited(path, text, [".tsv", ".tab", ".inter", ".item", ".user"].includes(extension) ? "\t" : ",");
}

/** Whether text without an extension that says so begins with a JSON object, or with an array of them. */
function isJson(start: string): boolean {
  if (/^\[\s*\{/.test(start)) return true;
  if (!start.startsWith("{")) return false;
  const line = start.split("\n", 1)[0] ?? "";
  return parseLiteral(line) instanceof Map || /^\{\s*(?:"(?:[^"\\]|\\.)*"\s*:|$)/.test(line.trim());
}

const PACKED: readonly (readonly [string, string, string])[] = [
  ["PK\x03\x04", "a zip archive", "unzip -p"],
  ["BZh", "bzip2", "bzcat"],
  ["\xfd7zX", "xz", "xzcat"],
  ["\x28\xb5\x2f\xfd", "zstd", "zstdcat"],
];

/** Refuses what has to be unpacked by another program first, and names it. */
function refusePacked(path: string, { bytes, gzip }: FileHead, extension: string): void {
  const magic = bytes.subarray(0, 6).toString("latin1");
  const refuse = (received: string, hint: string): PrismrecError =>
    new PrismrecError("DATA_FORMAT", `${path} is not a text table`, {
      expected: "CSV, TSV, JSONL (also as .gz) or Parquet",
      received,
      hint,
    });
  if (magic.startsWith("PK\x03\x04") && (extension === ".xlsx" || bytes.includes("xl/"))) {
    throw refuse("an Excel workbook", "Save the sheet as CSV (UTF-8) first.");
  }
  const packed = PACKED.find(([start]) => magic.startsWith(start));
  if (packed !== undefined) throw refuse(packed[1], `Unpack it first: ${packed[2]} ${path} > a-file`);
  if (gzip && magic.startsWith("PAR1")) throw refuse("Parquet inside gzip", `Unpack it first: gunzip -k ${path}`);
  if (bytes.subarray(257, 262).toString("latin1") === "ustar") {
    throw refuse("a tar archive", `Unpack it first: tar -xf ${path}`);
  }
}

function empty(path: string, received: string): PrismrecError {
  return new PrismrecError("DATA_EMPTY", `${path} holds no rows`, {
    expected: "a header and at least one row",
    received,
  });
}
