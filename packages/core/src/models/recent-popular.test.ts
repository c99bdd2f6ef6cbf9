import { describe, expect, it } from "vitest";
import { createLog } from "../data/catalog.js";
import type { Dataset } from "../data/types.js";
import { trainingData } from "../testing/training-data.js";
import { fitRecentPopular, recentPopular } from "./recent-popular.js";

/** Item 1 was taken four times a year ago, item 2 twice today, item 3 once a week ago; times of a given unit. */
function dated(ticksPerSecond: bigint): Dataset {
  const data = trainingData(
    [
      [1, 2],
      [1, 2],
      [1, 3],
      [1, 4],
    ],
    4,
  );
  const day = 86_400n * ticksPerSecond;
  const now = 1_700_000_000n * ticksPerSecond;
  const ages = [365n, 0n, 365n, 0n, 365n, 7n, 365n, 30n];
  const { userIds, indptr, items } = data.log;
  const timestamps = BigInt64Array.from(ages, (age) => now - age * day);
  return { ...data, log: createLog({ userIds, indptr, items, timestamps }) };
}

describe("recent-popular", () => {
  it.each([1n, 1_000n, 1_000_000n])("halves what an event counts after each half-life (%s ticks a second)", (ticks) => {
    const { scores } = fitRecentPopular(dated(ticks), 7);
    expect(scores[1]).toBe(2);
    expect(scores[2]).toBeCloseTo(0.5, 12);
    expect(scores[3]).toBeCloseTo(2 ** (-30 / 7), 12);
    expect(scores[0]).toBeCloseTo(4 * 2 ** (-365 / 7), 12);
  });

  it("counts all events alike where there are no times that can be read", () => {
    const { log, ...data } = dated(1n);
    const { timestamps: _, ...without } = log;
    expect([...fitRecentPopular({ ...data, log: without }, 7).scores]).toEqual([4, 2, 1, 1]);
    const ordinals = { ...log, timestamps: BigInt64Array.from({ length: 8 }, (_, n) => BigInt(n)) };
    expect([...fitRecentPopular({ ...data, log: ordinals }, 7).scores]).toEqual([4, 2, 1, 1]);
  });

  it("lets validation choose the half-life, and says among which", async () => {
    const given = recentPopular.settings.parse({ halfLifeDays: [7, 3650] });
    const old = async (model: { scores: Float64Array }) => (model.scores[0]! > model.scores[1]! ? 1 : 0.2);
    const { model, facts } = await recentPopular.fit(dated(1n), given, {}, old);
    expect(facts).toEqual({ halfLifeDays: 3650, validation: { "7": 0.2, "3650": 1 } });
    expect(model.scores[0]).toBeGreaterThan(model.scores[1]!);
    expect(recentPopular.chosen?.(facts)).toEqual({ halfLifeDays: [3650] });
  });
});
