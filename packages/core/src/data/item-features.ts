import type { CsrMatrix } from "../base/matrix.js";
import type { Item } from "./types.js";

/** One that a single item has ties it to no other. */
const LEAST_ITEMS = 2;

/**
 * What the items file says of each item, as weighted features: its categories, one column each, and the words of its
 * title as TF-IDF, the year among them. A feature weighs its count times log(1 + N / n) where n of the N items have it;
 * features of a single item are left out. Categories and title form a block each, scaled to unit length, so that a long
 * title weighs no more than one category. [N, F], row i belongs to dense id i + 1; a row without features is empty.
 *
 * @param items [N + 1] as in a catalog, the padding entry first
 */
export function itemFeatures(items: readonly Item[]): CsrMatrix {
  const blocks = [
    countsOf(items, ({ categories }) => categories),
    countsOf(items, ({ title, year }) => [...wordsOf(title), ...(year === undefined ? [] : [`(${year})`])]),
  ];
  const rows = items.length - 1;
  const indptr = new Uint32Array(rows + 1);
  const indices: number[] = [];
  const values: number[] = [];
  for (let i = 0; i < rows; i++) {
    let firstColumn = 0;
    for (const { counts, columns, weights } of blocks) {
      const own = [...counts[i]!].flatMap(([name, count]): [number, number][] => {
        const column = columns.get(name);
        return column === undefined ? [] : [[column, count * weights[column]!]];
      });
      const norm = Math.hypot(...own.map(([, weight]) => weight));
      for (const [column, weight] of own.sort(([a], [b]) => a - b)) {
        indices.push(firstColumn + column);
        values.push(weight / norm);
      }
      firstColumn += columns.size;
    }
    indptr[i + 1] = indices.length;
  }
  const cols = blocks.reduce((sum, { columns }) => sum + columns.size, 0);
  return { indptr, indices: Uint32Array.from(indices), values: Float32Array.from(values), rows, cols };
}

/** How often each item has each of its features, and column and weight of those that several items have. */
function countsOf(items: readonly Item[], read: (item: Item) => readonly string[]) {
  const counts = items.slice(1).map((item) => {
    const own = new Map<string, number>();
    for (const name of read(item)) own.set(name, (own.get(name) ?? 0) + 1);
    return own;
  });
  const holders = new Map<string, number>();
  for (const own of counts) for (const name of own.keys()) holders.set(name, (holders.get(name) ?? 0) + 1);
  const shared = [...holders].filter(([, n]) => n >= LEAST_ITEMS).sort(([a], [b]) => (a < b ? -1 : 1));
  return {
    counts,
    columns: new Map(shared.map(([name], column) => [name, column])),
    weights: shared.map(([, n]) => Math.log(1 + counts.length / n)),
  };
}

function wordsOf(title: string): string[] {
  return (
    title
      .normalize("NFKC")
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  );
}
