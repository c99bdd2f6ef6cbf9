import { isMembers, type Literal, literalText, NumberText, parseLiteral } from "./tables/literals.js";

const YEAR_AT_END = /\s*\(((?:1[89]|20|21)\d{2})(?:\s*[-\u2013]\s*\d{0,4})?\)\s*$/;

/**
 * Takes a release year at the end, as in `Heat (1995)`, out of a title. It is strong metadata of its own: left in the
 * text, every reading of the title by a language model would carry it in disguise.
 */
export function splitTitle(text: string): { readonly title: string; readonly year?: number } {
  const title = text.trim();
  const match = YEAR_AT_END.exec(title);
  if (match === null || match.index === 0) return { title };
  return { title: title.slice(0, match.index), year: Number(match[1]) };
}

/**
 * Categories of one cell: separated text, or a JSON array or Python list, whose texts are categories as they stand.
 * Lists may be nested (as Amazon's are), and hold objects that carry a name (as Steam's and TMDB's do);
 * `(no genres listed)`, `NULL` and the like are none.
 */
export function splitCategories(text: string, separator: string): string[] {
  if (/^\s*(?:\\N|null|nan|none)\s*$/i.test(text)) return [];
  const parts = literalTexts(text) ?? text.split(separator);
  const named = parts.map((part) => part.trim()).filter((part) => part !== "" && !/^\(no .*listed\)$/i.test(part));
  return [...new Set(named)];
}

/** Separators that lists of categories have in the wild. */
const SEPARATORS = ["|", ", ", ",", ";", "/"];

/**
 * The separator that most of a column's cells hold, where no cell holds the given one: their categories would each
 * be one long name. undefined: the given one is in use, or no other is.
 */
export function suspectSeparator(cells: Iterable<string>, separator: string): string | undefined {
  const counts = new Map(SEPARATORS.map((candidate) => [candidate, 0]));
  let total = 0;
  for (const cell of cells) {
    if (cell.trim() === "" || literalTexts(cell) !== undefined) continue;
    if (cell.includes(separator)) return undefined;
    total++;
    for (const candidate of SEPARATORS) if (cell.includes(candidate)) counts.set(candidate, counts.get(candidate)! + 1);
  }
  const [likeliest = "", count = 0] = [...counts].reduce((a, b) => (b[1] > a[1] ? b : a));
  return count > total / 2 ? likeliest : undefined;
}

/** The texts of a JSON or Python collection; undefined: the cell is no collection. */
function literalTexts(text: string): string[] | undefined {
  const cell = text.trim();
  if (!/^[[{(]/.test(cell)) return undefined;
  const value = parseLiteral(cell);
  return value === undefined ? undefined : textsOf(value);
}

/** The texts of a JSON or Python list; undefined: the cell is none. */
export function listTexts(text: string): string[] | undefined {
  if (!/^\s*[[{(]/.test(text)) return undefined;
  const value = parseLiteral(text);
  return Array.isArray(value) ? textsOf(value) : undefined;
}

/** What an object goes by, likeliest first. */
const NAME_KEYS = ["name", "title", "label", "description", "value", "category", "genre", "tag", "text"];

function textsOf(value: Literal): string[] {
  if (value === null || typeof value === "boolean") return [];
  if (typeof value === "string") return [value];
  if (value instanceof NumberText) return [value.text];
  if (!isMembers(value)) return value.flatMap(textsOf);
  for (const key of NAME_KEYS) {
    const name = value.get(key) ?? value.get(key[0]!.toUpperCase() + key.slice(1));
    if (typeof name === "string") return [name];
  }
  const members = [...value];
  const isCount = (member: Literal): boolean => typeof member === "boolean" || member instanceof NumberText;
  // Names under ids are the values; tags with their counts or flags are named by the keys.
  if (!members.every(([, member]) => isCount(member))) {
    return members.flatMap(([, member]) => (isCount(member) ? [] : textsOf(member)));
  }
  const id = value.get("id");
  if (id instanceof NumberText) return [id.text];
  return members.filter(([, member]) => member !== false && Number(literalText(member)) !== 0).map(([key]) => key);
}
