import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { itemText } from "./item-text.js";
import { facetPreset } from "./prompts.js";
import { centred, facetSignatures, informationOf } from "./signatures.js";
import { categoryWords, mergeFacets, proposedWords } from "./vocabulary.js";

describe("itemText", () => {
  const text = (title: string, mode: "without-year" | "with-year" = "without-year") =>
    itemText({ id: "1", title, categories: [] }, mode);

  it("takes years out, puts articles in front, and keeps titles that are only a year", () => {
    expect(text("Matrix, The (1999)")).toBe("The Matrix");
    expect(text("Breaking Bad (2008–2013)")).toBe("Breaking Bad");
    expect(text("2001: A Space Odyssey (1968)")).toBe("2001: A Space Odyssey");
    expect(text("(1984)")).toBe("(1984)");
    expect(text("Matrix, The (1999)", "with-year")).toBe("The Matrix (1999)");
  });

  it("is always one line of at most 160 characters that cannot close the prompt's quotes", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 400 }), (title) => {
        expect(text(`${title}x`)).toMatch(/^[^"\n\r]{1,160}$/);
      }),
    );
  });
});

describe("vocabulary", () => {
  it("takes single words from the categories and leaves placeholders out", () => {
    const catalog = titledCatalog(
      ["a", "b"],
      [
        ["Drama", "(no genres listed)"],
        ["Drama", "Home & Garden", "Sci-Fi"],
      ],
    );
    expect(categoryWords(catalog)).toEqual(["drama", "sci-fi"]);
  });

  it("keeps themes that were proposed at least twice, commonest first", () => {
    expect(proposedWords([" whales", "the whales", " music", " art of war", "comets", " comets", "whales "])).toEqual([
      "whales",
      "comets",
    ]);
  });

  it("lists a word once, with its first source", () => {
    const lists = [
      { source: "preset", words: ["art", "war"] },
      { source: "model", words: ["war", " sea "] },
    ] as const;
    expect(mergeFacets(lists)).toEqual([
      { word: "art", source: "preset" },
      { word: "war", source: "preset" },
      { word: "sea", source: "model" },
    ]);
  });

  it("tells film genres from other categories", () => {
    expect(facetPreset(["drama", "comedy", "western", "thriller"]).name).toBe("films");
    expect(facetPreset(["books", "gear", "drama"]).name).toBe("themes");
  });
});

describe("signatures", () => {
  const rows = [
    [-1, -5, -3],
    [-4, -1, -3],
    [-1, -6, -3],
  ].map((row) => Float32Array.from(row));

  it("counts only what speaks for a facet beyond the catalog's mean", () => {
    const { data } = facetSignatures(centred(rows));
    expect(Array.from(data, (x) => Math.round(x * 1000) / 1000)).toEqual([1, 0, 0, 0, 1, 0, 1, 0, 0]);
  });

  it("are zero, not NaN, where every item says the same", () => {
    expect([...facetSignatures(centred([rows[0]!, rows[0]!])).data]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("measure a facet's information: none where it is constant, more where it is likely and varies", () => {
    const [often, rarely, never] = informationOf([
      Float32Array.of(Math.log(0.5), Math.log(0.005), -2),
      Float32Array.of(Math.log(0.1), Math.log(0.001), -2),
    ]);
    // mean p = .3: (.5 ln(.5/.3) + .1 ln(.1/.3)) / 2
    expect(often).toBeCloseTo((0.5 * Math.log(5 / 3) + 0.1 * Math.log(1 / 3)) / 2, 6);
    expect(rarely).toBeCloseTo(often! / 100, 6);
    expect(never).toBeCloseTo(0, 9);
  });
});
