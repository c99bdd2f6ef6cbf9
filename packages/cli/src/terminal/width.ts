import stringWidth from "string-width";

const ELLIPSIS = "…";

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes take no room on the screen
const COLOUR = /(\u001b\[[0-9;]*m)/;

const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** What of a text stands in at most `width` columns, and the columns that takes; colour codes are kept throughout. */
function take(
  text: string,
  width: number,
): { readonly kept: string; readonly columns: number; readonly whole: boolean } {
  let [kept, columns, whole] = ["", 0, true];
  for (const piece of text.split(COLOUR)) {
    if (COLOUR.test(piece)) {
      kept += piece;
      continue;
    }
    if (!whole) continue;
    for (const { segment } of graphemes.segment(piece)) {
      const more = stringWidth(segment);
      if (columns + more > width) {
        whole = false;
        break;
      }
      columns += more;
      kept += segment;
    }
  }
  return { kept, columns, whole };
}

/**
 * Columns that a text takes on a terminal: wide characters and emoji two, combining marks and colours none. A text that
 * is wider than `most` counts as one more than that: nobody reads on to its end.
 */
export function displayWidth(text: string, most: number): number {
  const { columns, whole } = take(text, most);
  return whole ? columns : most + 1;
}

/**
 * A text in at most `width` columns: its end gives way to an ellipsis, never half a character. A colour that is opened
 * is closed.
 */
export function shorten(text: string, width: number): string {
  if (take(text, width).whole) return text;
  const pieces = take(text, width - 1);
  // The ellipsis belongs in front of the codes that end the colour.
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes again
  const end = /(?:\u001b\[[0-9;]*m)*$/.exec(pieces.kept)?.index ?? pieces.kept.length;
  return `${pieces.kept.slice(0, end)}${ELLIPSIS}${pieces.kept.slice(end)}`;
}
