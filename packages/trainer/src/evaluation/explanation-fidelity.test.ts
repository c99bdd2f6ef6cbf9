import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { explanationFidelity } from "./explanation-fidelity.js";

const categories = [[], ["A"], ["A", "B"], ["B"], ["C"], [], ["A", "B", "C"]];
const items = categories.map((own, id) => ({ id: id === 0 ? "" : `i${id}`, title: "", categories: own }));

describe("explanationFidelity", () => {
  it("is right where the named interest rests on what is most like the item, by hand", () => {
    // Item 2 (A, B): interest 0 rests on A and A B: (1/2 + 1) / 2; interest 1 on B and C: (1/2 + 0) / 2.
    const evidence = [
      [1, 2],
      [3, 4],
    ];
    expect(explanationFidelity([{ ids: [2], evidence, named: [0] }], items)).toMatchObject({ right: 1, random: 0.5 });
    expect(explanationFidelity([{ ids: [2], evidence, named: [1] }], items)).toMatchObject({ right: 0, random: 0.5 });
    // Item 3 (B): (0 + 1/2) / 2 and (1 + 0) / 2. Right once in two answers.
    expect(explanationFidelity([{ ids: [2, 3], evidence, named: [0, 0] }], items)).toMatchObject({
      right: 0.5,
      answers: 2,
      users: 1,
    });
  });

  it("counts a tie of n as 1 / n, also where nothing fits at all", () => {
    const evidence = [[1], [3], [4]];
    // A B: 1/2, 1/2 and 0.
    const value = (id: number, named: number) => explanationFidelity([{ ids: [id], evidence, named: [named] }], items)!;
    expect(value(2, 0).right).toBeCloseTo(1 / 2, 12);
    expect(value(2, 1).right).toBeCloseTo(1 / 2, 12);
    expect(value(2, 2).right).toBe(0);
    // A B C: 1/3 each, summed in another order.
    for (const named of [0, 1, 2]) expect(value(6, named).right).toBeCloseTo(1 / 3, 12);
    expect(value(2, 0).random).toBeCloseTo(1 / 3, 12);
  });

  it("asks users of two interests and more, about items with categories", () => {
    const one = { ids: [1], evidence: [[1]], named: [0] };
    const silent = { ids: [5], evidence: [[1], [3]], named: [0] };
    expect(explanationFidelity([one, silent], items)).toBeUndefined();
    const both = { ids: [5, 1], evidence: [[1], [3]], named: [1, 0] };
    expect(explanationFidelity([one, silent, both], items)).toEqual({
      right: 1,
      random: 0.5,
      standardError: 0,
      users: 1,
      answers: 1,
    });
  });

  it("means over users, however long their lists, with the error of the difference", () => {
    const evidence = [[1], [3]];
    const lists = [
      { ids: [1, 1, 1], evidence, named: [0, 0, 0] },
      { ids: [1], evidence, named: [1] },
    ];
    // Differences from 1/2: 1/2 and -1/2; deviation sqrt(1/2), over sqrt(2).
    const found = explanationFidelity(lists, items)!;
    expect([found.right, found.random, found.users, found.answers]).toEqual([0.5, 0.5, 2, 4]);
    expect(found.standardError).toBeCloseTo(0.5, 12);
  });

  it("gives the interests of a user together exactly one right answer: naming each in turn sums to it", () => {
    const ids = fc.integer({ min: 1, max: 6 });
    const evidence = fc.array(fc.array(ids, { minLength: 1, maxLength: 4 }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(ids, evidence, (id, own) => {
        fc.pre(categories[id]!.length > 0);
        const rights = own.map((_, n) => explanationFidelity([{ ids: [id], evidence: own, named: [n] }], items)!.right);
        expect(rights.reduce((a, b) => a + b)).toBeCloseTo(1, 9);
      }),
    );
  });
});
