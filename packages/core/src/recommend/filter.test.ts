import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRandom } from "../base/random.js";
import { createCatalog } from "../data/catalog.js";
import { type Column, itemColumn, listColumn, MISSING_BOOLEAN, rowsOf, textColumn } from "../data/columns.js";
import type { History } from "../data/history.js";
import type { Catalog, Item } from "../data/types.js";
import { InterestModel } from "../models/interest-model.js";
import type { Model } from "../models/model.js";
import { createNetwork, isNetwork, MODELS, networkConfig } from "../models/registry.js";
import { ParameterSet } from "../nn/layers/parameters.js";
import { trainingData } from "../testing/training-data.js";
import { compileFilter, type FilterScalar, type ItemFilter } from "./filter.js";

const nan = Number.NaN;
const shop: Catalog = createCatalog(
  [
    { id: "", title: "", categories: [] },
    { id: "1", title: "Heat", categories: ["crime", "drama"], year: 1995 },
    { id: "2", title: "Ran", categories: ["drama"], year: 1985 },
    { id: "3", title: "", categories: [] },
    { id: "4", title: "Heat", categories: ["comedy"], year: 2013 },
  ],
  Uint32Array.of(0, 4, 3, 2, 1),
  new Map<string, Column>([
    ["price", { kind: "number", values: Float64Array.of(nan, 5, 20, nan, -0.5) }],
    ["inStock", { kind: "boolean", values: Uint8Array.of(MISSING_BOOLEAN, 1, 0, MISSING_BOOLEAN, 1) }],
    ["onSale", { kind: "number", values: Float64Array.of(nan, 1, 0, nan, 1) }],
    ["colour", textColumn(["", "rot", "blau", "", "größe"])],
    ["released", textColumn(["", "1995-12-15", "1985-06-01", "", "2013-06-28"])],
    ["tags", listColumn([[], ["a", "b"], ["b"], [], ["c"]])],
  ]),
);

/** External ids that a filter lets through. */
function passing(filter: ItemFilter, catalog = shop): string[] {
  const bits = compileFilter(catalog, filter);
  return catalog.items.flatMap(({ id }, dense) =>
    dense > 0 && ((bits[(dense - 1) >> 5]! >>> ((dense - 1) & 31)) & 1) === 1 ? [id] : [],
  );
}

describe("a filter", () => {
  it.each<[string, ItemFilter, string[]]>([
    ["nothing asked", {}, ["1", "2", "3", "4"]],
    ["a number", { price: 20 }, ["2"]],
    ["one of several numbers", { price: [5, -0.5, 7] }, ["1", "4"]],
    ["none of no numbers", { price: [] }, []],
    ["a range, both ends included", { price: { from: 5, to: 20 } }, ["1", "2"]],
    ["a range open above", { price: { from: 5.5 } }, ["2"]],
    ["a range open below", { price: { to: 5 } }, ["1", "4"]],
    ["a range without anything in it", { price: { from: 6, to: 5 } }, []],
    ["true", { inStock: true }, ["1", "4"]],
    ["false", { inStock: false }, ["2"]],
    ["both, which leaves the missing out", { inStock: [true, false] }, ["1", "2", "4"]],
    ["true of a column of 0 and 1", { onSale: true }, ["1", "4"]],
    ["0 of it", { onSale: 0 }, ["2"]],
    ["a text", { colour: "größe" }, ["4"]],
    ["a text that no item has", { colour: "Rot" }, []],
    ["the empty text, which is missing", { colour: "" }, []],
    ["a range of dates", { released: { from: "1990", to: "2013-06-28" } }, ["1", "4"]],
    ["any member of a list", { tags: "b" }, ["1", "2"]],
    ["any member of several", { tags: ["a", "c"] }, ["1", "4"]],
    ["a member within a range", { tags: { from: "b" } }, ["1", "2", "4"]],
    ["an id", { id: ["3", "1"] }, ["1", "3"]],
    ["a title", { title: "Heat" }, ["1", "4"]],
    ["a category", { categories: "drama" }, ["1", "2"]],
    ["years", { year: { from: 1990, to: 2000 } }, ["1"]],
    ["all columns at once", { title: "Heat", inStock: true, price: { from: 0 } }, ["1"]],
  ])("%s", (_, filter, ids) => {
    expect(passing(filter)).toEqual(ids);
  });

  it("names the column that was meant, or those there are", () => {
    const refused = (filter: ItemFilter) => {
      try {
        compileFilter(shop, filter);
      } catch (error) {
        return error;
      }
      throw new Error("not refused");
    };
    expect(refused({ pricee: 1 })).toMatchObject({
      code: "INVALID_ARGUMENT",
      expected: expect.stringContaining("id, title, categories, year, price, inStock"),
      received: "pricee",
      hint: 'Did you mean "price"?',
    });
    expect(refused({ warehouse: 1 })).toMatchObject({ hint: expect.stringContaining("items file") });
    expect(refused({ instock: true })).toMatchObject({ hint: 'Did you mean "inStock"?' });
  });

  it.each<[string, unknown, string]>([
    ["text for a number", { price: "5" }, '"5"'],
    ["a number for a text", { colour: 5 }, "5"],
    ["true for a number that is no flag", { price: true }, "true"],
    ["a number for a boolean", { inStock: 1 }, "1"],
    ["a range of a boolean", { inStock: { from: true } }, "an object of from"],
    ["a text in a range of numbers", { price: { from: "5" } }, '"5"'],
    ["a number that is none", { price: Number.NaN }, "NaN"],
    ["null", { price: null }, "null"],
    ["undefined", { inStock: undefined }, "undefined"],
    ["a list in a list", { tags: [["a"]] }, "a list in a list"],
    ["a range without ends", { price: {} }, "neither"],
    ["ends of other names", { price: { min: 1 } }, "min"],
  ])("refuses %s", (_, filter, received) => {
    expect(() => compileFilter(shop, filter as ItemFilter)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", received, expected: expect.any(String) }),
    );
  });
});

const ITEMS = 45;
const DIM = 6;
const random = createRandom(11);
const lists = Array.from({ length: 30 }, () => [
  ...new Set(Array.from({ length: 10 }, () => 1 + Math.floor(ITEMS * random.uniform() ** 2))),
]);

/** Every registered model: networks with drawn parameters, scorers fitted. */
const models: readonly [string, () => Promise<Model>][] = MODELS.map((definition) => [
  definition.name,
  async () => {
    const dataset = trainingData(lists, ITEMS);
    if (!isNetwork(definition)) return (await definition.fit(dataset, definition.settings.parse({}))).model;
    const network = createNetwork(networkConfig({ model: definition.name, dim: DIM, maxHistory: 8 }));
    const draw = createRandom(5, definition.name);
    const rows = { data: Float32Array.from({ length: ITEMS * DIM }, () => draw.normal()), rows: ITEMS, cols: DIM };
    const bias = network.hasItemBias ? Float32Array.from({ length: ITEMS }, (_, i) => -i / 50) : undefined;
    return new InterestModel(network, ParameterSet.create(network.specs(), draw), rows, bias);
  },
]);

const words = ["a", "b", "c", "d"];
const perItem = <T>(value: fc.Arbitrary<T>) => fc.array(value, { minLength: ITEMS, maxLength: ITEMS });
const catalogs = fc.record({
  price: perItem(fc.option(fc.integer({ min: 0, max: 9 }), { nil: nan })),
  stock: perItem(fc.constantFrom(0, 1, MISSING_BOOLEAN)),
  kind: perItem(fc.constantFrom("", ...words)),
  tags: perItem(fc.subarray(words)),
});
const anyOf = (value: fc.Arbitrary<FilterScalar>) => fc.oneof(value, fc.array(value, { maxLength: 3 }));
const filters = fc.record(
  {
    price: fc.oneof(
      anyOf(fc.integer({ min: 0, max: 9 })),
      fc.record({ from: fc.integer({ min: 0, max: 9 }), to: fc.integer({ min: 0, max: 9 }) }),
      fc.record({ from: fc.integer({ min: 0, max: 9 }) }),
    ),
    stock: anyOf(fc.boolean()),
    kind: fc.oneof(anyOf(fc.constantFrom(...words)), fc.record({ to: fc.constantFrom(...words) })),
    tags: anyOf(fc.constantFrom(...words)),
  },
  { requiredKeys: [] },
);

/** What a filter means, said once more and slowly. */
function holds(catalog: Catalog, dense: number, filter: ItemFilter): boolean {
  return Object.entries(filter).every(([name, condition]) => {
    const column = itemColumn(catalog, name)!;
    const values: FilterScalar[] =
      column.kind === "number"
        ? [column.values[dense]!].filter((value) => !Number.isNaN(value))
        : column.kind === "boolean"
          ? [column.values[dense]!].filter((value) => value !== MISSING_BOOLEAN).map((value) => value === 1)
          : column.kind === "text"
            ? [column.dictionary[column.codes[dense]!]!].filter((text) => text !== "")
            : Array.from(
                column.codes.subarray(column.indptr[dense], column.indptr[dense + 1]),
                (code) => column.dictionary[code]!,
              );
    return values.some((value) => {
      if (Array.isArray(condition)) return condition.includes(value);
      if (typeof condition !== "object") return value === condition;
      const { from = value, to = value } = condition as { from?: FilterScalar; to?: FilterScalar };
      return value >= from && value <= to;
    });
  });
}

describe.each(models)("a filtered list of %s", (_, open) => {
  it("is the whole list without the items that do not match", async () => {
    const model = await open();
    const draw = createRandom(3, "histories");
    const histories: History[] = Array.from({ length: 5 }, (_, n) => {
      const items = Uint32Array.from({ length: 1 + 2 * n }, () => draw.integer(1, ITEMS + 1));
      return { items, clusters: Int16Array.from(items, (item) => item % 3) };
    });
    const whole = await model.rank(histories, { k: ITEMS });
    await fc.assert(
      fc.asyncProperty(catalogs, filters, fc.integer({ min: 1, max: ITEMS }), async (drawn, filter, k) => {
        const items: Item[] = Array.from({ length: ITEMS + 1 }, (_, n) => ({
          id: n === 0 ? "" : `i${n}`,
          title: "",
          categories: [],
        }));
        const catalog = createCatalog(
          items,
          new Uint32Array(ITEMS + 1),
          new Map<string, Column>([
            ["price", { kind: "number", values: Float64Array.from([nan, ...drawn.price]) }],
            ["stock", { kind: "boolean", values: Uint8Array.from([MISSING_BOOLEAN, ...drawn.stock]) }],
            ["kind", textColumn(["", ...drawn.kind])],
            ["tags", listColumn([[], ...drawn.tags])],
          ]),
        );
        for (const column of catalog.columns!.values()) expect(rowsOf(column)).toBe(ITEMS + 1);
        const conditions = filter as ItemFilter;
        const filtered = await model.rank(histories, { k, filter: compileFilter(catalog, conditions) });
        for (const row of histories.keys()) {
          const all = Array.from(whole.ids.subarray(row * ITEMS, row * ITEMS + whole.counts[row]!), (id, place) => {
            return [id, whole.scores[row * ITEMS + place]!] as const;
          });
          const expected = all.filter(([id]) => holds(catalog, id, conditions)).slice(0, k);
          const from = row * k;
          const found = Array.from(filtered.ids.subarray(from, from + filtered.counts[row]!), (id, place) => {
            return [id, filtered.scores[from + place]!] as const;
          });
          expect(found).toEqual(expected);
        }
      }),
      { numRuns: 40, seed: 20 },
    );
    if (model instanceof InterestModel) model.dispose();
  });

  it("needs a bit for each item", async () => {
    const model = await open();
    const ranking = model.rank([{ items: Uint32Array.of(1) }], { k: 1, filter: new Uint32Array(1) });
    await expect(ranking).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    if (model instanceof InterestModel) model.dispose();
  });
});
