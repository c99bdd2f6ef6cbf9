import { createRandom } from "@prismrec/core/base";
import { createCatalog, type Dataset, userItems } from "@prismrec/core/data";
import { createNetwork, InterestModel, networkConfig } from "@prismrec/core/models";
import { ParameterSet, useTensorBackend } from "@prismrec/core/nn";
import { Recommender } from "@prismrec/core/recommend";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { TruthClusterer } from "../planted/planted-data.js";
import { tinyInput } from "../testing/tiny-input.js";
import { randomItems } from "../training/initial-items.js";
import { evaluate } from "./evaluate.js";
import { EXPLAINED_ITEMS, explanationFidelity } from "./explanation-fidelity.js";

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

describe("the explanations of a model", () => {
  beforeAll(async () => {
    await useTensorBackend();
  });

  const modelOf = (dataset: Dataset, config: Record<string, unknown>): InterestModel => {
    const network = createNetwork(networkConfig({ dim: 8, interests: 2, maxHistory: 10, ...config }));
    const parameters = ParameterSet.create(network.specs(), createRandom(1));
    const { size } = dataset.catalog;
    return new InterestModel(network, parameters, randomItems(size, 8, 2), new Float32Array(size));
  };

  it("are judged as a recommender gives them", async () => {
    const { dataset: planted, partitions, truth } = await tinyInput();
    const { catalog: plain, split, log } = planted;
    const own = plain.items.map((item, id) => (id === 0 ? item : { ...item, categories: [`kind ${id % 3}`] }));
    const catalog = createCatalog(own, plain.popularity);
    const dataset = { ...planted, catalog };
    const options = { part: "test", metrics: ["recall@20"], explanations: own } as const;
    for (const config of [{ model: "ldmi", layers: 1 }, { model: "comirec-sa" }]) {
      using model = modelOf(dataset, config);
      const { explanations } = await evaluate(model, dataset, { ...options, partition: partitions.test });
      const recommender = new Recommender({ model, catalog, clusterer: new TruthClusterer(truth) });
      const requests = Array.from(split.test.users, (user, row) => ({
        history: Array.from(userItems(log, user).subarray(0, split.test.historyEnds[row]), (item) => own[item]!.id),
      }));
      const found = await recommender.recommendMany(requests, { k: EXPLAINED_ITEMS });
      const lists = found.map(({ items: listed, interests }) => ({
        ids: listed.map(({ id }) => catalog.idOf(id)!),
        evidence: interests.map(({ because }) => because.map((id) => catalog.idOf(id)!)),
        named: listed.map(({ interest }) => interests.findIndex(({ index }) => index === interest)),
      }));
      expect(explanations).toEqual(explanationFidelity(lists, own));
      expect(explanations?.users).toBeGreaterThan(0);
    }
  });

  it("are not judged without categories, without interests to choose from, and where nobody asks", async () => {
    const { dataset: planted, partitions } = await tinyInput();
    const items = planted.catalog.items.map((item) => ({ ...item, categories: [] }));
    const bare = { ...planted, catalog: createCatalog(items, planted.catalog.popularity) };
    const kinds = items.map((item, id) => ({ ...item, categories: id === 0 ? [] : [`kind ${id % 3}`] }));
    const told = { ...planted, catalog: createCatalog(kinds, planted.catalog.popularity) };
    const options = { part: "test", metrics: ["recall@20"], partition: partitions.test } as const;
    using model = modelOf(planted, { model: "ldmi", layers: 1 });
    using single = modelOf(planted, { model: "comirec-sa", interests: 1 });
    expect(await evaluate(model, bare, { ...options, explanations: items })).not.toHaveProperty("explanations");
    expect(await evaluate(single, told, { ...options, explanations: kinds })).not.toHaveProperty("explanations");
    expect(await evaluate(model, told, options)).not.toHaveProperty("explanations");
    // What is judged by need not be what the catalog says.
    expect(await evaluate(model, bare, { ...options, explanations: kinds })).toHaveProperty("explanations");
    await expect(evaluate(model, told, { ...options, explanations: kinds.slice(1) })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
  });
});
