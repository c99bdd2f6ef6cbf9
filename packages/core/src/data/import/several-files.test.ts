import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applySplit } from "../split.js";
import type { Dataset } from "../types.js";
import { Forgotten } from "./forgotten.js";
import { type ImportOptions, importDataset } from "./import.js";
import { writeWithoutUsers } from "./without-users.js";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-files-"));
});
afterEach(() => rm(folder, { recursive: true }));

async function file(name: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

const LOOSE = { core: { mode: "none" } } as const;
const read = (interactions: ImportOptions["interactions"], more: Partial<ImportOptions> = {}) =>
  importDataset({ interactions, ...LOOSE, ...more });

/** Events of each user by id, oldest first. */
function histories({ log, catalog }: Dataset): Record<string, string[]> {
  return Object.fromEntries(
    log.userIds.map((id, user) => [
      id,
      Array.from(log.items.subarray(log.indptr[user], log.indptr[user + 1]), (item) => catalog.items[item]!.id),
    ]),
  );
}

/** Twelve users with six events each; user n's are at times 100 n to 100 n + 5. */
function rows(users: Iterable<number> = Array.from({ length: 12 }, (_, user) => user)): string[] {
  return [...users].flatMap((user) =>
    Array.from({ length: 6 }, (_, n) => `u${user},i${(user + 2 * n) % 14},${1_000 + 100 * user + n}`),
  );
}
const HEADER = "user,item,timestamp";
const dropsOf = (drops: readonly { readonly reason: string; readonly count: number }[]) =>
  Object.fromEntries(drops.map(({ reason, count }) => [reason, count]));

describe("several files of one log", () => {
  it("are what one file with all their rows is, wherever it is cut", async () => {
    const all = rows();
    const whole = (await read(await file("all.csv", [HEADER, ...all]))).dataset;
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: all.length - 1 }), async (cut) => {
        const parts = [
          await file("a.csv", [HEADER, ...all.slice(0, cut)]),
          await file("b.csv", [HEADER, ...all.slice(cut)]),
        ];
        const { dataset } = await read(parts);
        expect(histories(dataset)).toEqual(histories(whole));
        expect(dataset.log.timestamps).toEqual(whole.log.timestamps);
        expect(dataset.split).toEqual(whole.split);
      }),
      { numRuns: 8, seed: 1 },
    );
  });

  it("count an event that both have once, and say of which file it was; what one file has twice is left to repeats", async () => {
    const first = await file("a.csv", [
      "user,item,timestamp,event",
      ...rows().map((row, n) => `${row},${n % 7 === 3 ? "buy" : "view"}`),
    ]);
    const second = await file("b.csv", [
      "item,event,user,timestamp",
      ...["i0,view,u0,1000", "i0,buy,u0,1000", "i0,view,u0,1001", "i9,view,u0,2000", "i9,view,u0,2000"],
    ]);
    const { dataset, report } = await read([first, second], { repeats: "keep" });
    expect(report.files).toEqual([
      { name: "a.csv", rows: 72, alreadyThere: 0, events: 72 },
      { name: "b.csv", rows: 5, alreadyThere: 1, events: 4 },
    ]);
    const [drop] = report.drops.filter(({ reason }) => reason === "already-there");
    expect(drop).toMatchObject({ count: 1, examples: [{ row: 1, text: "b.csv: u0, i0" }] });
    expect(dataset.log.items).toHaveLength(72 + 4);
    expect(report.rowsRead).toBe(77);
  });

  it("refuse other columns, and a file most of whose rows cannot be read, however large the first is", async () => {
    const first = await file("a.csv", [HEADER, ...rows()]);
    const other = await file("b.csv", ["user,item,when", "u1,i1,2000"]);
    await expect(read([first, other])).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("b.csv has other columns than"),
      received: expect.stringContaining('"when"'),
    });
    const bad = await file("c.csv", [HEADER, "u1,i1,soon", "u1,i2,later", "u2,i1,2000"]);
    await expect(read([first, bad])).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("c.csv"),
    });
  });

  it("without times keep the order that was drawn, and draw what a later file adds after it", async () => {
    const untimed = (users: readonly number[]) => rows(users).map((row) => row.split(",").slice(0, 2).join(","));
    const everybody = Array.from({ length: 12 }, (_, user) => user);
    const first = await file("a.csv", ["user,item", ...untimed(everybody)]);
    const second = await file("b.csv", ["user,item", "u3,i1", "u3,i2", "u3,i4", "u3,i3", "u77,i3", "u77,i4"]);
    const before = histories((await read(first)).dataset);
    const after = histories((await read([first, second])).dataset);
    for (const [id, items] of Object.entries(before)) expect(after[id]!.slice(0, items.length)).toEqual(items);
    expect([...after.u3!.slice(before.u3!.length)].sort()).toEqual(
      ["i1", "i2", "i4"].filter((id) => !before.u3!.includes(id)),
    );
    expect(after.u77).toHaveLength(2);
  });

  it("of items and users lay later rows over earlier ones, column by column", async () => {
    const log = await file("a.csv", [HEADER, ...rows()]);
    const items = [
      await file("items.csv", ["item,title,price", "i0,Old (1990),1", "i1,Kept,2"]),
      await file("more.csv", ["item,price,stock", "i0,9,5", "i2,3,6"]),
    ];
    const users = [await file("users.csv", ["user,age", "u0,1", "u1,2"]), await file("u2.csv", ["user,age", "u0,30"])];
    const { dataset, report } = await read(log, { items, users });
    const { catalog } = dataset;
    const item = (id: string) => catalog.idOf(id)!;
    expect(catalog.items[item("i0")]).toMatchObject({ title: "Old", year: 1990 });
    const values = (name: string) => (catalog.columns!.get(name) as { values: Float64Array }).values;
    expect([values("price")[item("i0")], values("price")[item("i1")], values("stock")[item("i0")]]).toEqual([9, 2, 5]);
    const age = dataset.log.profile!.get("age") as { values: Float64Array };
    expect([age.values[dataset.log.indexOf("u0")!], age.values[dataset.log.indexOf("u1")!]]).toEqual([30, 2]);
    expect(report.notes.join("\n")).toContain("1 rows of more.csv take the place of earlier ones");
    expect(report.itemRowsRead).toBe(4);
  });
});

describe("since and until", () => {
  const days = ["2026-01-01", "2026-01-02", "2026-01-03", "2026-01-04"];
  const forms: Record<string, (day: string) => string> = {
    seconds: (day) => String(Date.parse(day) / 1000),
    milliseconds: (day) => String(Date.parse(day)),
    ISO: (day) => `${day}T00:00:00Z`,
    days: (day) => day,
    fractions: (day) => `${Date.parse(day) / 1000}.5`,
  };

  it.each(Object.keys(forms))("cut a log in %s at dates, the first included and the last not", async (form) => {
    const write = forms[form]!;
    const events = days.flatMap((day, n) => Array.from({ length: 8 }, (_, user) => `u${user},i${n},${write(day)}`));
    const log = await file(`${form}.csv`, [HEADER, ...events]);
    const { dataset, report } = await read(log, {
      since: "2026-01-02",
      until: "2026-01-04",
      split: { protocol: "user-disjoint", trainShare: 0.5, validShare: 0.2, historyShare: 0.5 },
    });
    expect(histories(dataset).u1).toEqual(["i1", "i2"]);
    expect(dropsOf(report.drops)).toMatchObject({ "before-since": 8, "from-until": 8 });
  });

  it("take numbers as the log has them, where these are no Unix times too", async () => {
    const log = await file("log.csv", [HEADER, ...rows()]);
    const { report } = await read(log, { since: "1100", until: "2100" });
    expect(dropsOf(report.drops)).toMatchObject({ "before-since": 6, "from-until": 6 });
    await expect(read(log, { since: "2026-01-01" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("are refused where there are no times, where nothing is left, and where they mean nothing", async () => {
    const untimed = await file("untimed.csv", ["user,item", ...rows().map((row) => row.split(",", 2).join(","))]);
    await expect(read(untimed, { since: "1100" })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("the log has none"),
    });
    const log = await file("log.csv", [HEADER, ...rows()]);
    await expect(read(log, { since: "99999" })).rejects.toMatchObject({
      code: "DATA_EMPTY",
      received: expect.stringContaining("72 before-since"),
    });
    await expect(read(log, { until: "soon" })).rejects.toMatchObject({ code: "CONFIG_INVALID", received: "soon" });
    await expect(read(log, { since: "1200", until: "1200" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});

describe("users who are known", () => {
  it("stay in their parts whoever comes, and those who come are drawn by themselves", () => {
    const sequencesOf = (ids: readonly string[]) => ({
      userIds: [...ids].sort(),
      indptr: Uint32Array.from({ length: ids.length + 1 }, (_, u) => 5 * u),
    });
    const partsOf = (ids: readonly string[], known?: ReadonlyMap<string, "train" | "valid" | "test">) => {
      const sequences = sequencesOf(ids);
      const { split } = applySplit(sequences, known === undefined ? {} : { known });
      const parts = new Map<string, "train" | "valid" | "test">();
      for (const part of ["train", "valid", "test"] as const) {
        for (const user of split[part].users) parts.set(sequences.userIds[user]!, part);
      }
      return parts;
    };
    const former = Array.from({ length: 40 }, (_, n) => `u${n}`);
    const known = partsOf(former);
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 3, maxLength: 6 }), { maxLength: 30 }), (more) => {
        const added = more.filter((id) => !known.has(id));
        const all = partsOf([...former, ...added], known);
        for (const [id, part] of known) expect(all.get(id)).toBe(part);
        const fewer = partsOf([...former, ...added.slice(0, added.length >> 1)], known);
        for (const [id, part] of fewer) expect(all.get(id)).toBe(part);
      }),
      { numRuns: 50, seed: 5 },
    );
    const many = partsOf([...former, ...Array.from({ length: 4000 }, (_, n) => `new${n}`)], known);
    const train = [...many.values()].filter((part) => part === "train").length / many.size;
    expect(Math.abs(train - 0.8)).toBeLessThan(0.03);
  });
});

describe("users who are to be forgotten", () => {
  it("are left out of every table and shown nowhere, and their list does not say who they are", async () => {
    const events = [...rows(), "u3,i1,soon", "u3,,1", "u4,,1"];
    const log = await file("log.csv", [HEADER, ...events]);
    const users = await file("users.csv", ["user,age", "u3,1", "u3,2", "u4,3"]);
    const forgotten = Forgotten.empty().with(["u3"]);
    const { dataset, report } = await read(log, { users, forgotten });
    expect(dataset.log.indexOf("u3")).toBeUndefined();
    expect(dropsOf(report.drops.filter(({ file }) => file === "interactions"))).toEqual({
      forgotten: 8,
      "missing-item": 1,
    });
    expect(JSON.stringify(report)).not.toMatch(/\bu3\b/);
    expect([
      forgotten.has("u3"),
      forgotten.has("u33"),
      new Forgotten(forgotten.salt, forgotten.hashes).has("u3"),
    ]).toEqual([true, false, true]);
    expect(JSON.stringify([forgotten.salt, forgotten.hashes])).not.toContain("u3");
    expect(Forgotten.empty().with(["u3"]).hashes).not.toEqual(forgotten.hashes);
  });

  it("leave a copy of a table that gives what the table gives without them", async () => {
    const extra = rows().map((row, n) => `${row},"note ""${n}""\t|x"`);
    const log = await file("log.csv", [`${HEADER},note`, ...extra, "u3;broken"]);
    const forgotten = Forgotten.empty().with(["u3"]);
    const target = join(folder, "copy.jsonl");
    expect(await writeWithoutUsers(log, target, { kind: "interactions" }, {}, forgotten)).toEqual({
      kept: 66,
      removed: 6,
      malformed: 1,
    });
    expect(await readFile(target, "utf8")).not.toContain("u3");
    const [copied, left] = [await read(target), await read(log, { forgotten })];
    expect(histories(copied.dataset)).toEqual(histories(left.dataset));
    expect(copied.dataset.log.timestamps).toEqual(left.dataset.log.timestamps);
    expect(
      await writeWithoutUsers(target, join(folder, "again"), { kind: "interactions" }, {}, forgotten),
    ).toBeUndefined();
  });
});
