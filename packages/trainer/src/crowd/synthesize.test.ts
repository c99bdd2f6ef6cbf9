import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { synthesize } from "./synthesize.js";
import { trainingUsers } from "./training-users.js";

const clique = (...members: number[]) => ({ members: Uint32Array.from(members), compactness: 1 });

describe("a synthesized user", () => {
  // Four users: item 1 is held by 2 of them, 2 by 3, 3 and 4 by 1 each, 5 by the last alone.
  const histories = [[1, 2, 3], [4, 2, 1], [2], [5]];
  const times = [[10, 20, 30], [40, 50, 60], [70], [80]];

  it("weighs an item by the members that hold it and its rarity", () => {
    const users = trainingUsers(handMade(histories, { timestamps: times }));
    const { items, weights } = synthesize(users, clique(0, 1), 64);
    // Oldest first by the latest event among the members: 3 (30), 4 (40), 2 (50), 1 (60).
    expect([...items]).toEqual([3, 4, 2, 1]);
    const expected = [Math.log(4), Math.log(4), 2 * Math.log(4 / 3), 2 * Math.log(2)];
    weights.forEach((weight, n) => {
      expect(weight).toBeCloseTo(expected[n]!, 6);
    });
  });

  it("keeps the heaviest items, the more recent of equal ones", () => {
    const users = trainingUsers(handMade(histories, { timestamps: times }));
    // Items 1, 3 and 4 weigh ln 4 each (item 1: 2 ln 2): 1 (60) and 4 (40) are more recent than 3 (30).
    expect([...synthesize(users, clique(0, 1), 2).items]).toEqual([4, 1]);
  });

  it("takes the distance from the end of a history as time where there are no timestamps", () => {
    const users = trainingUsers(handMade(histories));
    // Last met: item 3 and item 1 at the end (0 later events), 2 one before, 4 two before.
    expect([...synthesize(users, clique(0, 1), 64).items]).toEqual([4, 2, 1, 3]);
  });

  it("counts a repeated item of one member once, at its latest time", () => {
    const users = trainingUsers(
      handMade(
        [
          [1, 2, 1],
          [2, 3],
        ],
        {
          timestamps: [
            [1, 2, 9],
            [3, 4],
          ],
        },
      ),
    );
    const { items, weights } = synthesize(users, clique(0), 64);
    expect([...items]).toEqual([2, 1]);
    expect(weights[1]).toBeCloseTo(Math.log(2), 6);
  });

  it("never lets a common item weigh nothing", () => {
    const users = trainingUsers(handMade([[1], [1]]));
    expect(synthesize(users, clique(0, 1), 64).weights[0]).toBeCloseTo(0.2, 6);
  });
});
