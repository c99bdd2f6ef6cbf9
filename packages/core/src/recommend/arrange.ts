import type { ActiveRules, Limit } from "./rules.js";

/**
 * How many of the best items that are left compete for a place where something besides the score counts. It is no share of
 * `k`, so that the pages of a list are together the one long list.
 */
export const COMPETING = 100;

/** Something besides the score that a place goes by. */
export interface Preference {
  /** 0..1: what it counts against all that comes before it. */
  readonly weight: number;
  /** What an item would cost the list as it stands; smaller is better. */
  cost(item: number): number;
  /** Told of every item of the list, in its order. */
  placed(item: number): void;
}

/** What may be listed, the best first: all of it, or the first part. */
export interface Ranked {
  /** Dense ids. */
  readonly ids: ArrayLike<number>;
  /** Descending. */
  readonly scores: ArrayLike<number>;
  /** Whether nothing comes behind them. */
  readonly whole: boolean;
}

export interface Arrangement {
  /** Dense ids, in the order of the list. */
  readonly items: readonly number[];
  /** Those that a pin has put in their place. */
  readonly pinned: ReadonlySet<number>;
  /** Whether the list is the best of what may be listed, by score, in that order. */
  readonly exact: boolean;
  /** By pointer of each rule that made a difference: how many items it put into the list or held back. */
  readonly acted: ReadonlyMap<string, number>;
}

export interface Asked {
  readonly k: number;
  /** Dense ids of the list's earlier pages, in order; none of them is in what is ranked. */
  readonly shown: readonly number[];
  readonly rules: ActiveRules;
  /** Dense ids of pinned items that may be listed. */
  readonly pinnable: ReadonlySet<number>;
  /** Fresh ones: they are told of the pages before and of every place. Empty: the score alone counts. */
  readonly preferences: readonly Preference[];
}

/**
 * Gives out the places of a list one after the other. A pinned item has its place, or the end of a list that does not reach so
 * far. Any other place goes to one of the `COMPETING` best of the items that are left: those that no rule buries, while there are
 * any, and that no limit forbids. With a score scaled to 0..1 over those, a preference of weight w turns the value v of an item
 * into (1 - w) v - w cost, one preference after the other; the largest value has the place, the better score among equals.
 *
 * @returns undefined where what is ranked ends before the places are decided: more of it is needed
 */
export function arrange(ranked: Ranked, asked: Asked): Arrangement | undefined {
  const { k, shown, rules, pinnable, preferences } = asked;
  const pins = rules.pins.filter(({ item, position }) => position > shown.length && pinnable.has(item));
  const fixed = new Map(pins.map((pin) => [pin.position, pin]));
  const pinnedItems = new Set(pins.map(({ item }) => item));
  const counters = rules.limits.map((limit) => new Counter(limit));
  for (const [n, item] of shown.entries()) {
    for (const counter of counters) counter.add(item, n + 1);
    for (const preference of preferences) preference.placed(item);
  }
  for (const { item, position } of pins) for (const counter of counters) counter.add(item, position);
  const competing = preferences.length === 0 ? 1 : COMPETING;
  const taken = new Uint8Array(ranked.ids.length);
  const buried = Array.from(ranked.ids, (item) => rules.buriedBy(item));
  const free = [
    Array.from(buried.keys()).filter((at) => !pinnedItems.has(ranked.ids[at]!) && buried[at] === undefined),
    Array.from(buried.keys()).filter((at) => !pinnedItems.has(ranked.ids[at]!) && buried[at] !== undefined),
  ];
  const items: number[] = [];
  const pinned = new Set<number>();
  const acted = new Map<string, number>();
  const act = (pointer: string): void => {
    acted.set(pointer, (acted.get(pointer) ?? 0) + 1);
  };
  const held = new Map<Counter, Set<number>>();
  const out: [Counter, number][] = [];
  const hold = (counter: Counter, at: number): void => {
    held.set(counter, (held.get(counter) ?? new Set()).add(at));
  };
  const put = (item: number): void => {
    items.push(item);
    for (const preference of preferences) preference.placed(item);
  };
  const pin = ({ item, pointer }: (typeof pins)[number]): void => {
    put(item);
    pinned.add(item);
    act(pointer);
  };
  let deepest = -1;
  while (items.length < k) {
    const position = shown.length + items.length + 1;
    const own = fixed.get(position);
    if (own !== undefined) {
      fixed.delete(position);
      pin(own);
      continue;
    }
    const places: number[] = [];
    const forbidden: [Counter, number][] = [];
    for (const [depth, group] of free.entries()) {
      // What is buried is only known to be all that is left once everything has been ranked.
      if (depth > 0 && (places.length > 0 || !ranked.whole)) break;
      for (const at of group) {
        if (places.length === competing) break;
        if (taken[at] === 1) continue;
        const item = ranked.ids[at]!;
        const counter = counters.find((each) => !each.allows(item, position));
        if (counter === undefined) places.push(at);
        else if (counter.limit.within === undefined) {
          // No later place lets it through either: it is not looked at again.
          taken[at] = 1;
          out.push([counter, at]);
        } else forbidden.push([counter, at]);
      }
    }
    if (places.length < competing && !ranked.whole) return undefined;
    if (places.length === 0) break;
    const best = bestOf(ranked, places, preferences);
    const item = ranked.ids[best]!;
    taken[best] = 1;
    for (const counter of counters) counter.add(item, position);
    if (rules.calibrate !== undefined && preferences.length > 0) {
      if (best !== bestOf(ranked, places, preferences.slice(0, -1))) act(rules.calibrate.pointer);
    }
    for (const [counter, at] of forbidden) if (at < best) hold(counter, at);
    if (buried[best] === undefined) deepest = Math.max(deepest, best);
    put(item);
  }
  for (const late of [...fixed.values()].sort((a, b) => a.position - b.position).slice(0, k - items.length)) pin(late);
  for (const [counter, at] of out) if (at < deepest) hold(counter, at);
  for (const [{ limit }, places] of held) acted.set(limit.pointer, places.size);
  for (const [at, pointer] of buried.slice(0, deepest + 1).entries()) {
    if (pointer !== undefined && !pinned.has(ranked.ids[at]!)) act(pointer);
  }
  const exact = items.length === Math.min(k, ranked.ids.length) && items.every((item, at) => item === ranked.ids[at]);
  return { items, pinned, exact, acted };
}

/** The place, of some that ascend, whose item has the largest value. */
function bestOf({ ids, scores }: Ranked, places: readonly number[], preferences: readonly Preference[]): number {
  const [first] = places as [number, ...number[]];
  if (preferences.length === 0) return first;
  const [high, low] = [scores[first]!, scores[places.at(-1)!]!];
  let [best, most] = [first, -Infinity];
  for (const at of places) {
    let value = high > low ? (scores[at]! - low) / (high - low) : 0;
    for (const preference of preferences) {
      const { weight } = preference;
      value = (1 - weight) * value - weight * preference.cost(ids[at]!);
    }
    if (value > most) [best, most] = [at, value];
  }
  return best;
}

/** Where the values of a limited column stand in a list. */
class Counter {
  /** Ascending positions of each value. */
  readonly #positions = new Map<number, number[]>();

  constructor(readonly limit: Limit) {}

  /** Whether an item at a position leaves every stretch of the list that holds it within the limit. */
  allows(item: number, position: number): boolean {
    const { most, within = Infinity } = this.limit;
    return this.limit.valuesOf(item).every((value) => {
      const positions = this.#positions.get(value) ?? [];
      const before = positionsBefore(positions, position);
      // As if it stood there.
      const nth = (n: number): number => (n === before ? position : positions[n < before ? n : n - 1]!);
      for (let from = Math.max(0, before - most); from <= before && from + most <= positions.length; from++) {
        if (nth(from + most) - nth(from) < within) return false;
      }
      return true;
    });
  }

  add(item: number, position: number): void {
    for (const value of this.limit.valuesOf(item)) {
      const positions = this.#positions.get(value) ?? [];
      this.#positions.set(value, positions);
      positions.splice(positionsBefore(positions, position), 0, position);
    }
  }
}

/** How many of ascending positions come before one. */
function positionsBefore(positions: readonly number[], position: number): number {
  let before = positions.length;
  while (before > 0 && positions[before - 1]! > position) before--;
  return before;
}
