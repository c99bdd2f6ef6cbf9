import type { Measurement } from "./measurement.js";
import { round } from "./measurement.js";

interface Column {
  readonly name: string;
  readonly key: keyof Measurement;
  readonly read: (text: string) => string | number | boolean | null;
}

const text = (value: string): string => value;
const maybe =
  <T>(read: (value: string) => T) =>
  (value: string): T | null =>
    value === "" ? null : read(value);

const COLUMNS: readonly Column[] = [
  { name: "op", key: "op", read: text },
  { name: "impl", key: "impl", read: text },
  { name: "variant", key: "variant", read: text },
  { name: "shape", key: "shape", read: text },
  { name: "threads", key: "threads", read: Number },
  { name: "median_s", key: "medianSeconds", read: Number },
  { name: "p20_s", key: "p20Seconds", read: Number },
  { name: "p80_s", key: "p80Seconds", read: Number },
  { name: "peak_extra_bytes", key: "peakExtraBytes", read: Number },
  { name: "ratio_to_best_peer", key: "ratioToBestPeer", read: maybe(Number) },
  { name: "agrees", key: "agrees", read: maybe((value) => value === "true") },
  { name: "agreement", key: "agreement", read: text },
  { name: "calls", key: "calls", read: Number },
  { name: "clean_blocks", key: "cleanBlocks", read: Number },
  { name: "blocks", key: "blocks", read: Number },
  { name: "foreign_cores", key: "foreignCores", read: Number },
  { name: "peak_rss_bytes", key: "peakRssBytes", read: Number },
  { name: "configuration", key: "configuration", read: text },
  { name: "versions", key: "versions", read: text },
  { name: "note", key: "note", read: text },
  { name: "machine", key: "machine", read: text },
  { name: "simd", key: "simd", read: text },
  { name: "commit", key: "commit", read: text },
  { name: "date", key: "date", read: text },
];

export function toCsv(rows: readonly Measurement[]): string {
  const lines = rows.map((row) => COLUMNS.map(({ key }) => cell(row[key])).join(","));
  return `${[COLUMNS.map(({ name }) => name).join(","), ...lines].join("\n")}\n`;
}

function cell(value: string | number | boolean | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(Number.isInteger(value) ? value : round(value));
  const written = String(value);
  return /[",\n]/.test(written) ? `"${written.replaceAll('"', '""')}"` : written;
}

/** @throws Error where the columns are not those that `toCsv` writes */
export function fromCsv(content: string): Measurement[] {
  const [header, ...records] = parse(content);
  const names = COLUMNS.map(({ name }) => name).join(",");
  if (header?.join(",") !== names) throw new Error(`expected the columns ${names}, got ${header?.join(",") ?? "none"}`);
  return records.map(
    (fields) =>
      Object.fromEntries(COLUMNS.map(({ key, read }, i) => [key, read(fields[i] ?? "")])) as unknown as Measurement,
  );
}

function parse(content: string): string[][] {
  const records: string[][] = [];
  let fields: string[] = [];
  let field = "";
  let quoted = false;
  for (let i = 0; i < content.length; i++) {
    const c = content[i]!;
    if (quoted) {
      if (c !== '"') field += c;
      else if (content[i + 1] === '"') field += content[++i];
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === "," || c === "\n") {
      fields.push(field);
      field = "";
      if (c === "\n") {
        records.push(fields);
        fields = [];
      }
    } else field += c;
  }
  return records;
}
