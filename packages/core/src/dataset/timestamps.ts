/** How a file writes its times; decided by the first readable one and kept for the whole file. */
export type TimestampStyle = "integer" | "decimal" | "iso";

/** Times of one file as 64-bit integers that keep the order exactly; nothing passes through a 32-bit float. */
export interface TimestampParser {
  /** undefined: unreadable in the file's style. */
  parse(text: string): bigint | undefined;
  style(): TimestampStyle | undefined;
}

const INTEGER = /^[+-]?\d{1,19}$/;
const DECIMAL = /^([+-]?)(\d{1,12})(?:\.(\d*))?$/;
const ISO =
  /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2})?)(?:[.,](\d{1,9}))?\s*(Z|[+-]\d{2}:?\d{2}|[+-]\d{2})?)?$/i;

/**
 * Integers stay as they are (seconds, milliseconds, any order); decimal seconds and ISO 8601 texts become
 * microseconds since 1970 (a text without a zone is UTC).
 */
export function timestampParser(): TimestampParser {
  let style: TimestampStyle | undefined;
  return {
    style: () => style,
    parse(text) {
      style ??= INTEGER.test(text) ? "integer" : DECIMAL.test(text) ? "decimal" : ISO.test(text) ? "iso" : undefined;
      switch (style) {
        case "integer":
          return parseInteger(text);
        case "decimal":
          return parseDecimal(text);
        case "iso":
          return parseIso(text);
        case undefined:
          return undefined;
      }
    },
  };
}

function parseInteger(text: string): bigint | undefined {
  const whole = /^([+-]?\d{1,19})\.0*$/.exec(text)?.[1] ?? text;
  if (!INTEGER.test(whole)) return undefined;
  const value = BigInt(whole.startsWith("+") ? whole.slice(1) : whole);
  return BigInt.asIntN(64, value) === value ? value : undefined;
}

function parseDecimal(text: string): bigint | undefined {
  const match = DECIMAL.exec(text);
  if (match === null) return undefined;
  const [, sign, seconds = "0", fraction = ""] = match;
  const micros = BigInt(seconds) * 1_000_000n + BigInt(fraction.padEnd(6, "0").slice(0, 6));
  return sign === "-" ? -micros : micros;
}

function parseIso(text: string): bigint | undefined {
  const match = ISO.exec(text);
  if (match === null) return undefined;
  const [, date, time = "00:00", fraction = "", zone = "Z"] = match;
  const offset = /^[+-]\d{2}$/.test(zone) ? `${zone}:00` : zone.replace(/^([+-]\d{2})(\d{2})$/, "$1:$2").toUpperCase();
  const milliseconds = Date.parse(`${date}T${time}${offset}`);
  const [year = 0, month = 0, day = 0] = date?.split("-").map(Number) ?? [];
  // A day that does not exist (31 February) would silently become another one.
  if (Number.isNaN(milliseconds) || new Date(Date.UTC(year, month - 1, day)).getUTCDate() !== day) return undefined;
  return BigInt(milliseconds) * 1000n + BigInt(fraction.padEnd(6, "0").slice(0, 6));
}

/** Units of an integer time a second, judged by the size of a typical value of our age: 1, 1e3, 1e6 or 1e9. */
export function ticksPerSecond(style: TimestampStyle, typical: bigint): number {
  if (style !== "integer") return 1e6;
  const size = typical < 0n ? -typical : typical;
  if (size < 100_000_000_000n) return 1;
  if (size < 100_000_000_000_000n) return 1e3;
  return size < 100_000_000_000_000_000n ? 1e6 : 1e9;
}
