import { PrismrecError } from "../../base/errors.js";
import type { Drop, DropReason } from "../report.js";

type Example = Drop["examples"][number];

/** Reasons that lie in the row itself, not in a protocol or a filter that was asked for. */
const UNREADABLE: ReadonlySet<DropReason> = new Set([
  "malformed",
  "missing-user",
  "missing-item",
  "bad-timestamp",
  "bad-rating",
]);
const WARN_SHARE = 0.02;
const REFUSE_SHARE = 0.5;
const EXAMPLES = 5;
const SHOWN = 3;

/** Counts the rows that did not become events or items, by file and reason, and keeps the first few of each. */
export class DropCounter {
  readonly #drops = new Map<string, { drop: Omit<Drop, "count" | "examples">; count: number; examples: Example[] }>();

  add(file: Drop["file"], reason: DropReason, row: number, text: string): void {
    this.addCounted(file, reason, 1, [{ row, text }]);
  }

  addAll(file: Drop["file"], reason: DropReason, places: ArrayLike<number>, example: (place: number) => Example): void {
    const first = Array.from({ length: Math.min(places.length, EXAMPLES) }, (_, i) => example(places[i]!));
    this.addCounted(file, reason, places.length, first);
  }

  /** `count` rows, the first of which are `examples`. */
  addCounted(file: Drop["file"], reason: DropReason, count: number, examples: readonly Example[]): void {
    if (count === 0) return;
    const key = `${file} ${reason}`;
    const entry = this.#drops.get(key) ?? { drop: { file, reason }, count: 0, examples: [] };
    this.#drops.set(key, entry);
    entry.count += count;
    for (const { row, text } of examples.slice(0, EXAMPLES - entry.examples.length)) {
      entry.examples.push({ row, text: text.slice(0, 80) });
    }
  }

  /** Rows of any file that were dropped for a reason. */
  count(reason: DropReason): number {
    return this.list().reduce((sum, drop) => sum + (drop.reason === reason ? drop.count : 0), 0);
  }

  /** Adds what another has counted. */
  take(other: DropCounter): void {
    for (const { file, reason, count, examples } of other.list()) this.addCounted(file, reason, count, examples);
  }

  list(): Drop[] {
    return [...this.#drops.values()].map(({ drop, count, examples }) => ({ ...drop, count, examples }));
  }

  /**
   * What is to be said of a file's unreadable rows: nothing up to 2 %, a warning above, and DATA_FORMAT with three of
   * them above a half, because then the file was misread rather than damaged.
   */
  judge(file: Drop["file"], path: string, rowsRead: number): readonly string[] {
    const bad = this.list().filter((drop) => drop.file === file && UNREADABLE.has(drop.reason));
    const count = bad.reduce((sum, drop) => sum + drop.count, 0);
    if (count <= WARN_SHARE * rowsRead) return [];
    const reasons = bad.map((drop) => `${drop.count} ${drop.reason}`).join(", ");
    const shown = bad
      .flatMap(({ reason, examples }) => examples.map((example) => ({ ...example, reason })))
      .sort((a, b) => a.row - b.row)
      .slice(0, SHOWN)
      .map(({ row, text, reason }) => `row ${row} (${reason}): ${text}`);
    if (count > REFUSE_SHARE * rowsRead) {
      throw new PrismrecError("DATA_FORMAT", `${path}: most rows cannot be read`, {
        expected: "rows with a user, an item and, where there is a time column, a readable time",
        received: `${rowsRead} rows, dropped: ${reasons}\n${shown.join("\n")}`,
        hint: advice(bad),
      });
    }
    const share = ((100 * count) / rowsRead).toFixed(1);
    return [`${count} of ${rowsRead} rows of ${file} (${share} %) cannot be used: ${reasons}; ${shown.join("; ")}`];
  }
}

function advice(bad: readonly Drop[]): string {
  const [worst] = [...bad].sort((a, b) => b.count - a.count);
  switch (worst?.reason) {
    case "bad-timestamp":
      return (
        "Times may be Unix times (seconds to nanoseconds, with or without a fraction), ISO 8601 or other dates with a " +
        "year; a zone is UTC, GMT or an offset such as +02:00. Name another column with --time-column, or go without times with --time-column none."
      );
    case "missing-user":
      return "Name the column of the user's id with --user-column (columns.userId in a users file).";
    case "missing-item":
      return "Name the column of the item's id with --item-column, or --item-id in the items file.";
    default:
      return "Check that the file has a header line, one row a line, and one delimiter throughout.";
  }
}
