import { createRandom } from "@prismrec/core/base";
import { partitionRequest } from "@prismrec/core/interests";
import { describe, expect, it } from "vitest";
import { handMade } from "../testing/hand-made.js";
import { crowdRequests, crowdSet, type SynthesizedCrowd, synthesizeCrowd } from "./crowd.js";

/** `groups` groups of users; a user holds most of the group's own ten items, so that cliques are known beforehand. */
function grouped(groups: number, usersPerGroup: number, seed: number) {
  const random = createRandom(seed, "grouped");
  const histories: number[][] = [];
  for (let user = 0; user < groups * usersPerGroup; user++) {
    const group = user % groups;
    const own = random.shuffle(Array.from({ length: 10 }, (_, n) => 1 + group * 10 + n));
    histories.push(own.slice(0, 7));
  }
  return histories;
}

const itemsOf = (crowd: SynthesizedCrowd, s: number) => [
  ...crowd.items.subarray(crowd.indptr[s]!, crowd.indptr[s + 1]!),
];

describe("a synthesized crowd", () => {
  const groups = 12;
  const histories = grouped(groups, 20, 1);

  it("merges users who are alike, and covers every group before any of them twice", async () => {
    const crowd = await synthesizeCrowd(handMade(histories), { repeats: 1 });
    expect(crowd.members.length).toBeGreaterThanOrEqual(groups);
    expect(crowd.members.length).toBeLessThanOrEqual(Math.ceil(0.05 * histories.length));
    for (const [s, members] of crowd.members.entries()) {
      expect(members.length).toBeGreaterThanOrEqual(2);
      expect(new Set(Array.from(members, (user) => user % groups)).size).toBe(1);
      expect(new Set(itemsOf(crowd, s).map((item) => Math.floor((item - 1) / 10)))).toEqual(
        new Set([members[0]! % groups]),
      );
    }
    expect(new Set(crowd.members.map((members) => members[0]! % groups)).size).toBe(groups);
  });

  it("reports ever smaller gains, a rising coverage and a bound above it", async () => {
    const crowd = await synthesizeCrowd(handMade(histories), {});
    for (let s = 1; s < crowd.gains.length; s++) {
      expect(crowd.gains[s]!).toBeLessThanOrEqual(crowd.gains[s - 1]!);
      expect(crowd.coverage[s]!).toBeGreaterThan(crowd.coverage[s - 1]!);
    }
    expect(crowd.coverage.at(-1)!).toBeGreaterThan(0.5);
    expect(crowd.coverageBound).toBeGreaterThanOrEqual(crowd.coverage.at(-1)!);
    expect(crowd.coverageBound).toBeLessThanOrEqual(1);
  });

  it("reads training users alone: others change nothing", async () => {
    const test = grouped(groups, 3, 2).map((history) => [...history, 1]);
    const without = await synthesizeCrowd(handMade(histories), {});
    const beside = await synthesizeCrowd(handMade(histories, { test }), {});
    expect(beside.items).toEqual(without.items);
    expect(beside.weights).toEqual(without.weights);
    expect(beside.members).toEqual(without.members);
    for (const members of beside.members) for (const user of members) expect(user).toBeLessThan(histories.length);
  });

  it("reads no event after a training user's visible ones", async () => {
    const dataset = handMade(histories);
    const shortened = { ...dataset.split.train, ends: dataset.split.train.ends.map((end) => end - 3) };
    const crowd = await synthesizeCrowd({ ...dataset, split: { ...dataset.split, train: shortened } }, {});
    const cut = await synthesizeCrowd(handMade(histories.map((history) => history.slice(0, -3))), {});
    expect(crowd.items).toEqual(cut.items);
  });

  it("is the same for the same settings and says so in its fingerprint", async () => {
    const [first, again] = [
      await synthesizeCrowd(handMade(histories), {}),
      await synthesizeCrowd(handMade(histories), {}),
    ];
    expect(again).toEqual(first);
    expect((await synthesizeCrowd(handMade(histories), { repeats: 3 })).fingerprint).not.toBe(first.fingerprint);
  });

  it("mixes the groups when its cliques are drawn at random", async () => {
    const crowd = await synthesizeCrowd(handMade(histories), { cliques: "random" });
    const mixed = crowd.members.filter((members) => new Set(Array.from(members, (user) => user % groups)).size > 1);
    expect(mixed.length).toBeGreaterThan(crowd.members.length / 2);
  });

  it("covers less when its users are drawn at random, against the same bound", async () => {
    const greedy = await synthesizeCrowd(handMade(histories), { repeats: 1 });
    const drawn = await synthesizeCrowd(handMade(histories), { repeats: 1, cover: "random" });
    expect(drawn.members).toHaveLength(greedy.members.length);
    expect(drawn.coverage.at(-1)!).toBeLessThan(greedy.coverage.at(-1)!);
    expect(drawn.coverageBound).toBe(greedy.coverageBound);
  });

  it("covers pairs of items when asked", async () => {
    const crowd = await synthesizeCrowd(handMade(histories), { universe: "pairs", repeats: 1 });
    expect(new Set(crowd.members.map((members) => members[0]! % groups)).size).toBe(groups);
  });

  it("covers users when asked: no user stands for two cliques while others are left", async () => {
    const crowd = await synthesizeCrowd(handMade(histories), { universe: "users", repeats: 1 });
    const first = crowd.members.slice(0, 6).flatMap((members) => [...members]);
    expect(new Set(first).size).toBe(first.length);
  });

  it("keeps a token budget", async () => {
    // Every item costs ceil(("title 12" + "c").length / 4) + 2 = 4 or 5 tokens, so a user of 7 or more items at least 28.
    const crowd = await synthesizeCrowd(handMade(histories), { maxTokens: 100 });
    expect(crowd.members.length).toBeGreaterThan(0);
    expect(crowd.items.length * 4).toBeLessThanOrEqual(100);
  });

  it("is empty where nobody is alike", async () => {
    const crowd = await synthesizeCrowd(handMade([[1], [2], [3]]), {});
    expect(crowd.members).toHaveLength(0);
    expect(crowd.items).toHaveLength(0);
    expect(crowdSet(crowd, []).members).toHaveLength(0);
  });

  it("names a setting that is not valid", async () => {
    await expect(synthesizeCrowd(handMade(histories), { cliqueSize: 1 })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
    await expect(synthesizeCrowd(handMade(histories), JSON.parse('{"clique":8}'))).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      received: expect.stringContaining("clique"),
    });
  });

  it("rejects with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(synthesizeCrowd(handMade(histories), {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});

describe("a crowd set", () => {
  it("joins the synthesized users with the clusters of their items", async () => {
    const crowd = await synthesizeCrowd(handMade(grouped(4, 20, 3)), {});
    const requests = crowdRequests(crowd);
    expect(requests[0]).toEqual(partitionRequest(requests[0]!.items, 16));
    expect([...requests[0]!.items]).toEqual(itemsOf(crowd, 0));
    const partitions = requests.map(({ key, items }) => ({
      key,
      assign: Int16Array.from(items, (item) => item % 2),
      labels: ["even", "odd"],
    }));
    const set = crowdSet(crowd, partitions);
    expect([...set.clusters]).toEqual(Array.from(set.items, (item) => item % 2));
    expect(set.labels).toHaveLength(crowd.members.length);
    expect(set.members).toEqual(crowd.members);
  });

  it("refuses partitions that do not fit", async () => {
    const crowd = await synthesizeCrowd(handMade(grouped(4, 20, 3)), {});
    expect(() => crowdSet(crowd, [])).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
    const short = crowdRequests(crowd).map(({ key }) => ({ key, assign: new Int16Array(1), labels: ["one"] }));
    expect(() => crowdSet(crowd, short)).toThrow(expect.objectContaining({ code: "SHAPE_MISMATCH" }));
  });
});
