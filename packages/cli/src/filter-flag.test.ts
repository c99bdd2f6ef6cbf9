import { createCatalog } from "@prismrec/core/data";
import { describe, expect, it } from "vitest";
import { parseFilter } from "./filter-flag.js";

const items = ["", "i1", "i2"].map((id) => ({ id, title: id, categories: [] }));
const catalog = {
  ...createCatalog(items, Uint32Array.of(0, 2, 1)),
  columns: new Map([
    ["price", { kind: "number", values: Float64Array.of(Number.NaN, 5, 7) }],
    ["inStock", { kind: "boolean", values: Uint8Array.of(255, 1, 0) }],
    ["size", { kind: "text", codes: Uint32Array.of(0, 1, 2), dictionary: ["", "5", "true"] }],
  ] as const),
};

describe("parseFilter", () => {
  it.each([
    [["price=5"], { price: [5] }],
    [["size=5"], { size: ["5"] }],
    [["size=true"], { size: ["true"] }],
    [["inStock=true"], { inStock: [true] }],
    [["inStock=FALSE"], { inStock: [false] }],
    [["price=5..7.5"], { price: { from: 5, to: 7.5 } }],
    [["price=..7", "size=a, b"], { price: { to: 7 }, size: ["a", "b"] }],
    [["price=5.."], { price: { from: 5 } }],
    [['{"title": "a, b"}', "price=5"], { title: "a, b", price: [5] }],
    [["title=a=b"], { title: ["a=b"] }],
    [["nothing=1"], { nothing: ["1"] }],
  ])("reads %j", (flags, filter) => {
    expect(parseFilter(flags, catalog)).toEqual(filter);
  });

  it.each([["price"], ["=5"], ["{price: 5}"]])("refuses %j", (flag) => {
    expect(() => parseFilter([flag], catalog)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
