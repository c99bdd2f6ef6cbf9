import { basename } from "node:path";
import type { DuckDBConnection } from "@duckdb/node-api";
import { PrismrecError } from "../../base/errors.js";
import type { RunOptions } from "../../base/run-options.js";
import { ITEM_COLUMNS } from "../columns.js";
import type { DropReason } from "../report.js";
import type { Item } from "../types.js";
import { type CellColumn, CellTable, furtherColumns } from "./cells.js";
import { findColumn, idColumn } from "./columns.js";
import { DropCounter } from "./drops.js";
import { isNoText } from "./ids.js";
import type { ImportOptions } from "./import.js";
import { splitCategories, splitTitle, suspectSeparator } from "./item-text.js";
import { pathsOf } from "./spool-inputs.js";
import { openTable } from "./tables/open-table.js";
import type { Table } from "./tables/table.js";

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
 * Reads the items files; rows without an id, and later rows of an item in one file, go to `drops`. A row of a later file takes
 * the place of the item's in an earlier one, in the columns that the file has.
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
  const files: OpenItems[] = [];
  for (const path of pathsOf(options.items)) {
    files.push(await openItems(connection, path, options, itemColumn));
  }
  const [first] = files;
  if (first === undefined) return undefined;
  // Under one name they are one column, whichever file it stands in.
  const columns = new Map<string, CellColumn>();
  for (const { further, optional } of files) {
    for (const { source, name } of further) {
      if (!columns.has(name)) columns.set(name, { name, ...(source === optional.categories ? { separator } : {}) });
    }
  }
  const cells = new CellTable([...columns.values()], itemIds.length);
  const context: ItemReading = {
    separator,
    cells,
    places: new Map([...columns.keys()].map((name, c) => [name, c])),
    codes: new Map(itemIds.map((itemId, code) => [itemId, code])),
    items: new Map(),
    run,
  };
  const notes: string[] = [];
  const warnings: string[] = [];
  let rowsRead = 0;
  for (const file of files) {
    const own = new DropCounter();
    const read = await readItemFile(file, context, own);
    rowsRead += read.rowsRead;
    notes.push(...read.notes);
    warnings.push(...own.judge("items", file.table.path, read.rowsRead), ...read.warnings);
    drops.take(own);
  }
  return {
    items: context.items,
    cells,
    rowsRead,
    notes,
    warnings,
    format: first.table.format,
    columns: {
      itemId: first.id,
      ...(first.optional.title === undefined ? {} : { title: first.optional.title }),
      ...(first.optional.categories === undefined ? {} : { categories: first.optional.categories }),
    },
  };
}

/** An items file with what its columns are taken for. */
interface OpenItems {
  readonly table: Table;
  readonly id: string;
  readonly optional: { readonly title?: string; readonly categories?: string; readonly year?: string };
  readonly further: ReturnType<typeof furtherColumns>;
}

async function openItems(
  connection: DuckDBConnection,
  path: string,
  options: ImportOptions,
  itemColumn: string,
): Promise<OpenItems> {
  const table = await openTable(connection, path);
  const id = idColumn(path, table.columns, "item", options.columns?.itemId, itemColumn);
  const found = (["title", "categories", "year"] as const).flatMap((role) => {
    const column = findColumn(path, table.columns, role, options.columns?.[role]);
    return column === undefined ? [] : [[role, column] as const];
  });
  // A title under another name is kept under that too: there it stands as it was written, with its year.
  const played = new Set([id, ...found.flatMap(([role, column]) => (role === column ? [column] : []))]);
  const further = furtherColumns(table.columns, played, ITEM_COLUMNS);
  return { table, id, optional: Object.fromEntries(found), further };
}

/** What the items files are read into. */
interface ItemReading {
  readonly separator: string;
  readonly cells: CellTable;
  /** Of each further column in `cells`. */
  readonly places: ReadonlyMap<string, number>;
  /** Of the events' items. */
  readonly codes: ReadonlyMap<string, number>;
  readonly items: Map<string, Item>;
  readonly run: RunOptions;
}

async function readItemFile(
  { table, id, optional, further }: OpenItems,
  { separator, cells: cellTable, places: cellPlaces, codes, items, run }: ItemReading,
  drops: DropCounter,
): Promise<Pick<ItemFile, "rowsRead" | "notes" | "warnings">> {
  const roles = Object.values(optional);
  const chosen = [...new Set([id, ...roles, ...further.map(({ source }) => source)])];
  const place = (column: string | undefined): number => (column === undefined ? -1 : chosen.indexOf(column));
  const places = { title: place(optional.title), categories: place(optional.categories), year: place(optional.year) };
  const put = further.map(({ source, name }) => [chosen.indexOf(source), cellPlaces.get(name)!] as const);
  const seen = new Set<string>();
  const pending: { readonly reason: DropReason; readonly ordinal: number; readonly text: string }[] = [];
  const categoryCells: string[] = [];
  let ordinal = 0;
  let replaced = 0;
  // A title and categories may be missing, at the end of the row too.
  for await (const cells of table.read(chosen, run.signal, 1)) {
    const rows = cells[0]?.length ?? 0;
    for (let r = 0; r < rows; r++) {
      ordinal++;
      const itemId = textOf(cells[0]?.[r]);
      const titleCell = textOf(cells[places.title]?.[r]);
      const fullTitle = isNoText(titleCell) ? "" : titleCell;
      if (itemId === "" || seen.has(itemId)) {
        const reason = itemId === "" ? "missing-item" : "duplicate-item";
        pending.push({ reason, ordinal, text: `${itemId}, ${fullTitle}` });
        continue;
      }
      seen.add(itemId);
      const { title, year: titleYear } = splitTitle(fullTitle);
      const yearCell = textOf(cells[places.year]?.[r]);
      const year = /^\d{4}$/.test(yearCell) ? Number(yearCell) : titleYear;
      const categoryCell = textOf(cells[places.categories]?.[r]);
      if (categoryCells.length < SEPARATOR_SAMPLE) categoryCells.push(categoryCell);
      const code = codes.get(itemId);
      if (code !== undefined) {
        for (const [at, c] of put) cellTable.put(code + 1, c, textOf(cells[at]?.[r]));
      }
      const former = items.get(itemId);
      if (former !== undefined) replaced++;
      items.set(itemId, {
        id: itemId,
        title: places.title < 0 && former !== undefined ? former.title : title,
        categories:
          places.categories < 0 && former !== undefined ? former.categories : splitCategories(categoryCell, separator),
        ...(year === undefined ? (former?.year === undefined ? {} : { year: former.year }) : { year }),
      });
    }
  }
  const malformed = table.malformed();
  drops.addCounted("items", "malformed", malformed.count, malformed.examples);
  for (const { reason, ordinal: at, text } of pending) drops.add("items", reason, table.rowOf(at), text);
  if (seen.size === 0) {
    throw new PrismrecError("DATA_EMPTY", `${table.path} holds no items`, {
      expected: "rows with an item id",
      received: `${ordinal} rows without one`,
    });
  }
  const suspect = suspectSeparator(categoryCells, separator);
  return {
    rowsRead: ordinal + malformed.count,
    notes: [
      ...table.notes,
      ...further
        .filter(({ source, name }) => source !== name)
        .map(({ source, name }) => `its column "${source}" is kept as "${name}": "${source}" is what was read as that`),
      ...(replaced === 0 ? [] : [`${replaced} rows of ${basename(table.path)} take the place of earlier ones`]),
    ],
    warnings:
      suspect === undefined
        ? []
        : [
            `no cell of "${optional.categories}" holds "${separator}" while most hold "${suspect}": ` +
              `--category-separator "${suspect}" takes them apart`,
          ],
  };
}

function textOf(cell: string | null | undefined): string {
  return cell?.trim() ?? "";
}
