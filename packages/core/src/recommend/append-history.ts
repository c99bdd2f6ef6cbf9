import { type TextColumn, textColumn } from "../data/columns.js";
import type { History } from "../data/history.js";

/**
 * A history with further events. Where the history has times they come into its order: an event goes behind those that
 * are not later, and one without a time behind all. What one of the two lacks (kinds, weights) is missing there.
 *
 * @param further its items, and kinds and times where they are known
 */
export function appendHistory(history: History, further: Pick<History, "items" | "events" | "times">): History {
  if (further.items.length === 0) return history;
  const [before, more] = [history.items.length, further.items.length];
  const times = history.times === undefined ? undefined : new BigInt64Array(before + more);
  if (times !== undefined) {
    times.set(history.times!);
    if (further.times === undefined) times.fill(history.times!.at(-1) ?? 0n, before);
    else times.set(further.times, before);
  }
  const order = Uint32Array.from({ length: before + more }, (_, place) => place);
  if (times !== undefined && further.times !== undefined) {
    order.sort((a, b) => (times[a]! < times[b]! ? -1 : times[a]! > times[b]! ? 1 : a - b));
  }
  const item = (place: number): number => history.items[place] ?? further.items[place - before]!;
  const weight = (place: number): number => history.weights![place] ?? Number.NaN;
  const kinds = [...kindsOf(history.events, before), ...kindsOf(further.events, more)];
  return {
    items: order.map(item),
    ...(history.events === undefined && further.events === undefined
      ? {}
      : { events: textColumn(Array.from(order, (place) => kinds[place]!)) }),
    ...(times === undefined ? {} : { times: BigInt64Array.from(order, (place) => times[place]!) }),
    ...(history.weights === undefined ? {} : { weights: Float32Array.from(order, weight) }),
    ...(history.profile === undefined ? {} : { profile: history.profile }),
  };
}

function kindsOf(events: TextColumn | undefined, count: number): string[] {
  if (events === undefined) return new Array<string>(count).fill("");
  return Array.from(events.codes, (code) => events.dictionary[code]!);
}
