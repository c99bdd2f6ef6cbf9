import { describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { domainOf } from "./domains.js";
import { parseKind } from "./prompts.js";

describe("domainOf", () => {
  const plain = ["One", "Two", "Three", "Four"];
  const each = (categories: readonly string[]) => categories.map((category) => [category]);

  it("goes by categories first, then by titles, and says what it went by", () => {
    expect(domainOf(titledCatalog(plain, each(["Drama", "Comedy", "Horror", "Western"])))).toEqual({
      domain: "films",
      because: "the items' categories (comedy, drama, horror, western)",
    });
    expect(domainOf(titledCatalog(plain, each(["RPG", "Indie", "Strategy", "x"]))).domain).toBe("games");
    expect(domainOf(titledCatalog(["One (1999)", "Two (2001)", "Three"])).domain).toBe("films");
    expect(domainOf(titledCatalog([...plain, "Five - Map Pack DLC"])).domain).toBe("games");
    expect(domainOf(titledCatalog([...plain, "Hand Cream 50 ml"])).domain).toBe("products");
    expect(domainOf(titledCatalog([...plain, "Song (Remastered)"])).domain).toBe("music");
    expect(domainOf(titledCatalog([...plain, "Deep Networks: A Survey"])).domain).toBe("papers");
    expect(domainOf(titledCatalog(plain)).domain).toBe("general");
    expect(domainOf(titledCatalog([])).domain).toBe("general");
  });

  it("goes by the columns of the items file", () => {
    const catalog = titledCatalog(plain);
    const column = { kind: "text", values: ["", "a", "b", "c", "d"] } as const;
    const withColumn = { ...catalog, columns: new Map([["Artist", column]]) } as unknown as typeof catalog;
    expect(domainOf(withColumn)).toEqual({ domain: "music", because: "the column Artist" });
  });
});

describe("parseKind", () => {
  it("keeps the first line as distinct phrases in lower case", () => {
    expect(parseKind(' Horror, supernatural; "Horror" , ghosts.\nMovie: "x"')).toBe("horror, supernatural, ghosts");
    expect(parseKind(" ... , 12, \u202e")).toBe("");
    expect(parseKind(Array.from({ length: 9 }, (_, i) => `word ${"abcdefghi"[i]}`).join(","))).toBe(
      "word a, word b, word c, word d, word e, word f",
    );
  });
});
