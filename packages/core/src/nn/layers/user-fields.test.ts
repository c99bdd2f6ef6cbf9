import { describe, expect, it } from "vitest";
import { createCatalog, createLog, userHistory } from "../../data/catalog.js";
import { type Column, listColumn, MISSING_BOOLEAN, textColumn } from "../../data/columns.js";
import { userVocabulary } from "../../data/user-vocabulary.js";
import { packHistories } from "./sequence-batch.js";
import type { UserField } from "./user-fields.js";

const columns = new Map<string, Column>([
  ["country", textColumn(["DE", "FR", "", "XX"])],
  ["age", { kind: "number", values: Float64Array.of(18, 35, Number.NaN, 18) }],
  ["premium", { kind: "boolean", values: Uint8Array.of(1, 0, MISSING_BOOLEAN, 1) }],
  ["tags", listColumn([["a"], [], ["b", "a"], []])],
]);
const log = createLog({
  userIds: ["u0", "u1", "u2", "u3"],
  indptr: Uint32Array.of(0, 2, 3, 4, 5),
  items: Uint32Array.of(1, 2, 1, 2, 1),
  profile: columns,
});
const histories = [0, 1, 2, 3].map((user) => userHistory(log, user));
const pack = (userFields: readonly UserField[], given = histories) => packHistories(given, 5, 0, { userFields });

describe("fields of users", () => {
  it("are codes of the network's own vocabulary, 0 for what it does not tell apart and for what is not known", () => {
    const { categories } = pack([
      { kind: "category", name: "country", vocabulary: ["", "FR", "DE"] },
      { kind: "category", name: "age", vocabulary: ["", "35", "18"] },
      { kind: "category", name: "premium", vocabulary: ["", "false", "true"] },
      { kind: "category", name: "city", vocabulary: ["", "Rome"] },
    ]).userFields!;
    expect(Object.fromEntries(categories)).toEqual({
      country: Uint32Array.of(2, 1, 0, 0),
      age: Uint32Array.of(2, 1, 0, 2),
      premium: Uint32Array.of(2, 1, 0, 2),
      city: Uint32Array.of(0, 0, 0, 0),
    });
  });

  it("are numbers, NaN for what is not known, and one column may be read as both", () => {
    const { categories, numbers } = pack([
      { kind: "number", name: "age" },
      { kind: "category", name: "age", vocabulary: ["", "18"] },
      { kind: "number", name: "premium" },
      { kind: "number", name: "income" },
    ]).userFields!;
    expect(Object.fromEntries(numbers)).toEqual({
      age: Float64Array.of(18, 35, Number.NaN, 18),
      premium: Float64Array.of(1, 0, Number.NaN, 1),
      income: new Float64Array(4).fill(Number.NaN),
    });
    expect(categories.get("age")).toEqual(Uint32Array.of(1, 0, 0, 1));
  });

  it("come from any columns, and from none", () => {
    const field: UserField = { kind: "category", name: "country", vocabulary: ["", "FR", "DE"] };
    const items = Uint32Array.of(1);
    const given = (text: string) => ({
      items,
      profile: { columns: new Map([["country", textColumn([text])]]), row: 0 },
    });
    const batch = pack([field], [given("DE"), { items }, given("Mars"), histories[1]!, given("FR")]);
    expect(batch.userFields!.categories.get("country")).toEqual(Uint32Array.of(2, 0, 0, 1, 1));
  });

  it("are not packed for a network that reads none", () => {
    expect(pack([])).not.toHaveProperty("userFields");
    expect(packHistories(histories, 5, 0)).not.toHaveProperty("userFields");
  });

  it.each<[UserField, string]>([
    [{ kind: "category", name: "tags", vocabulary: [""] }, "lists of texts"],
    [{ kind: "number", name: "tags" }, "lists of texts"],
    [{ kind: "number", name: "country" }, "texts"],
  ])("are refused where the column cannot be read so: %j", (field, received) => {
    expect(() => pack([field])).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", received }));
  });
});

describe("userVocabulary", () => {
  const nobody = { users: new Uint32Array(), historyEnds: new Uint32Array(), targetEnds: new Uint32Array() };
  const catalog = createCatalog(
    ["", "a", "b"].map((id) => ({ id, title: id, categories: [] })),
    Uint32Array.of(0, 1, 1),
  );
  const dataset = {
    fingerprint: "vocabulary",
    catalog,
    log,
    split: {
      protocol: "user-disjoint" as const,
      train: { users: Uint32Array.of(1, 2, 0), ends: Uint32Array.of(1, 1, 2) },
      valid: nobody,
      test: nobody,
    },
  };

  it("holds what training users have, and nobody else", () => {
    expect(userVocabulary(dataset, "country")).toEqual(["", "FR", "DE"]);
    expect(userVocabulary(dataset, "age")).toEqual(["", "35", "18"]);
    expect(userVocabulary(dataset, "premium")).toEqual(["", "false", "true"]);
    expect(userVocabulary(dataset, "city")).toEqual([""]);
    expect(() => userVocabulary(dataset, "tags")).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});
