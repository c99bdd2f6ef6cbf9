/** DuckDB reads `*`, `?` and `[` in a path as a pattern: one-letter classes take them literally. */
export function literalPath(path: string): string {
  return path.replace(/[*?[]/g, (character) => `[${character}]`);
}

export const quoteName = (name: string): string => `"${name.replaceAll('"', '""')}"`;
export const quoteText = (text: string): string => `'${text.replaceAll("'", "''")}'`;
