import { plain } from "./style.js";
import { displayWidth, shorten } from "./width.js";

export interface Column {
  readonly title: string;
  /** "right" holds numbers, which are never cut; "left", the default, holds text, which may be shortened. */
  readonly align?: "left" | "right";
}

/** A text, or one with an end that is kept when the rest is shortened, such as an id behind a title. */
export type Cell = string | { readonly text: string; readonly end: string };

/** An item by its title, its id behind; by its id alone where it has no title. */
export function itemCell(id: string, title: string): Cell {
  return title === "" ? plain(id) : { text: plain(title), end: ` (${plain(id)})` };
}

/** Where the width of the terminal is not known: in pipes and files. */
export const DEFAULT_WIDTH = 80;

const GAP = "  ";
/** Text columns are not made narrower than this; what still does not fit goes below. */
const NARROWEST = 12;

/**
 * Cells in aligned columns, two spaces apart, in at most `width` columns of the screen: the widest texts are shortened
 * first. Where that is not enough, the table goes on below with the columns left, its first column repeated. Only a
 * number can be wider than the screen.
 */
export function formatTable(
  columns: readonly Column[],
  rows: readonly (readonly Cell[])[],
  width = DEFAULT_WIDTH,
): string {
  const lines: readonly (readonly Cell[])[] = [columns.map(({ title }) => title), ...rows];
  const natural = columns.map((_, c) =>
    lines.reduce((most, cells) => Math.max(most, cellWidth(cells[c] ?? "", width)), 0),
  );
  const least = columns.map(({ align }, c) => (align === "right" ? natural[c]! : Math.min(natural[c]!, NARROWEST)));
  return bands(least, width)
    .map((band) => {
      const widths = fit(
        band.map((c) => natural[c]!),
        band.map((c) => least[c]!),
        width,
      );
      return lines.map((cells) => line(columns, cells, band, widths)).join("\n");
    })
    .join("\n\n");
}

function line(
  columns: readonly Column[],
  cells: readonly Cell[],
  band: readonly number[],
  widths: readonly number[],
): string {
  return band
    .map((c, place) => {
      const room = widths[place]!;
      const text = shortenCell(cells[c] ?? "", room);
      const padding = " ".repeat(Math.max(0, room - displayWidth(text, room)));
      return columns[c]?.align === "right" ? padding + text : text + padding;
    })
    .join(GAP)
    .trimEnd();
}

/** Which columns stand side by side: as many as fit at their least width, the first in front of each band. */
function bands(least: readonly number[], width: number): number[][] {
  const found: number[][] = [];
  let band: number[] = [];
  let taken = 0;
  for (const c of least.keys()) {
    const more = least[c]! + (band.length === 0 ? 0 : GAP.length);
    if (taken + more <= width || band.length < 2) {
      band.push(c);
      taken += more;
      continue;
    }
    found.push(band);
    band = [0, c];
    taken = least[0]! + GAP.length + least[c]!;
  }
  return [...found, band];
}

/** Widths that fit into `width` together: one limit for all, except that no column is narrowed below its least. */
function fit(natural: readonly number[], least: readonly number[], width: number): number[] {
  const room = width - GAP.length * (natural.length - 1);
  const under = (limit: number): number[] => natural.map((own, c) => Math.min(own, Math.max(limit, least[c]!)));
  const total = (widths: readonly number[]): number => widths.reduce((sum, own) => sum + own, 0);
  let [low, high] = [0, Math.max(...natural)];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (total(under(middle)) <= room) low = middle;
    else high = middle - 1;
  }
  return under(low);
}

function cellWidth(cell: Cell, most: number): number {
  return typeof cell === "string"
    ? displayWidth(cell, most)
    : Math.min(most + 1, displayWidth(cell.text, most) + displayWidth(cell.end, most));
}

function shortenCell(cell: Cell, width: number): string {
  if (typeof cell === "string") return shorten(cell, width);
  const room = width - displayWidth(cell.end, width);
  // An end that would leave nothing of the text is no longer an end.
  return room < Math.min(NARROWEST / 2, displayWidth(cell.text, NARROWEST))
    ? shorten(cell.text + cell.end, width)
    : shorten(cell.text, room) + cell.end;
}
