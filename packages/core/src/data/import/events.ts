import type { Random } from "../../base/random.js";

/** Events as the file gives them, ids coded by first appearance; columns of equal length. */
export interface EventColumns {
  readonly users: Uint32Array;
  readonly items: Uint32Array;
  /** Absent: the file has no times. */
  readonly times?: BigInt64Array;
  /** 1-based data row of the file, or of all files together. */
  readonly rows: Uint32Array;
  /** Which of several files each is of, from 0; absent: there is one. */
  readonly files?: Uint32Array;
}

/** Text ids and their dense codes in order of first appearance. */
export class IdTable {
  readonly #codes = new Map<string, number>();
  readonly ids: string[] = [];

  codeOf(id: string): number {
    let code = this.#codes.get(id);
    if (code === undefined) {
      code = this.ids.length;
      this.#codes.set(id, code);
      this.ids.push(id);
    }
    return code;
  }
}

/**
 * Ids in the order that ties are broken by: as numbers where all of them are digits (equal numbers, such as `7` and
 * `07`, by text), else by code unit.
 */
export function compareIds(ids: Iterable<string>): (a: string, b: string) => number {
  const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  for (const id of ids) if (!/^\d+$/.test(id)) return byText;
  const digits = (id: string): string => id.replace(/^0+(?=\d)/, "");
  return (a, b) => {
    const [x, y] = [digits(a), digits(b)];
    return x.length - y.length || byText(x, y) || byText(a, b);
  };
}

/**
 * How events of one time, or without any, are put in order when the file's order is not to count. Of several files the later
 * comes after the earlier.
 */
export interface DrawnOrder {
  /** [items] place of each item's id among all: what the draw starts from, so that the file's order cannot matter. */
  readonly itemRanks: Uint32Array;
  /** Each file's rows are drawn by themselves: what comes later does not change the order of what was there. */
  randomOf(user: number, file: number): Pick<Random, "shuffle">;
}

export interface OrderedEvents {
  /** Of a repeated (user, item) the earliest only. */
  readonly order: Uint32Array;
  /** What `order` leaves out, in file order. */
  readonly repeated: Uint32Array;
  /** All events in the same order. */
  readonly all: Uint32Array;
}

/**
 * Places of the events by user, each user's by time. Ties, which without times is everything, stay in file order, or
 * are drawn.
 */
export function orderEvents(
  events: EventColumns,
  userCount: number,
  itemCount: number,
  drawn?: DrawnOrder,
): OrderedEvents {
  const { users, items, times, files } = events;
  const { starts, places: all } = byUser(users, userCount);
  const timeOf = (place: number): bigint => times?.[place] ?? 0n;
  const fileOf = (place: number): number => files?.[place] ?? 0;
  const lastOwner = new Uint32Array(itemCount).fill(userCount);
  const order = new Uint32Array(users.length);
  const repeated: number[] = [];
  let kept = 0;
  for (let u = 0; u < userCount; u++) {
    const own = all.subarray(starts[u]!, starts[u + 1]!);
    if (drawn !== undefined) drawTies(own, { timeOf, fileOf, items }, drawn, u);
    else if (times !== undefined && !isOrdered(own, times)) {
      // Places ascend with file rows, so they settle ties by file order.
      own.sort((a, b) => (times[a]! < times[b]! ? -1 : times[a]! > times[b]! ? 1 : a - b));
    }
    for (const place of own) {
      const item = items[place]!;
      if (lastOwner[item] === u) {
        repeated.push(place);
        continue;
      }
      lastOwner[item] = u;
      order[kept++] = place;
    }
  }
  return { order: order.slice(0, kept), repeated: Uint32Array.from(repeated).sort(), all };
}

/** Places grouped by user, each user's in file order: user u holds `places[starts[u] .. starts[u + 1])`. */
export function byUser(
  users: Uint32Array,
  userCount: number,
): { readonly starts: Uint32Array; readonly places: Uint32Array } {
  const starts = new Uint32Array(userCount + 1);
  for (const user of users) starts[user + 1]!++;
  for (let u = 0; u < userCount; u++) starts[u + 1]! += starts[u]!;
  const places = new Uint32Array(users.length);
  const next = starts.slice();
  users.forEach((user, place) => {
    places[next[user]!++] = place;
  });
  return { starts, places };
}

function drawTies(
  own: Uint32Array,
  events: {
    readonly timeOf: (place: number) => bigint;
    readonly fileOf: (place: number) => number;
    readonly items: Uint32Array;
  },
  { itemRanks, randomOf }: DrawnOrder,
  user: number,
): void {
  const { timeOf, fileOf, items } = events;
  own.sort((a, b) => {
    const [x, y] = [timeOf(a), timeOf(b)];
    if (x !== y) return x < y ? -1 : 1;
    return fileOf(a) - fileOf(b) || itemRanks[items[a]!]! - itemRanks[items[b]!]! || a - b;
  });
  const randoms = new Map<number, Pick<Random, "shuffle">>();
  for (let from = 0; from < own.length; ) {
    let to = from + 1;
    const file = fileOf(own[from]!);
    while (to < own.length && timeOf(own[to]!) === timeOf(own[from]!) && fileOf(own[to]!) === file) to++;
    const random = randoms.get(file) ?? randomOf(user, file);
    randoms.set(file, random);
    if (to - from > 1) random.shuffle(own.subarray(from, to));
    from = to;
  }
}

function isOrdered(places: Uint32Array, times: BigInt64Array): boolean {
  for (let i = 1; i < places.length; i++) if (times[places[i]!]! < times[places[i - 1]!]!) return false;
  return true;
}

export type CoreMode = "iterative_kcore" | "single_pass" | "none";

/**
 * Which of the ordered events stay when users and items with fewer than `minimum` of them go: repeatedly until nothing
 * changes (a true k-core), or once, items first and then users (the ComiRec preprocessing: not a true core).
 */
export function coreFilter(
  events: EventColumns,
  order: Uint32Array,
  sizes: { readonly users: number; readonly items: number },
  minimum: number,
  mode: CoreMode,
): Uint32Array {
  if (mode === "none") return order;
  const keep = (places: Uint32Array, codes: Uint32Array, size: number): Uint32Array => {
    const counts = new Uint32Array(size);
    for (const place of places) counts[codes[place]!]!++;
    return places.filter((place) => counts[codes[place]!]! >= minimum);
  };
  if (mode === "single_pass") {
    return keep(keep(order, events.items, sizes.items), events.users, sizes.users);
  }
  let current = order;
  for (;;) {
    const next = keep(keep(current, events.items, sizes.items), events.users, sizes.users);
    if (next.length === current.length) return next;
    current = next;
  }
}
