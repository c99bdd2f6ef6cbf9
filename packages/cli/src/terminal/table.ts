export interface Column {
  readonly title: string;
  readonly align?: "left" | "right";
}

/** Cells in aligned columns, two spaces apart; widths count code points. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const width = columns.map(({ title }, c) => Math.max(length(title), ...rows.map((row) => length(row[c] ?? ""))));
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align = "left" }, c) => {
        const text = cells[c] ?? "";
        const padding = " ".repeat(width[c]! - length(text));
        return align === "left" ? text + padding : padding + text;
      })
      .join("  ")
      .trimEnd();
  return [line(columns.map(({ title }) => title)), ...rows.map(line)].join("\n");
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colour codes take no room on the screen
const COLOUR = /\u001b\[[0-9;]*m/g;

function length(text: string): number {
  return [...text.replace(COLOUR, "")].length;
}
