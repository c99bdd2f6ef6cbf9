const NUMBER = /^\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*$/i;

export const isNumber = (text: string): boolean => NUMBER.test(text);

/** Runs of letters and of digits as one sign each: `u05` and `u1234` have the shape `a0`. */
const shapeOf = (text: string): string => text.replace(/\p{L}+/gu, "a").replace(/\d+/g, "0");

/** What the cells of a column have in common. */
export interface ColumnPattern {
  test(cell: string): boolean;
}

/**
 * What all cells of a column look like: numbers, or codes of one shape, as `u05` and `u1234` are. undefined: they have
 * nothing in common, or are fewer than `least`.
 */
export function patternOf(cells: readonly string[], least: number): ColumnPattern | undefined {
  const [first] = cells;
  if (first === undefined || cells.length < least) return undefined;
  if (cells.every(isNumber)) return NUMBER;
  const shape = shapeOf(first.trim());
  const pattern = { test: (cell: string) => shapeOf(cell.trim()) === shape };
  return shape.includes("0") && !/\s/.test(shape) && cells.every(pattern.test) ? pattern : undefined;
}
