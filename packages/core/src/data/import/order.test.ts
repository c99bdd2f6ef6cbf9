import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { csvOf, describeDataset, type Row, TestFiles } from "../../testing/dataset-files.js";
import { type ImportOptions, importDataset } from "./import.js";

let files: TestFiles;

beforeAll(async () => {
  files = await TestFiles.create();
});

afterAll(() => files.remove());

const ITEMS = 12;
/** Thirty users of eight to twelve items, every user's rows sorted by item id, as in HetRec's user_artists.dat. */
function sortedRows(name = (item: number): string => String(100 + item)): Row[] {
  const random = createRandom(1, "rows");
  return Array.from({ length: 30 }, (_, user) => {
    const items = random.shuffle(Array.from({ length: ITEMS }, (_, item) => item)).slice(0, 8 + random.integer(0, 5));
    return items.sort((a, b) => a - b).map((item): Row => [`u${user}`, name(item), random.integer(1, 50)]);
  }).flat();
}

const shuffled = (rows: readonly Row[]): Row[] => createRandom(2, "copy").shuffle([...rows]);

const HEADER = "userID,artistID,weight";

async function imported(rows: readonly Row[], header = HEADER, options: Partial<ImportOptions> = {}) {
  const { dataset, report } = await importDataset({
    interactions: await files.write(csvOf(header, rows)),
    core: { minimum: 2 },
    ...options,
  });
  return { ...describeDataset(dataset), unordered: dataset.log.unordered, report };
}

describe("the order of events without times", () => {
  it("is drawn, so that a file sorted by item id gives the very dataset of its shuffled self", async () => {
    const rows = sortedRows();
    const [sorted, mixed] = [await imported(rows), await imported(shuffled(rows))];
    const { report, ...rest } = sorted;
    const { report: _, ...others } = mixed;
    expect(rest).toEqual(others);
    const ascending = Object.values(sorted.sequences).filter((items) => `${items}` === `${[...items].sort()}`);
    expect(ascending).toEqual([]);
    expect(report.order).toEqual({ by: "random", ties: "random", timedShare: 0 });
    expect(sorted.unordered).toBe(true);
    expect(report.warnings).toEqual([
      'no time column was recognised among "userID", "artistID", "weight": each user\'s order is drawn from the seed ' +
        "(--order file takes the file's); in the file each user's rows are sorted by \"artistID\"",
    ]);
  });

  it("is another with another seed, and no news where it was asked for", async () => {
    const rows = sortedRows();
    const first = await imported(rows);
    const second = await imported(rows, HEADER, { order: "random", split: { seed: 7 } });
    expect(second.sequences).not.toEqual(first.sequences);
    expect(second.report.warnings).toEqual([]);
    expect(second.report.notes).toEqual([expect.stringContaining("drawn from the seed")]);
  });

  it("is the file's where that is asked for, and the sort order is named, numbers and texts alike", async () => {
    for (const name of [(item: number) => String(item), (item: number) => `i${item}`]) {
      const rows = sortedRows(name).sort((a, b) =>
        a[0] === b[0] ? Number(String(a[1]).replace("i", "")) - Number(String(b[1]).replace("i", "")) : 0,
      );
      const textual = name(1) === "i1";
      const own = textual ? rows.sort((a, b) => (a[0] === b[0] ? (a[1]! < b[1]! ? -1 : 1) : 0)) : rows;
      const { sequences, unordered, report } = await imported(own, HEADER, { order: "file" });
      expect(unordered).toBeUndefined();
      expect(sequences.u3).toEqual(own.filter(([user]) => user === "u3").map(([, item]) => item));
      expect(report.order.by).toBe("file");
      expect(report.warnings).toEqual([
        expect.stringContaining('sorted by "artistID", which need not be an order of time'),
      ]);
    }
    const { report } = await imported(shuffled(sortedRows()), HEADER, { order: "file" });
    expect(report.warnings).toEqual([]);
    expect(report.notes).toEqual([expect.stringContaining("the file's order stands for times")]);
  });

  it("names any other column that sorts a user's rows", async () => {
    const rows = sortedRows().sort((a, b) => (a[0] === b[0] ? Number(b[2]) - Number(a[2]) : 0));
    const { report } = await imported(rows, HEADER, { order: "file" });
    expect(report.warnings).toEqual([expect.stringContaining('sorted by "weight", largest first')]);
  });

  it("suspects neither the number of the row nor a column of times that is not to be read", async () => {
    const rows = shuffled(sortedRows()).map(([user, item], n): Row => [n, user!, item!, 1_600_000_000 + n]);
    const options = { order: "file", columns: { timestamp: "none" } } as const;
    const { report } = await imported(rows, "id,userID,artistID,timestamp", options);
    expect(report.warnings).toEqual([]);
    expect(report.passedOver).toEqual([{ column: "timestamp", flag: "--time-column timestamp" }]);
  });

  it("holds where the column of times is empty, which is said", async () => {
    const rows = sortedRows().map(([user, item], n): Row => [user!, item!, n % 2 === 0 ? "" : "nan"]);
    const empty = await imported(rows, "user,item,timestamp");
    const none = await imported(
      rows.map((row) => row.slice(0, 2)),
      "user,item",
    );
    expect(empty.sequences).toEqual(none.sequences);
    expect(empty.report).toMatchObject({ timing: { timed: false }, order: { by: "random" }, drops: [] });
    expect(empty.report.warnings).toEqual([expect.stringContaining('the time column "timestamp" is empty')]);
  });

  it("refuses a temporal split", async () => {
    await expect(imported(sortedRows(), HEADER, { split: { protocol: "temporal" } })).rejects.toMatchObject({
      code: "SPLIT_INVALID",
    });
  });
});

describe("the order of events of one time", () => {
  /** Three invoices a user; the rows of an invoice share their time and are sorted by item id. */
  const invoices = (): Row[] =>
    sortedRows().map(([user, item], n, all) => {
      const own = all.slice(0, n).filter(([other]) => other === user).length;
      return [user!, item!, 1_600_000_000 + Math.floor(own / 4)];
    });

  it("stays the file's by default, with the share of ties and what sorts them said", async () => {
    const { report, sequences } = await imported(invoices(), "user,item,timestamp");
    expect(sequences.u0).toEqual(
      invoices()
        .filter(([user]) => user === "u0")
        .map(([, item]) => item),
    );
    expect(report.timing.tiedShare).toBeGreaterThan(0.9);
    expect(report.warnings).toEqual([
      expect.stringMatching(
        /^9\d\.\d % of events share their time .* sorted by "item": --ties random draws their order$/,
      ),
    ]);
  });

  it("is drawn where that is asked for: the same from a shuffled file, and never across times", async () => {
    const rows = invoices();
    const options = { ties: "random" } as const;
    const first = await imported(rows, "user,item,timestamp", options);
    const second = await imported(shuffled(rows), "user,item,timestamp", options);
    expect(second.sequences).toEqual(first.sequences);
    expect(first.sequences).not.toEqual((await imported(rows, "user,item,timestamp")).sequences);
    for (const [user, items] of Object.entries(first.sequences)) {
      const times = items.map((item) => rows.find((row) => row[0] === user && String(row[1]) === item)![2]);
      expect(times).toEqual([...times].sort());
    }
    expect(first.report.warnings).toEqual([]);
    expect(first.report.notes).toEqual([expect.stringContaining("their order is drawn from the seed")]);
  });

  it("is sorted by title where that is what the file did", async () => {
    const titles = Array.from({ length: ITEMS }, (_, item) => `title ${String((item * 7) % ITEMS).padStart(2, "0")}`);
    const rows = invoices().sort((a, b) =>
      a[0] === b[0] && a[2] === b[2] ? (titles[Number(a[1]) - 100]! < titles[Number(b[1]) - 100]! ? -1 : 1) : 0,
    );
    const items = await files.write(
      csvOf(
        "item,title",
        titles.map((title, item): Row => [100 + item, title]),
      ),
    );
    const { report } = await imported(rows, "user,item,timestamp", { items });
    expect(report.warnings).toEqual([expect.stringContaining('sorted by "title"')]);
  });

  it("needs no word where there are hardly any", async () => {
    const rows = sortedRows().map(([user, item], n): Row => [user!, item!, 1_600_000_000 + n]);
    const { report, unordered } = await imported(rows, "user,item,timestamp");
    expect([report.notes, report.warnings]).toEqual([[], []]);
    expect(unordered).toBeUndefined();
  });
});
