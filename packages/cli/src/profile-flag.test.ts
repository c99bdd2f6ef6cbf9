import { type Column, listColumn, textColumn } from "@prismrec/core/data";
import { describe, expect, it } from "vitest";
import { parseProfile } from "./profile-flag.js";

const columns = new Map<string, Column>([
  ["age", { kind: "number", values: Float64Array.of(5) }],
  ["premium", { kind: "boolean", values: Uint8Array.of(1) }],
  ["zip", textColumn(["007"])],
  ["tags", listColumn([["a"]])],
]);

describe("parseProfile", () => {
  it.each([
    [["age=34"], { age: 34 }],
    [["premium=TRUE"], { premium: true }],
    [["zip=10115"], { zip: "10115" }],
    [["tags=a, b"], { tags: ["a", "b"] }],
    [["zip=a=b", "age="], { zip: "a=b", age: null }],
    [["age=young"], { age: "young" }],
    [["nothing=1"], { nothing: "1" }],
  ])("reads %j", (flags, profile) => {
    expect(parseProfile(flags, columns)).toEqual(profile);
  });

  it.each([["age"], ["=5"]])("refuses %j", (flag) => {
    expect(() => parseProfile([flag], columns)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
  });
});
