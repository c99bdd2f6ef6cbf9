import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { catalogOf, datasetOf } from "../../../core/src/testing/catalog.js";
import { judgeLog } from "./judge-log.js";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-log-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

// Two training users: popularity 2, 1, 1, 0.
const catalog = catalogOf(
  ["a", "b", "c", "d"].map((id) => ({ id })),
  Uint32Array.of(0, 2, 1, 1, 0),
);
const dataset = datasetOf(catalog, [
  [1, 2],
  [1, 3],
]);
const HOUR = 3_600_000_000n;

interface Shown {
  readonly user: string | null;
  readonly hour: number;
  readonly items: readonly string[];
  readonly variant?: string;
  readonly first?: number;
}

const at = (hour: number): string => new Date(Date.UTC(2026, 10, 1, hour)).toISOString();

const lineOf = ({ user, hour, items, variant, first = 1 }: Shown): string =>
  JSON.stringify({
    time: at(hour),
    requestId: "r",
    user,
    variant: variant ?? null,
    model: "hash",
    fallback: null,
    exact: true,
    rules: [],
    items: items.map((id, n) => ({ id, position: first + n, interest: null })),
    interests: [],
  });

let written = 0;
async function judge(shown: readonly Shown[], events: readonly string[], within = 24n * HOUR) {
  const log = join(folder, `${++written}.jsonl`);
  const table = join(folder, `${written}.csv`);
  await writeFile(log, shown.map((each) => `${lineOf(each)}\n`).join(""));
  await writeFile(table, `${["user,item,timestamp", ...events].join("\n")}\n`);
  const signal = new AbortController().signal;
  return await judgeLog(dataset, { log, events: table, run: folder, within, seed: 1, signal });
}

describe("lists that were shown", () => {
  it("are judged by what their user did afterwards, at the positions where items stood", async () => {
    const { variants, notes, differences } = await judge(
      [
        // Before it: no hit. After it: b at position 2, and d, which was not shown.
        { user: "u0", hour: 2, items: ["a", "b", "c"] },
        // Its next page: nothing of it, a day and more later too late.
        { user: "u0", hour: 2, items: ["d"], first: 4 },
        // Nothing was done afterwards.
        { user: "u1", hour: 3, items: ["a"] },
        { user: null, hour: 4, items: ["a", "gone"] },
      ],
      [`u0,a,${at(1)}`, `u0,b,${at(5)}`, `u0,x,${at(6)}`, `u0,c,${at(40)}`, `u9,a,${at(50)}`],
    );
    const { all } = variants;
    expect(Object.keys(variants)).toEqual(["all"]);
    expect(all).toMatchObject({ lists: 4, users: 2, engaged: 2 });
    const means = Object.fromEntries(Object.entries(all!.metrics).map(([name, { mean }]) => [name, mean]));
    // Over u0's two lists and u1's one; recall and NDCG over u0's alone.
    expect(means["hit-rate"]).toBeCloseTo((1 / 2 + 0) / 2, 12);
    expect(means.precision).toBeCloseTo((1 / 3 / 2 + 0) / 2, 12);
    expect(means.recall).toBeCloseTo((1 / 2 + 0) / 2, 12);
    expect(means.ndcg).toBeCloseTo(1 / Math.log2(3) / (1 + 1 / Math.log2(3)) / 2, 12);
    expect(differences).toEqual([]);
    expect(notes.join("\n")).toMatch(/1 lists were for no user[\s\S]*1 shown items are not in the run's catalog/);
    expect(notes.join("\n")).not.toContain("too shortly");
  });

  it("count what they do to the catalog, whatever came of them", async () => {
    const { variants } = await judge(
      [
        { user: null, hour: 1, items: ["a", "b"] },
        { user: null, hour: 1, items: ["a"] },
      ],
      [`u,a,${at(9)}`],
    );
    const { exposure, metrics, users } = variants.all!;
    expect(exposure).toMatchObject({ n: 2, coverage: 0.5, averagePopularity: (3 / 4 + 1) / 2 });
    expect(exposure.novelty).toBeCloseTo((Math.log2(3 / 3) + Math.log2(3 / 2)) / 2 / 2, 12);
    expect([metrics, users]).toEqual([{}, 0]);
  });

  it("of several variants are told apart over different users, with intervals that know chance from gain", async () => {
    const shown: Shown[] = [];
    const events: string[] = [];
    for (let n = 0; n < 300; n++) {
      const variant = ["control", "same", "better"][n % 3]!;
      shown.push({ user: `p${n}`, hour: 1, items: ["a", "b"], variant });
      // Of each ten users of a variant two engage with the list, of the better one six.
      const often = variant === "better" ? 6 : 2;
      events.push(`p${n},${Math.floor(n / 3) % 10 < often ? "b" : "d"},${at(3)}`);
    }
    shown.push({ user: "p0", hour: 2, items: ["a"], variant: "better" });
    events.push(`late,a,${at(60)}`);
    const { variants, differences, notes } = await judge(shown, events);
    expect(Object.keys(variants)).toEqual(["better", "control", "same"]);
    expect(variants.same).toMatchObject({ lists: 100, users: 100, engaged: 100 });
    expect(variants.same!.metrics["hit-rate"]!.mean).toBeCloseTo(0.2, 12);
    const between = (a: string, b: string) => differences.find((each) => each.a === a && each.b === b)!.metrics;
    const gain = between("control", "better")["hit-rate"]!;
    expect(gain.mean).toBeCloseTo(0.2 - 60 / 101, 12);
    expect(gain.high).toBeLessThan(0);
    const none = between("same", "control")["hit-rate"]!;
    expect(none.mean).toBe(0);
    expect(none.low).toBeLessThan(-0.05);
    expect(none.high).toBeGreaterThan(0.05);
    // Two proportions of 100 users each.
    expect(none.standardError / Math.sqrt((2 * 0.2 * 0.8) / 100)).toBeCloseTo(1, 1);
    expect(notes).toContainEqual(expect.stringContaining("1 users had lists of several variants"));
  });

  it("count events for no longer than asked, and say which lists nobody could have answered yet", async () => {
    const shown = [
      { user: "u0", hour: 1, items: ["a"] },
      { user: "u1", hour: 6, items: ["a"] },
    ];
    const events = [`u0,a,${at(3)}`, `u1,b,${at(7)}`];
    expect((await judge(shown, events, 2n * HOUR)).variants.all!.metrics["hit-rate"]!.mean).toBe(0.5);
    const short = await judge(shown, events, HOUR);
    expect(short.variants.all!.metrics["hit-rate"]!.mean).toBe(0);
    expect(short.notes).toEqual([]);
    expect((await judge(shown, events, 2n * HOUR)).notes).toEqual([
      expect.stringContaining("1 lists were shown too shortly"),
    ]);
  });

  it("that a killed process did not finish writing are left out and said; a damaged line is named", async () => {
    const shown: Shown = { user: "u0", hour: 1, items: ["a"] };
    const log = join(folder, "torn.jsonl");
    const events = join(folder, "torn.csv");
    await writeFile(events, `user,item,timestamp\nu0,a,${at(30)}\n`);
    const options = { log, events, run: folder, within: HOUR, seed: 1, signal: new AbortController().signal };
    await writeFile(log, `${lineOf(shown)}\n${lineOf(shown).slice(0, 30)}`);
    const { lists, notes } = await judgeLog(dataset, options);
    expect([lists, notes]).toEqual([1, [expect.stringContaining("30 bytes at the end")]]);
    await appendFile(log, "\n");
    await expect(judgeLog(dataset, options)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("line 2 of"),
    });
    await writeFile(log, `${lineOf(shown)}\n${lineOf(shown)}\n{"time": "${at(1)}"}\n`);
    await expect(judgeLog(dataset, options)).rejects.toMatchObject({
      message: expect.stringContaining("line 3 of"),
      received: expect.stringContaining("#/requestId"),
    });
    await writeFile(log, "");
    await expect(judgeLog(dataset, options)).rejects.toMatchObject({ code: "DATA_EMPTY" });
    await expect(judgeLog(dataset, { ...options, log: join(folder, "none") })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
    await writeFile(log, `${lineOf(shown)}\n`);
    await writeFile(events, "user,item\nu0,a\n");
    await expect(judgeLog(dataset, options)).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("does not say when"),
    });
    const { events: _, ...without } = options;
    await expect(judgeLog(dataset, without)).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
      hint: expect.stringContaining("--events"),
    });
  });
});
