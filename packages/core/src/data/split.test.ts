import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applySplit, type Sequences, type SplitOptions } from "./split.js";
import type { SplitProtocol } from "./types.js";

function sequences(lengths: readonly number[], times?: readonly number[]): Sequences {
  const indptr = Uint32Array.from([0, ...lengths]);
  for (let u = 0; u < lengths.length; u++) indptr[u + 1]! += indptr[u]!;
  return {
    userIds: lengths.map((_, u) => `u${u}`),
    indptr,
    ...(times === undefined ? {} : { timestamps: BigInt64Array.from(times, BigInt) }),
  };
}

const plain = (part: object): Record<string, number[]> =>
  Object.fromEntries(Object.entries(part).map(([key, values]) => [key, Array.from(values as Uint32Array)]));

describe("applySplit", () => {
  it("user-disjoint: shares users 8:1:1 with the seed and cuts evaluated users at floor(.8 n)", () => {
    const data = sequences(Array.from({ length: 20 }, () => 7));
    const { split, leftOut } = applySplit(data);
    expect([split.train, split.valid, split.test].map(({ users }) => users.length)).toEqual([16, 2, 2]);
    const everybody = [...split.train.users, ...split.valid.users, ...split.test.users].sort((a, b) => a - b);
    expect(everybody).toEqual(Array.from({ length: 20 }, (_, u) => u));
    expect(plain(split.test)).toMatchObject({ historyEnds: [5, 5], targetEnds: [7, 7] });
    expect(leftOut.length).toBe(0);
    expect(applySplit(data).split).toEqual(split);
    expect(applySplit(data, { seed: 1 }).split.test.users).not.toEqual(split.test.users);
  });

  it("user-disjoint: an assignment decides, and users outside it or too short to be asked are left out", () => {
    const assignment = new Map<string, "train" | "valid" | "test">([
      ["u0", "train"],
      ["u1", "valid"],
      ["u2", "test"],
      ["u3", "test"],
      ["stranger", "train"],
    ]);
    const { split, leftOut } = applySplit(sequences([3, 5, 10, 1, 4]), { assignment });
    expect(plain(split.train)).toEqual({ users: [0], ends: [3] });
    expect(plain(split.valid)).toEqual({ users: [1], historyEnds: [4], targetEnds: [5] });
    expect(plain(split.test)).toEqual({ users: [2], historyEnds: [8], targetEnds: [10] });
    expect([...leftOut]).toEqual([3, 4]);
  });

  it("leave-one-out: the last event is the test target and the one before it the valid target", () => {
    const { split } = applySplit(sequences([5, 2, 3]), { protocol: "leave-one-out" });
    expect(plain(split.train)).toEqual({ users: [0, 1, 2], ends: [3, 2, 1] });
    expect(plain(split.valid)).toEqual({ users: [0, 2], historyEnds: [3, 1], targetEnds: [4, 2] });
    expect(plain(split.test)).toEqual({ users: [0, 2], historyEnds: [4, 2], targetEnds: [5, 3] });
  });

  it("user-ratio: cuts each user's events at floor(.8 n) and floor(.9 n)", () => {
    const { split } = applySplit(sequences([20, 10, 4]), { protocol: "user-ratio" });
    expect(plain(split.train)).toEqual({ users: [0, 1, 2], ends: [16, 8, 4] });
    expect(plain(split.valid)).toEqual({ users: [0, 1], historyEnds: [16, 8], targetEnds: [18, 9] });
    expect(plain(split.test)).toEqual({ users: [0, 1], historyEnds: [18, 9], targetEnds: [20, 10] });
  });

  it("temporal: nothing learned from lies after anything asked for", () => {
    const times = [0, 1, 2, 8, 9, 3, 4, 5, 6, 7];
    const { split, leftOut } = applySplit(sequences([5, 5], times), { protocol: "temporal" });
    expect(plain(split.train)).toEqual({ users: [0, 1], ends: [3, 5] });
    expect(plain(split.valid)).toEqual({ users: [0], historyEnds: [3], targetEnds: [4] });
    expect(plain(split.test)).toEqual({ users: [0], historyEnds: [4], targetEnds: [5] });
    expect(leftOut.length).toBe(0);
  });

  it("temporal: events at the very instant of a cut lie after it, and users without a past are not asked about", () => {
    const times = [0, 0, 0, 0, 0, 0, 0, 0, 5, 5, 9, 5, 9];
    const { split, leftOut } = applySplit(sequences([11, 2], times), {
      protocol: "temporal",
      trainShare: 0.7,
      validShare: 0.2,
    });
    expect(plain(split.train)).toEqual({ users: [0], ends: [8] });
    expect(plain(split.valid)).toEqual({ users: [0], historyEnds: [8], targetEnds: [10] });
    expect(plain(split.test)).toEqual({ users: [0, 1], historyEnds: [10, 1], targetEnds: [11, 2] });
    expect(leftOut.length).toBe(0);
  });

  it("never shows a target to training or to its own history, under any protocol", () => {
    const protocols: SplitProtocol[] = ["user-disjoint", "leave-one-out", "user-ratio", "temporal"];
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 10, maxLength: 40 }),
        fc.constantFrom(...protocols),
        fc.integer({ min: 0, max: 5 }),
        (lengths, protocol, seed) => {
          const data = sequences(
            lengths,
            lengths.flatMap((n) => Array.from({ length: n }, (_, i) => (i * 97) / n)).map(Math.floor),
          );
          const result = attempt(data, { protocol, seed });
          if (result === undefined) return;
          const { split } = result;
          const trained = new Map(Array.from(split.train.users, (user, j) => [user, split.train.ends[j]!]));
          for (const part of [split.valid, split.test]) {
            part.users.forEach((user, j) => {
              expect(part.historyEnds[j]).toBeGreaterThan(0);
              expect(part.targetEnds[j]).toBeGreaterThan(part.historyEnds[j]!);
              expect(part.targetEnds[j]).toBeLessThanOrEqual(lengths[user]!);
              expect(trained.get(user) ?? 0).toBeLessThanOrEqual(part.historyEnds[j]!);
            });
          }
        },
      ),
    );
  });

  it.each<[string, Sequences, SplitOptions, string]>([
    ["a part that would hold nobody", sequences([9, 9]), {}, "SPLIT_INVALID"],
    ["a temporal split without times", sequences([9, 9, 9]), { protocol: "temporal" }, "SPLIT_INVALID"],
    ["shares that leave no test part", sequences([9]), { trainShare: 0.9, validShare: 0.1 }, "CONFIG_INVALID"],
    ["a share that is none", sequences([9]), { historyShare: 1 }, "CONFIG_INVALID"],
    ["a share that is not a number", sequences([9]), { trainShare: Number.NaN }, "CONFIG_INVALID"],
  ])("refuses %s", (_, data, options, code) => {
    expect(() => applySplit(data, options)).toThrowError(expect.objectContaining({ code }));
  });
});

/** A split of random lengths, or undefined where one of its parts would hold nobody. */
function attempt(data: Sequences, options: SplitOptions): ReturnType<typeof applySplit> | undefined {
  try {
    return applySplit(data, options);
  } catch (error) {
    expect(error).toMatchObject({ code: "SPLIT_INVALID" });
    return undefined;
  }
}
