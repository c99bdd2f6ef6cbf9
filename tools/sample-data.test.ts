import { normalizedMutualInformation } from "@prismrec/core/interests";
import { FACET_PRESETS } from "@prismrec/llm";
import { describe, expect, it } from "vitest";
import { interests, sample } from "./sample-data.mjs";
import { tinyGguf } from "./tiny-gguf.mjs";

const table = (text: string): string[][] =>
  text
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/));

const files = sample();
const items = table(files["items.csv"]);
const truth = new Map(table(files["truth.csv"]).map(([item, interest]) => [item!, interest!]));

describe("the sample", () => {
  it("is the same for the same seed and another for another", () => {
    expect(sample({ seed: 4, users: 20 })).toEqual(sample({ seed: 4, users: 20 }));
    expect(sample({ seed: 5, users: 20 })).not.toEqual(sample({ seed: 4, users: 20 }));
  });

  it("names neither an interest nor any facet in its titles", () => {
    const stem = (word: string): string => word.toLowerCase().replace(/(?:ies|es|s)$/, "");
    const named = new Set([...FACET_PRESETS.flatMap(({ words }) => words), ...Object.keys(interests)].map(stem));
    for (const [, title] of items) {
      for (const word of title!.split(/[^\p{L}]+/u)) expect(named, title).not.toContain(stem(word));
    }
  });

  it("has categories that say nothing of the interests", () => {
    const numbers = (values: readonly string[]): number[] => values.map((value) => [...new Set(values)].indexOf(value));
    const categories = numbers(items.map(([, , category]) => category!));
    const known = numbers(items.map(([id]) => truth.get(id!)!));
    expect(normalizedMutualInformation(categories, known)).toBeLessThan(0.03);
    expect(new Set(categories).size).toBe(4);
    expect(new Set(known).size).toBe(12);
  });

  it("gives users of two to four interests, mostly, without repeated items and in order of time", () => {
    const users = new Map<string, { item: string; time: number }[]>();
    for (const [user, item, time] of table(files["interactions.csv"])) {
      users.set(user!, [...(users.get(user!) ?? []), { item: item!, time: Number(time) }]);
    }
    expect(users.size).toBe(2000);
    let sticky = 0;
    let pairs = 0;
    for (const events of users.values()) {
      expect(new Set(events.map(({ item }) => item)).size).toBe(events.length);
      for (let i = 1; i < events.length; i++) {
        expect(events[i]!.time).toBeGreaterThan(events[i - 1]!.time);
        if (truth.get(events[i]!.item) === truth.get(events[i - 1]!.item)) sticky++;
        pairs++;
      }
    }
    expect(sticky / pairs).toBeGreaterThan(0.55);
  });
});

describe("the tiny models", () => {
  it("have the same bits for the same seed, and others for another", () => {
    for (const kind of ["llama", "bert"] as const) {
      expect(tinyGguf({ kind, seed: 1 }).equals(tinyGguf({ kind, seed: 1 }))).toBe(true);
      expect(tinyGguf({ kind, seed: 1 }).equals(tinyGguf({ kind, seed: 2 }))).toBe(false);
    }
  });
});
