import { describe, expect, it } from "vitest";
import { itemFeatures } from "./item-features.js";
import type { Item } from "./types.js";

const item = (title: string, categories: readonly string[] = [], year?: number): Item => ({
  id: title,
  title,
  categories,
  ...(year === undefined ? {} : { year }),
});
const PADDING = item("");

function rowsOf(items: readonly Item[]): number[][] {
  const { indptr, indices, values, rows, cols } = itemFeatures([PADDING, ...items]);
  return Array.from({ length: rows }, (_, r) => {
    const row = new Array<number>(cols).fill(0);
    for (let at = indptr[r]!; at < indptr[r + 1]!; at++) row[indices[at]!]! += values![at]!;
    return row;
  });
}

describe("itemFeatures", () => {
  it("weighs what several items have by its rarity, a block of categories and one of words, by hand", () => {
    // Columns: Crime, Drama | (1995), heat, the. "Rare" and "quiet" stand at one item and are left out.
    const rows = rowsOf([
      item("The HEAT, the heat", ["Drama", "Crime"], 1995),
      item("Quiet heat", ["Crime", "Rare"]),
      item("the", ["Drama"], 1995),
      item("The", ["Drama"]),
    ]);
    const [two, three] = [Math.log(1 + 4 / 2), Math.log(1 + 4 / 3)];
    const categories = Math.hypot(two, three);
    const words = Math.hypot(two, 2 * two, 2 * three);
    const expected = [
      [two / categories, three / categories, two / words, (2 * two) / words, (2 * three) / words],
      [1, 0, 0, 1, 0],
      [0, 1, two / Math.hypot(two, three), 0, three / Math.hypot(two, three)],
      [0, 1, 0, 0, 1],
    ];
    for (const [r, row] of rows.entries()) {
      for (const [c, value] of row.entries()) expect(value, `${r}, ${c}`).toBeCloseTo(expected[r]![c]!, 6);
    }
  });

  it("tells a year from a number in a title, and a word of any script from another", () => {
    const rows = rowsOf([item("1984", [], 1984), item("1984"), item("Стая", [], 1984), item("СТАЯ!")]);
    expect(rows[0]!.filter((value) => value > 0)).toHaveLength(2);
    expect(rows[1]!.filter((value) => value > 0)).toHaveLength(1);
    expect(rows[2]!.filter((value) => value > 0)).toHaveLength(2);
    expect(rows[3]!.filter((value) => value > 0)).toHaveLength(1);
  });

  it("leaves items of which nothing is known without features, and does with no items", () => {
    expect(rowsOf([item(""), item("alone", ["only"])])).toEqual([[], []]);
    expect(itemFeatures([PADDING])).toMatchObject({ rows: 0, cols: 0 });
  });
});
