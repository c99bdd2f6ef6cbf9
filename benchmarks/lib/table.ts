import type { Measurement } from "./measurement.js";

export function seconds(value: number): string {
  if (value >= 1) return `${value.toPrecision(3)} s`;
  if (value >= 1e-3) return `${(1e3 * value).toPrecision(3)} ms`;
  return `${(1e6 * value).toPrecision(3)} µs`;
}

export function bytes(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toPrecision(3)} GB`;
  return `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} MB`;
}

/** A case's rows for reading while it runs. */
export function terminalTable(rows: readonly Measurement[]): string {
  return rows
    .map((row) => {
      const ratio = row.ratioToBestPeer === null ? "" : `  ${row.ratioToBestPeer.toFixed(2)}x the best peer`;
      const agrees = row.agrees === false ? `  DISAGREES (${row.agreement})` : "";
      const spread = `${seconds(row.p20Seconds)} to ${seconds(row.p80Seconds)}`;
      const memory = bytes(row.peakExtraBytes);
      return `  ${row.impl.padEnd(18)} ${seconds(row.medianSeconds).padStart(9)} (${spread})  ${memory}${ratio}${agrees}  ${row.configuration}\n`;
    })
    .join("");
}
