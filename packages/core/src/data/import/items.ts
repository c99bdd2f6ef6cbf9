import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { ITEM_COLUMNS } from "../columns.js";
import type { DropReason } from "../report.js";
import type { Item } from "../types.js";
import { CellTable, furtherColumns } from "./cells.js";
import { findColumn, idColumn } from "./columns.js";
import type { DropCounter } from "./drops.js";
import { isNoText } from "./ids.js";
import type { ImportOptions } from "./import.js";
import { splitCategories, splitTitle, suspectSeparator } from "./item-text.js";
import { openTable } from "./tables/open-table.js";

export interface ItemFile {
  readonly items: ReadonlyMap<string, Item>;
  /** Every further column, for the items of the events: row c + 1 is the item of code c. */
  readonly cells: CellTable;
  readonly rowsRead: number;
  readonly format: string;
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
  readonly columns: { readonly itemId: string; readonly title?: string; readonly categories?: string };
}

/** Category cells that are looked through for another separator. */
const SEPARATOR_SAMPLE = 10_000;

/**
 * Reads an items file; rows without an id, and later rows of an item, go to `drops`.
 *
 * @param itemIds ids of the events' items by code: the further columns of other items are not kept
 */
export async function readItems(
  connection: DuckDBConnection,
  options: ImportOptions,
  separator: string,
  itemColumn: string,
  itemIds: readonly string[],
  drops: DropCounter,
  run: RunOptions,
): Promise<ItemFile | undefined> {
  const path = options.items;
  if (path === undefined) return undefined;
  const table = await openTable(connection, path);
  const id = idColumn(path, table.columns, "item", options.columns?.itemId, itemColumn);
  const optional = {
    title: findColumn(path, table.columns, "title", options.columns?.title),
    categories: findColumn(path, table.columns, "categories", options.columns?.categories),
    year: findColumn(path, table.columns, "year", options.columns?.year),
  };
  // A title under another name is kept under that too: there it stands as it was written, with its year.
  const played = new Set([id]);
  for (const role of ["title", "categories", "year"] as const) if (optional[role] === role) played.add(role);
  const further = furtherColumns(table.columns, played, ITEM_COLUMNS);
  const cellTable = new CellTable(
    further.map(({ source, name }) => ({ name, ...(source === optional.categories ? { separator } : {}) })),
    itemIds.length,
  );
  const codes = new Map(itemIds.map((itemId, code) => [itemId, code]));
  const roles = Object.values(optional).filter((column) => column !== undefined);
  const chosen = [...new Set([id, ...roles, ...further.map(({ source }) => source)])];
  const place = (column: string | undefined): number => (column === undefined ? -1 : chosen.indexOf(column));
  const places = { title: place(optional.title), categories: place(optional.categories), year: place(optional.year) };
  const furtherPlaces = further.map(({ source }) => chosen.indexOf(source));
  const items = new Map<string, Item>();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  const categoryCells: string[] = [];
  let ordinal = 0;
  // A title and categories may be missing, at the end of the row too.
  for await (const cells of table.read(chosen, run.signal, 1)) {
    const rows = cells[0]?.length ?? 0;
    for (let r = 0; r < rows; r++) {
      ordinal++;
      const itemId = textOf(cells[0]?.[r]);
      const titleCell = textOf(cells[places.title]?.[r]);
      const fullTitle = isNoText(titleCell) ? "" : titleCell;
      if (itemId === "" || items.has(itemId)) {
        const reason = itemId === "" ? "missing-item" : "duplicate-item";
        pending.push({ reason, ordinal, text: `${itemId}, ${fullTitle}` });
        continue;
      }
      const { title, year: titleYear } = splitTitle(fullTitle);
      const yearCell = textOf(cells[places.year]?.[r]);
      const year = /^\d{4}$/.test(yearCell) ? Number(yearCell) : titleYear;
      const categoryCell = textOf(cells[places.categories]?.[r]);
      if (categoryCells.length < SEPARATOR_SAMPLE) categoryCells.push(categoryCell);
      const categories = splitCategories(categoryCell, separator);
      const code = codes.get(itemId);
      if (code !== undefined) {
        for (const [c, at] of furtherPlaces.entries()) cellTable.put(code + 1, c, textOf(cells[at]?.[r]));
      }
      items.set(itemId, { id: itemId, title, categories, ...(year === undefined ? {} : { year }) });
    }
  }
  const malformed = table.malformed();
  drops.addCounted("items", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("items", reason, table.rowOf(at), text);
  if (items.size === 0) {
    throw new PrismrecError("DATA_EMPTY", `${path} holds no items`, {
      expected: "rows with an item id",
      received: `${ordinal} rows without one`,
    });
  }
  const rowsRead = ordinal + malformed.count;
  const suspect = suspectSeparator(categoryCells, separator);
  return {
    items,
    cells: cellTable,
    rowsRead,
    notes: [
      ...table.notes,
      ...further
        .filter(({ source, name }) => source !== name)
        .map(({ source, name }) => `its column "${source}" is kept as "${name}": "${source}" is what was read as that`),
    ],
    warnings: [
      ...drops.judge("items", path, rowsRead),
      ...(suspect === undefined
        ? []
        : [
            `no cell of "${optional.categories}" holds "${separator}" while most hold "${suspect}": ` +
              `--category-separator "${suspect}" takes them apart`,
          ]),
    ],
    format: table.format,
    columns: {
      itemId: id,
      ...(optional.title === undefined ? {} : { title: optional.title }),
      ...(optional.categories === undefined ? {} : { categories: optional.categories }),
    },
  };
}

function textOf(cell: string | null | undefined): string {
  return cell?.trim() ?? "";
}
