import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import * as core from "./index.js";

describe("the root of @prismrec/core", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

  it("holds few names, all of them in the README", () => {
    const names = Object.keys(core);
    expect(names.length).toBeGreaterThan(10);
    expect(names.length).toBeLessThanOrEqual(30);
    const grouped = ["PrismrecError", "isPrismrecError", "saveDataset"];
    expect(names.filter((name) => !grouped.includes(name) && !readme.includes(`\`${name}\``))).toEqual([]);
  });
});
