import type { Item } from "@prismrec/core/data";

/** Whether a release year is left in the title: it says a lot that has nothing to do with meaning. */
export type TextMode = "without-year" | "with-year";

const YEAR = /\s*\((?:\d{4}(?:[-–]\d{0,4})?)\)\s*$/;
const TRAILING_ARTICLE = /^(.+), (The|A|An|Le|La|Les|El|Il|Der|Die|Das)$/;
const LONGEST = 160;

/**
 * What a language model reads of an item: its title on one line, without control characters and quotes, a trailing
 * article put back in front, at most 160 characters.
 */
export function itemText(item: Item, mode: TextMode): string {
  const line = item.title
    .replace(/[\p{Cc}\p{Cf}\s]+/gu, " ")
    .replaceAll('"', "'")
    .trim();
  const year = YEAR.exec(line)?.[0].trim();
  const bare = line.replace(YEAR, "").replace(TRAILING_ARTICLE, "$2 $1").trim();
  const title = bare === "" ? line : bare;
  const text = mode === "with-year" && year !== undefined && bare !== "" ? `${title} ${year}` : title;
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1).trimEnd()}…` : text;
}
