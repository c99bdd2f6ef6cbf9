import { describe, expect, it } from "vitest";
import { splitCategories, suspectSeparator } from "./item-text.js";

describe("splitCategories", () => {
  it.each<[string, string[]]>([
    ["Action|Drama|Action", ["Action", "Drama"]],
    ["(no genres listed)", []],
    ["", []],
    ["\\N", []],
    ["NULL", []],
    ["nan", []],
    ['["A|B", "D"]', ["A|B", "D"]],
    ['[["Sports", "Golf"], ["Sports", "Outdoors"]]', ["Sports", "Golf", "Outdoors"]],
    ['[{"id": "1", "description": "Action"}, {"id": "70", "description": "Early Access"}]', ["Action", "Early Access"]],
    ['[{"id": 18, "name": "Drama"}, {"id": 35, "name": "Comedy"}]', ["Drama", "Comedy"]],
    ["[{'id': 18, 'name': 'Drama'}, {'id': 10751, 'name': \"Children's\"}]", ["Drama", "Children's"]],
    ["['Action', 'Casual']", ["Action", "Casual"]],
    ["[u'Action', 'Director\\'s Cut', \"Children's\"]", ["Action", "Director's Cut", "Children's"]],
    ["('Action', 'Casual',)", ["Action", "Casual"]],
    ["{'Action', 'Casual'}", ["Action", "Casual"]],
    ["{'Action': 5472, 'FPS': 4897, 'Nothing': 0}", ["Action", "FPS"]],
    ['{"Wifi": true, "Bar": false}', ["Wifi"]],
    ['{"/m/07s9rl0": "Drama", "/m/01jfsb": "Thriller"}', ["Drama", "Thriller"]],
    ['{"id": 7, "genre_name": "Drama"}', ["Drama"]],
    ['{"name": "Action"}', ["Action"]],
    ["[18, 35]", ["18", "35"]],
    ["[]", []],
    ["[None, 'A', null]", ["A"]],
    ["[Old] games|RPG", ["[Old] games", "RPG"]],
    ["{broken|RPG", ["{broken", "RPG"]],
  ])("takes %s apart", (cell, categories) => {
    expect(splitCategories(cell, "|")).toEqual(categories);
  });

  it("splits by the separator that it is given", () => {
    expect(splitCategories("Restaurants, Food, Pizza", ", ")).toEqual(["Restaurants", "Food", "Pizza"]);
    expect(splitCategories("A;B", ";")).toEqual(["A", "B"]);
  });

  it("answers nesting without end", () => {
    expect(splitCategories("[".repeat(100_000), "|")).toHaveLength(1);
  });
});

describe("suspectSeparator", () => {
  it("names the separator that most cells hold where none holds the given one", () => {
    expect(suspectSeparator(["Restaurants, Food", "Bars", "Food, Pizza", "['Action', 'Casual']", ""], "|")).toBe(", ");
    expect(suspectSeparator(["A;B", "C;D", "E"], "|")).toBe(";");
    expect(suspectSeparator(["A,B", "C,D"], "|")).toBe(",");
    expect(suspectSeparator(["A|B", "C|D"], ",")).toBe("|");
  });

  it("is silent where the separator is in use, or nothing is to be split", () => {
    expect(suspectSeparator(["A, B", "C, D", "E|F"], "|")).toBeUndefined();
    expect(suspectSeparator(["Drama", "Comedy", "Action, old"], "|")).toBeUndefined();
    expect(suspectSeparator(['["A, B", "C"]', "['A, B']"], "|")).toBeUndefined();
    expect(suspectSeparator([], "|")).toBeUndefined();
  });
});
