import { createRandom } from "@prismrec/core/base";
import { textColumn } from "@prismrec/core/data";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TrainingSequences } from "../sequences.js";
import { EpochOrder } from "./epoch-order.js";

const START = 1_700_000_000;

/** Every event is known by its weight; gaps are in seconds, from the event before. */
function sequencesOf(gaps: readonly (readonly number[])[], unit = 1): TrainingSequences {
  const indptr = new Uint32Array(gaps.length + 1);
  for (const [r, own] of gaps.entries()) indptr[r + 1] = indptr[r]! + own.length;
  const count = indptr[gaps.length]!;
  const times = gaps.flatMap((own) => {
    let at = START;
    return own.map((gap) => {
      at += gap;
      return BigInt(at) * BigInt(unit);
    });
  });
  return {
    count: gaps.length,
    indptr,
    items: Uint32Array.from({ length: count }, (_, e) => 1 + (e % 7)),
    clusters: Int16Array.from({ length: count }, (_, e) => (e % 4) - 1),
    behaviours: textColumn(Array.from({ length: count }, (_, e) => ["view", "buy", ""][e % 3]!)),
    times: BigInt64Array.from(times),
    weights: Float32Array.from({ length: count }, (_, e) => e),
    profiles: { columns: new Map(), rows: Uint32Array.from(gaps.keys()) },
  };
}

const someGaps = fc.array(fc.array(fc.constantFrom(0, 1, 59, 60, 61, 5000), { minLength: 2, maxLength: 12 }), {
  minLength: 1,
  maxLength: 6,
});

/** Where the events of the draw stood, all that is known of each still beside it. */
function placesOf(given: TrainingSequences, drawn: TrainingSequences): number[] {
  const places = Array.from(drawn.weights!);
  for (const [to, from] of places.entries()) {
    expect([drawn.items[to], drawn.clusters[to], drawn.behaviours!.codes[to], drawn.times![to]]).toEqual([
      given.items[from],
      given.clusters[from],
      given.behaviours!.codes[from],
      given.times![from],
    ]);
  }
  expect([...places].sort((a, b) => a - b)).toEqual(places.map((_, place) => place));
  expect(drawn).toMatchObject({ count: given.count, indptr: given.indptr, profiles: given.profiles! });
  return places;
}

/** The group of each event: its sequence, or its basket of events each within a minute of the one before. */
function groupsOf({ count, indptr, times }: TrainingSequences, minute?: bigint): number[] {
  const groups: number[] = [];
  let group = -1;
  for (let r = 0; r < count; r++) {
    for (let at = indptr[r]!; at < indptr[r + 1]!; at++) {
      if (at === indptr[r] || (minute !== undefined && times![at]! - times![at - 1]! > minute)) group++;
      groups.push(group);
    }
  }
  return groups;
}

describe("EpochOrder", () => {
  it("leaves sequences as they stand unless it is told otherwise", () => {
    const given = sequencesOf([[0, 0, 100]]);
    expect(new EpochOrder(given).draw(createRandom(1))).toBe(given);
    expect(new EpochOrder(given, "given").draw(createRandom(1))).toBe(given);
  });

  it.each([
    ["permuted", undefined],
    ["baskets", 60n],
  ] as const)("moves events inside their group alone, with all that is known of them (%s)", (order, minute) => {
    fc.assert(
      fc.property(someGaps, fc.integer(), (gaps, seed) => {
        const given = sequencesOf(gaps);
        const groups = groupsOf(given, minute);
        const places = placesOf(given, new EpochOrder(given, order).draw(createRandom(seed)));
        expect(places.map((place) => groups[place])).toEqual(groups);
      }),
    );
  });

  it("draws every order of a group, and is a function of the generator, not of the draws before", () => {
    const given = sequencesOf([
      [0, 30, 30],
      [0, 3600],
    ]);
    for (const [order, count] of [
      ["permuted", 12],
      ["baskets", 6],
    ] as const) {
      const epochs = new EpochOrder(given, order);
      const draws = Array.from({ length: 200 }, (_, seed) => epochs.draw(createRandom(seed)).weights!.join());
      expect(new Set(draws).size).toBe(count);
      for (const seed of [150, 3]) {
        expect(epochs.draw(createRandom(seed)).weights!.join()).toBe(draws[seed]);
        expect(new EpochOrder(given, order).draw(createRandom(seed)).weights!.join()).toBe(draws[seed]);
      }
    }
  });

  it("knows a minute in the unit of the times, and none where they are of no unit", () => {
    const moved = (sequences: TrainingSequences): boolean => {
      const order = new EpochOrder(sequences, "baskets");
      return Array.from({ length: 20 }, (_, seed) => order.draw(createRandom(seed))).some(
        ({ weights }) => weights![0] !== 0,
      );
    };
    expect(moved(sequencesOf([[0, 60]], 1000))).toBe(true);
    expect(moved(sequencesOf([[0, 61]], 1000))).toBe(false);
    const days = { ...sequencesOf([[0, 1]]), times: BigInt64Array.of(19_000n, 19_001n) };
    expect(moved(days)).toBe(false);
    expect(moved({ ...days, times: BigInt64Array.of(19_000n, 19_000n) })).toBe(true);
  });

  it("refuses baskets of sequences without times", () => {
    const { times: _, ...given } = sequencesOf([[0, 1]]);
    expect(() => new EpochOrder(given, "baskets")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});
