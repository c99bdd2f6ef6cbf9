import type { Sample } from "./profile.js";

/** By what a file's rows are sorted where nothing but their order says what came first. */
export interface Sorting {
  readonly column: string;
  readonly descending: boolean;
}

const FEWEST_PAIRS = 20;
/** Of neighbours that differ. Without sorting it is about a half. */
const SORTED_SHARE = 0.95;
/** Columns that hardly ever change between neighbours sort nothing. */
const DIFFERING_SHARE = 0.2;

class Direction {
  #up = 0;
  #down = 0;
  #same = 0;

  add(difference: number): void {
    if (difference > 0) this.#up++;
    else if (difference < 0) this.#down++;
    else this.#same++;
  }

  sorting(column: string): Sorting | undefined {
    const differing = this.#up + this.#down;
    if (differing < FEWEST_PAIRS || differing < DIFFERING_SHARE * (differing + this.#same)) return undefined;
    if (Math.max(this.#up, this.#down) < SORTED_SHARE * differing) return undefined;
    return { column, descending: this.#down > this.#up };
  }
}

/**
 * Whether neighbouring rows of one user, in file order, stand in the order of `ranks`; with times, neighbours of one
 * time only.
 *
 * @param places events by user, each user's in file order
 * @param rankSets [orders][items] places of the item ids in orders that they may be sorted in
 */
export function sortedByItem(
  column: string,
  events: { readonly users: Uint32Array; readonly items: Uint32Array; readonly times?: BigInt64Array },
  places: Uint32Array,
  rankSets: readonly Uint32Array[],
): Sorting | undefined {
  const { users, items, times } = events;
  for (const ranks of rankSets) {
    const direction = new Direction();
    for (let i = 1; i < places.length; i++) {
      const [before, place] = [places[i - 1]!, places[i]!];
      if (users[before] !== users[place]) continue;
      if (times !== undefined && times[before] !== times[place]) continue;
      direction.add(ranks[items[place]!]! - ranks[items[before]!]!);
    }
    const sorting = direction.sorting(column);
    if (sorting !== undefined) return sorting;
  }
  return undefined;
}

/** The same for any other column, judged by the sample. */
export function sortedByColumn(
  sample: Sample,
  roles: { readonly user: string; readonly item: string; readonly timestamp: readonly string[] },
): Sorting | undefined {
  const cellsOf = (column: string): readonly string[] => sample.cells[sample.columns.indexOf(column)] ?? [];
  const users = cellsOf(roles.user);
  const times = roles.timestamp.map(cellsOf);
  const taken = new Set([roles.user, roles.item, ...roles.timestamp]);
  const pairs: [number, number][] = [];
  const last = new Map<string, number>();
  for (let row = 0; row < sample.rows; row++) {
    const user = users[row] ?? "";
    const before = last.get(user);
    last.set(user, row);
    if (before !== undefined && times.every((cells) => cells[before] === cells[row])) pairs.push([before, row]);
  }
  for (const column of sample.columns) {
    if (taken.has(column)) continue;
    const { filled, distinct, timeShare } = sample.profile(column);
    // Times are offered as such, and a number of its own in every row only counts the rows.
    if (timeShare > 0.9 || distinct === filled) continue;
    const cells = cellsOf(column);
    const numeric = sample.profile(column).numericShare > 0.99;
    const direction = new Direction();
    for (const [before, row] of pairs) {
      const [a, b] = [cells[before] ?? "", cells[row] ?? ""];
      direction.add(numeric ? Number(b) - Number(a) : a < b ? 1 : a > b ? -1 : 0);
    }
    const sorting = direction.sorting(column);
    if (sorting !== undefined) return sorting;
  }
  return undefined;
}
