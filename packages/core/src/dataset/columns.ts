import { PrismrecError } from "../errors/errors.js";

export type ColumnRole = "user" | "item" | "timestamp" | "title" | "categories" | "year";

/** Names that a column of each role goes by, likeliest first; case, blanks, `_` and `-` do not matter. */
const NAMES: Readonly<Record<ColumnRole, readonly string[]>> = {
  user: ["user", "userid", "uid", "customerid", "customer", "reviewerid", "visitorid", "memberid", "member"],
  item: [
    ...["item", "itemid", "iid", "movieid", "movie", "bookid", "book", "productid", "product", "parentasin", "asin"],
    ...["isbn", "trackid", "track", "songid", "artistid", "artist", "videoid", "articleid", "newsid", "gameid", "id"],
  ],
  timestamp: ["timestamp", "time", "ts", "datetime", "date", "eventtime", "unixtime", "unixreviewtime", "createdat"],
  title: ["title", "name", "itemtitle", "itemname", "movietitle", "productname", "text"],
  categories: ["categories", "category", "genres", "genre", "tags", "tag"],
  year: ["year", "releaseyear"],
};

const plain = (name: string): string => name.toLowerCase().replace(/[\s_-]/g, "");

/**
 * The column that plays `role`: the one that was named, else the first that goes by one of the role's usual names, else
 * undefined. A named column that is not there is DATA_FORMAT.
 */
export function findColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  named: string | undefined,
): string | undefined {
  if (named !== undefined) {
    if (columns.includes(named)) return named;
    throw missingColumn(path, columns, role, `a column "${named}"`);
  }
  for (const name of NAMES[role]) {
    const found = columns.find((column) => plain(column) === name);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** `findColumn` for a role that cannot be done without. */
export function requireColumn(
  path: string,
  columns: readonly string[],
  role: ColumnRole,
  named: string | undefined,
): string {
  const found = findColumn(path, columns, role, named);
  if (found === undefined) throw missingColumn(path, columns, role, `one of: ${NAMES[role].slice(0, 6).join(", ")}`);
  return found;
}

function missingColumn(path: string, columns: readonly string[], role: ColumnRole, expected: string): PrismrecError {
  return new PrismrecError("DATA_FORMAT", `${path} has no ${role} column`, {
    expected,
    received: `columns ${columns.map((column) => `"${column.slice(0, 40)}"`).join(", ")}`.slice(0, 400),
    hint: "Give the file a header line, or name its columns.",
  });
}
