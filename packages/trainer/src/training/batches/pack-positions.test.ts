import { createRandom } from "@prismrec/core/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { TrainingSequences } from "../sequences.js";
import {
  countPositions,
  epochBatches,
  packPredictions,
  type SequenceCuts,
  type SequenceSampling,
} from "./pack-positions.js";

const SAMPLING: SequenceSampling = {
  batchSize: 4,
  maxHistory: 6,
  maxClusters: 3,
  positions: 4,
  targets: 2,
  semanticDropout: 0,
};

const ITEMS = 40;

function sequencesOf(
  rows: readonly (readonly number[])[],
  clusters?: readonly (readonly number[])[],
): TrainingSequences {
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, r) => {
    indptr[r + 1] = indptr[r]! + row.length;
  });
  return {
    count: rows.length,
    indptr,
    items: Uint32Array.from(rows.flat()),
    clusters: Int16Array.from(clusters?.flat() ?? rows.flat().map(() => -1)),
  };
}

/** Users with distinct items, so that a place in the sequence can be told from its item. */
const manyUsers = fc
  .array(
    fc.record({
      items: fc.uniqueArray(fc.integer({ min: 1, max: ITEMS }), { minLength: 2, maxLength: 14 }),
      cluster: fc.integer({ min: -1, max: 4 }),
    }),
    { minLength: 1, maxLength: 6 },
  )
  .map((users) =>
    sequencesOf(
      users.map(({ items }) => items),
      users.map(({ items, cluster }) => items.map((item) => (cluster < 0 ? -1 : (item + cluster) % 5))),
    ),
  );

/** Every user once in one batch, cut where an epoch cuts. */
function cutAll(sequences: TrainingSequences, seed: number): SequenceCuts {
  return epochBatches(sequences, { ...SAMPLING, batchSize: sequences.count }, createRandom(seed))[0]!;
}

const rowOf = ({ indptr, indices }: { indptr: Uint32Array; indices: Uint32Array }, r: number) =>
  [...indices.subarray(indptr[r]!, indptr[r + 1]!)].map((column) => column + 1);

describe("packPredictions", () => {
  it("packs a short sequence newest first, without its last event, and lets each position predict what follows it", () => {
    const sequences = sequencesOf([[11, 12, 13, 14]], [[0, 1, 0, 1]]);
    const { batch, targets, prefix } = packPredictions(
      sequences,
      cutAll(sequences, 1),
      SAMPLING,
      ITEMS,
      createRandom(1),
    );
    expect([...batch.items]).toEqual([13, 12, 11]);
    expect([...batch.clusters]).toEqual([0, 1, 0]);
    expect(batch.clusterCount).toBe(2);
    // Three positions exist, a fourth was asked for.
    expect([...batch.positions].sort()).toEqual([-1, 0, 1, 2]);
    const expected = new Map([
      [0, { targets: [14], prefix: [13, 12, 11] }],
      [1, { targets: [13, 14], prefix: [12, 11] }],
      [2, { targets: [12, 13], prefix: [11] }],
      [-1, { targets: [], prefix: [] }],
    ]);
    batch.positions.forEach((position, row) => {
      expect({ targets: rowOf(targets, row), prefix: rowOf(prefix, row) }).toEqual(expected.get(position));
    });
  });

  it("lets each position see its prefix, predict the next G items, and mask what it saw, whatever the users", () => {
    fc.assert(
      fc.property(manyUsers, fc.integer({ min: 0, max: 1000 }), (sequences, seed) => {
        const cuts = cutAll(sequences, seed);
        const { batch, targets, prefix } = packPredictions(sequences, cuts, SAMPLING, ITEMS, createRandom(seed));
        expect(batch.length).toBeLessThanOrEqual(SAMPLING.maxHistory);
        expect(batch.positions.filter((position) => position >= 0)).toHaveLength(countPositions(cuts, SAMPLING));
        expect([targets.cols, prefix.cols]).toEqual([ITEMS, ITEMS]);
        cuts.users.forEach((user, b) => {
          const whole = [...sequences.items.subarray(sequences.indptr[user]!, sequences.indptr[user + 1]!)];
          const own = [...batch.items.subarray(b * batch.length, b * batch.length + batch.lengths[b]!)];
          const end = whole.indexOf(own[0]!) + 1;
          expect(end).toBe(cuts.ends[b]);
          // Newest first, nothing skipped, something left to predict; padding behind.
          expect(own).toEqual(whole.slice(Math.max(0, end - SAMPLING.maxHistory), end).reverse());
          expect(end).toBeLessThan(whole.length);
          expect(
            batch.items.subarray(b * batch.length + own.length, (b + 1) * batch.length).every((id) => id === 0),
          ).toBe(true);
          const used = [...batch.positions.subarray(b * 4, b * 4 + 4)].filter((position) => position >= 0);
          expect(used).toHaveLength(Math.min(4, own.length));
          expect(new Set(used).size).toBe(used.length);
          for (let p = 0; p < 4; p++) {
            const position = batch.positions[b * 4 + p]!;
            const seen = position < 0 ? [] : own.slice(position);
            const next = position < 0 ? [] : whole.slice(end - position, end - position + SAMPLING.targets);
            expect(rowOf(prefix, b * 4 + p)).toEqual(seen);
            expect(rowOf(targets, b * 4 + p)).toEqual(next);
            if (position >= 0) expect(next.length).toBeGreaterThan(0);
          }
        });
      }),
    );
  });

  it("carries the clusters of the events it carries alone, those beyond the model's room as none", () => {
    fc.assert(
      fc.property(manyUsers, fc.integer({ min: 0, max: 1000 }), (sequences, seed) => {
        const { users, ends } = cutAll(sequences, seed);
        const { batch } = packPredictions(sequences, { users, ends }, SAMPLING, ITEMS, createRandom(seed));
        const kept = Array.from(batch.clusters);
        batch.items.forEach((item, i) => {
          const user = users[Math.floor(i / batch.length)]!;
          const [from, to] = [sequences.indptr[user]!, sequences.indptr[user + 1]!];
          const at = from + sequences.items.subarray(from, to).indexOf(item);
          const given = item === 0 ? -1 : sequences.clusters[at]!;
          expect(kept[i]).toBe(given >= SAMPLING.maxClusters ? -1 : given);
        });
        expect(batch.clusterCount).toBe(Math.max(-1, ...kept) + 1);
      }),
    );
  });

  it("hides all clusters of the share of users that semantic dropout names", () => {
    const users = 400;
    const rows = Array.from({ length: users }, () => [1, 2, 3]);
    const sequences = sequencesOf(
      rows,
      rows.map(() => [0, 1, 1]),
    );
    const all = cutAll(sequences, 1);
    const clustersAt = (semanticDropout: number) =>
      packPredictions(sequences, all, { ...SAMPLING, semanticDropout }, ITEMS, createRandom(1)).batch.clusters;
    const some = clustersAt(0.3);
    const shown = Array.from({ length: users }, (_, user) => [...some.subarray(user * 2, user * 2 + 2)]);
    expect(shown.every(([a, b]) => (a === -1 && b === -1) || (a === 1 && b === 0))).toBe(true);
    const hidden = shown.filter(([a]) => a === -1).length;
    // Binomial(400, .3): mean 120, standard deviation 9.2.
    expect(Math.abs(hidden - 120)).toBeLessThan(46);
    expect(clustersAt(1).every((cluster) => cluster === -1)).toBe(true);
  });

  it("cuts a sequence longer than the model reads at random places, so that old events are learned from too", () => {
    const sequences = sequencesOf([Array.from({ length: 30 }, (_, i) => i + 1)]);
    const seen = new Set<number>();
    for (let seed = 0; seed < 60; seed++) {
      const cuts = cutAll(sequences, seed);
      const { targets } = packPredictions(sequences, cuts, SAMPLING, ITEMS, createRandom(seed));
      for (const column of targets.indices) seen.add(column + 1);
    }
    expect(seen.size).toBeGreaterThan(25);
    expect(seen.has(30)).toBe(true);
    expect(seen.has(1)).toBe(false);
  });
});

describe("epochBatches", () => {
  const sequences = sequencesOf(
    Array.from({ length: 37 }, (_, user) => Array.from({ length: 2 + (user % 12) }, (_, i) => i + 1)),
  );

  it("takes each user once, in batches of the wanted size but one", () => {
    const batches = epochBatches(sequences, SAMPLING, createRandom(3));
    expect(batches.flatMap(({ users }) => [...users]).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 37 }, (_, u) => u),
    );
    expect(batches.map(({ users }) => users.length).sort((a, b) => a - b)).toEqual([1, ...Array<number>(9).fill(4)]);
    for (const { users, ends } of batches) expect(ends).toHaveLength(users.length);
  });

  it("repeats itself with the generator and is another order with another", () => {
    const order = (seed: number) =>
      epochBatches(sequences, SAMPLING, createRandom(seed)).map(({ users, ends }) => [[...users], [...ends]]);
    expect(order(1)).toEqual(order(1));
    expect(order(1)).not.toEqual(order(2));
  });

  it("pads at most 15 % of what a step reads, whatever the lengths, and mixes users from epoch to epoch", () => {
    // Lengths as logs have them: many of five, few of hundreds.
    const random = createRandom(5);
    const lengths = Array.from({ length: 3000 }, () => Math.round(5 + 8 * (1 / (1 - random.uniform() * 0.97) - 1)));
    const long = sequencesOf(lengths.map((length) => Array.from({ length }, (_, i) => (i % ITEMS) + 1)));
    const sampling = { ...SAMPLING, batchSize: 64, maxHistory: 50 };
    const met = new Set<number>();
    for (let epoch = 0; epoch < 3; epoch++) {
      let padded = 0;
      let read = 0;
      for (const cuts of epochBatches(long, sampling, createRandom(epoch))) {
        const { batch } = packPredictions(long, cuts, sampling, ITEMS, createRandom(epoch));
        read += batch.items.length;
        padded += batch.items.length - batch.lengths.reduce((sum, own) => sum + own, 0);
        if (cuts.users.includes(0)) for (const user of cuts.users) met.add(user);
      }
      expect(padded / read).toBeLessThan(0.15);
    }
    // Three batches of 64 with user 0 in common: the same company every time would be 64.
    expect(met.size).toBeGreaterThan(150);
  });
});
