import type { Item } from "@prismrec/core/data";

/** Whether a release year is left in the title: it says a lot that has nothing to do with meaning. */
export type TextMode = "without-year" | "with-year";

const YEAR = /\s*\((?:\d{4}(?:[-–]\d{0,4})?)\)\s*$/;
const TRAILING_ARTICLE = /^(.+), (The|A|An|Le|La|Les|El|Il|Der|Die|Das)$/;
const LONGEST = 160;

/** Names in brackets that chat templates set roles off with, such as [INST]. */
const TEMPLATE_NAME = /\[(\/?[A-Z_]{2,})\]/g;

/**
 * A text that somebody else wrote, as it may stand in a prompt: on one line, without what sets the parts of a prompt off from one
 * another (line breaks, double quotes, the marks of chat templates) and without what is not seen (control and format
 * characters, halves of characters, code points that stand for nothing). What is left may say anything, in any language:
 * whoever asks about several texts keeps their answers apart.
 */
export function promptText(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}\s]+/gu, " ")
    .normalize("NFC")
    .replaceAll('"', "'")
    .replaceAll("<", "‹")
    .replaceAll(">", "›")
    .replace(TEMPLATE_NAME, "($1)")
    .trim();
}

/**
 * What a language model reads of an item: its title as a `promptText`, a trailing article put back in front, at most 160
 * UTF-16 units.
 */
export function itemText(item: Item, mode: TextMode): string {
  const line = promptText(item.title);
  const year = YEAR.exec(line)?.[0].trim();
  const bare = line.replace(YEAR, "").replace(TRAILING_ARTICLE, "$2 $1").trim();
  const title = bare === "" ? line : bare;
  const text = mode === "with-year" && year !== undefined && bare !== "" ? `${title} ${year}` : title;
  if (text.length <= LONGEST) return text;
  // Not between the halves of a character.
  const end = /[\uD800-\uDBFF]/.test(text[LONGEST - 2]!) ? LONGEST - 2 : LONGEST - 1;
  return `${text.slice(0, end).trimEnd()}…`;
}
