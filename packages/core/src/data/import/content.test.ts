import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { isPrismrecError } from "../../base/errors.js";
import { csvOf, describeDataset, type Row, TestFiles, unaccounted } from "../../testing/dataset-files.js";
import { type ImportOptions, importDataset } from "./import.js";
import { withDuckDb } from "./tables/duckdb.js";

let files: TestFiles;

beforeAll(async () => {
  files = await TestFiles.create();
});

afterAll(() => files.remove());

const NO_CORE = { core: { mode: "none" } } as const;
const USERS = Array.from({ length: 12 }, (_, user) => `u${String(user).padStart(2, "0")}`);
const TIME = 1_600_000_000;

/** Twelve users of three among six items, one second apart; ids and times as the functions write them. */
function grid(user = (u: number): string => USERS[u]!, item = (i: number): string => `i${i}`): Row[] {
  return USERS.flatMap((_, u) => [0, 1, 2].map((n): Row => [user(u), item((u + n) % 6), TIME + 100 * u + n]));
}

const HEADER = "user_id,item_id,timestamp";

async function imported(rows: readonly Row[], header = HEADER, options: Partial<ImportOptions> = {}) {
  const interactions = await files.write(csvOf(header, rows));
  const { dataset, report } = await importDataset({ interactions, ...NO_CORE, ...options });
  expect(unaccounted(report)).toBe(0);
  return { ...describeDataset(dataset), report };
}

const counts = (report: { drops: readonly { reason: string; count: number }[] }): Record<string, number> =>
  Object.fromEntries(report.drops.map(({ reason, count }) => [reason, count]));

describe("ids that stand for none", () => {
  it.each(["nan", "NaN", "NULL", "null", "None", "NA", "N/A", "\\N", "<NA>", ""])(
    "%s is no user and no item",
    async (none) => {
      const rows: Row[] = [...grid(), [none, "i0", TIME], ["u00", none, TIME], [none, "i4", TIME]];
      const { report, sequences, items } = await imported(rows);
      expect(counts(report)).toEqual({ "missing-user": 2, "missing-item": 1 });
      expect(Object.keys(sequences)).toEqual(USERS);
      expect(items).not.toContain(none === "" ? "no such item" : none);
      expect(report.drops[0]!.examples[0]).toMatchObject({ row: 37 });
    },
  );

  it("are ids where the others are such words too, and that is said", async () => {
    const names = "ada bob cyd dan eve fay gus hal ida joe kim lou".split(" ");
    const rows = [...grid((u) => names[u]!), ["na", "i0", TIME], ["na", "i1", TIME]] satisfies Row[];
    const { report, sequences } = await imported(rows);
    expect(sequences.na).toEqual(["i0", "i1"]);
    expect(report.warnings).toEqual(['"na" is kept as a user: the other ids are such words too (2 rows)']);
    // Strangers that pandas could not name are more than any one user.
    const many = [
      ...grid((u) => names[u]!),
      ...Array.from({ length: 9 }, (_, n): Row => ["nan", `i${n % 6}`, TIME + n]),
    ];
    expect(counts((await imported(many)).report)).toEqual({ "missing-user": 9 });
    // In another case it is what a program wrote.
    const upper = [...grid((u) => names[u]!), ["NULL", "i0", TIME] satisfies Row];
    expect(counts((await imported(upper)).report)).toEqual({ "missing-user": 1 });
  });
});

describe("titles that stand for none", () => {
  it("are none", async () => {
    const titles = ["nan", "NULL", "\\N", "None", "Nancy", "N/A"];
    const items = await files.write(
      csvOf(
        "item_id,title",
        titles.map((title, i): Row => [`i${i}`, title]),
      ),
    );
    const { dataset, report } = await importDataset({
      interactions: await files.write(csvOf(HEADER, grid())),
      items,
      ...NO_CORE,
    });
    // "None" may be a title; so may an abbreviation.
    expect(dataset.catalog.items.map(({ title }) => title).filter((title) => title !== "")).toEqual(["None", "Nancy"]);
    expect(report.titleShare).toBeCloseTo(2 / 6);
  });
});

describe("ids in two forms", () => {
  it("12.0 beside 12 is pointed out, and all in .0 is noted", async () => {
    const both = await imported(grid((u) => (u % 3 === 0 ? `${Math.floor(u / 2)}.0` : String(Math.floor(u / 2)))));
    expect(both.report.warnings).toEqual([
      "4 user ids occur in two forms, such as 0.0 and 0: they count as two users".replace("4", String(count(both))),
    ]);
    const mixed = await imported(grid((u) => (u % 2 === 0 ? `${u}.0` : String(u))));
    expect(mixed.report.warnings).toEqual(["6 user ids are written like 0.0, 6 like 1: 12.0 and 12 are two users"]);
    const floats = await imported(grid((u) => `${u}.0`));
    expect(floats.report.warnings).toEqual([]);
    expect(floats.report.notes).toEqual([expect.stringContaining("every user id ends in .0")]);
  });

  const count = ({ sequences }: { sequences: Record<string, unknown> }): number =>
    Object.keys(sequences).filter((id) => id.endsWith(".0") && id.slice(0, -2) in sequences).length;

  it("shows ids of both files where none meet", async () => {
    const items = await files.write(
      csvOf(
        "id,title",
        [0, 1, 2].map((i): Row => [`x${i}`, `Title ${i}`]),
      ),
    );
    const { report } = await imported(grid(), HEADER, { items });
    expect(report.warnings).toEqual([
      expect.stringContaining("the events name i0, i1, i2, the file x0, x1, x2: --item-id names its id column"),
    ]);
  });

  it("tells by what the ids of both files differ", async () => {
    const items = await files.write(
      csvOf(
        "id,title",
        [0, 1, 2, 3, 4, 5].map((i): Row => [i, `Title ${i}`]),
      ),
    );
    const { report } = await imported(
      grid(undefined, (i) => `${i}.0`),
      HEADER,
      { items },
    );
    expect(report.warnings).toEqual([
      expect.stringMatching(/6 of 6 items have no row .*differ only in a trailing \.0, such as "\d\.0" and "\d"/),
    ]);
  });
});

describe("categories", () => {
  it("of another separator are pointed out with the flag that takes them apart", async () => {
    const items = await files.write(
      csvOf(
        "item_id,title,genres",
        [0, 1, 2, 3, 4, 5].map((i): Row => [`i${i}`, `T${i}`, i === 0 ? "Drama" : '"War, Drama"']),
      ),
    );
    const { report } = await imported(grid(), HEADER, { items });
    expect(report.warnings).toEqual([
      'no cell of "genres" holds "|" while most hold ", ": --category-separator ", " takes them apart',
    ]);
    const named = await imported(grid(), HEADER, { items, categorySeparator: ", " });
    expect(named.report.warnings).toEqual([]);
  });
});

describe("columns", () => {
  const swap = (header: string): string => header;

  it.each([
    ["customer_id,sku,purchased_at", { user: "customer_id", item: "sku", timestamp: "purchased_at" }],
    ["CustomerID,StockCode,InvoiceDate", { user: "CustomerID", item: "StockCode", timestamp: "InvoiceDate" }],
    ["account_id,product_id,order_date", { user: "account_id", item: "product_id", timestamp: "order_date" }],
    ["visitorid,itemid,event_time", { user: "visitorid", item: "itemid", timestamp: "event_time" }],
    ["user.id,track_name,played_at", { user: "user.id", item: "track_name", timestamp: "played_at" }],
    ["userId,contentId,watchedAt", { user: "userId", item: "contentId", timestamp: "watchedAt" }],
    ["user_id,item_id,rated_at", { user: "user_id", item: "item_id", timestamp: "rated_at" }],
    ["user_id,item_id,timestamp_ms", { user: "user_id", item: "item_id", timestamp: "timestamp_ms" }],
    // No list has these: the ending of the name and the values say what they are.
    ["user_id,item_id,tasted_on", { user: "user_id", item: "item_id", timestamp: "tasted_on" }],
    ["user_id,item_id,lastSeenDate", { user: "user_id", item: "item_id", timestamp: "lastSeenDate" }],
  ])("%s are known", async (header, expected) => {
    const { report } = await imported(grid(), swap(header));
    expect(report.columns).toEqual(expected);
    expect(report.timing.timed).toBe(true);
  });

  it("offers what it passes over, by name and by value, with the flag that takes it", async () => {
    const rows = grid().map(
      ([user, item, time], n): Row => [
        ...[user!, item!, time!, `s${n % 12}`, `o${n % 7}`],
        ...[new Date(1e12 + 1e9 * n).toISOString(), 1_500_000_000 + n, n % 5],
      ],
    );
    const header = `${HEADER},session_id,product_id,zeit,wann genau,note`;
    const { report } = await imported(rows, header);
    expect(report.passedOver).toEqual([
      { column: "session_id", flag: "--user-column session_id" },
      { column: "product_id", flag: "--item-column product_id" },
      { column: "zeit", flag: "--time-column zeit" },
      { column: "wann genau", flag: '--time-column "wann genau"' },
    ]);
    const taken = await imported(rows, header, { columns: { timestamp: "zeit", user: "session_id" } });
    expect(taken.report.columns).toMatchObject({ user: "session_id", timestamp: "zeit" });
  });

  it("does not take an attribute of items for the time of events", async () => {
    const rows = grid().map(([user, item]): Row => [user!, item!, `20${item!.toString().replace("i", "1")}-01-05`]);
    const { report } = await imported(rows, "user_id,item_id,release_date");
    expect(report.order.by).toBe("random");
    expect(report.passedOver).toEqual([{ column: "release_date", flag: "--time-column release_date" }]);
  });

  it("reads a date and a time of day from two columns, found or named", async () => {
    const rows = grid().map(([user, item, time]): Row => {
      const iso = new Date(Number(time) * 1000).toISOString();
      return [user!, item!, iso.slice(0, 10), iso.slice(11, 19)];
    });
    const whole = await imported(grid());
    const found = await imported(rows, "user_id,item_id,date,time");
    expect(found.sequences).toEqual(whole.sequences);
    expect(found.report.columns.timestamp).toBe("date,time");
    expect(found.report.notes).toContain('times are put together from "date" and "time"');
    const named = await imported(rows, "user_id,item_id,d,t", { columns: { timestamp: "d,t" } });
    expect(named.sequences).toEqual(whole.sequences);
    const without = await imported(
      rows.map((row) => [row[0]!, row[1]!, row[3]!]),
      "user_id,item_id,time",
    );
    expect(without.report.order.by).toBe("random");
    expect(without.report.warnings[0]).toContain('"time" holds times of day without a date');
  });

  it("goes without times where that is asked for", async () => {
    const { report } = await imported(grid(), HEADER, { columns: { timestamp: "none" } });
    expect(report.order.by).toBe("random");
    expect(report.passedOver).toEqual([{ column: "timestamp", flag: "--time-column timestamp" }]);
  });

  it.each(["id", "ID", "index", "Unnamed: 0", ""])("takes no row number %s for the item", async (name) => {
    const rows = grid().map(([user, item, time], n): Row => [n, user!, item!, time!]);
    const known = await imported(rows, `${name},user_id,sku,timestamp`);
    expect(known.report.columns.item).toBe("sku");
    const refused = imported(rows, `${name},user_id,thing,timestamp`);
    await expect(refused).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("no item column"),
      hint: expect.stringMatching(/differs in every row.*--item-column.*"thing"/),
    });
  });

  it("judges values where rows end before the header does", async () => {
    const rows = grid().map(([user, item, time], n): Row => [n, user!, item!, time!]);
    const { report } = await imported(rows, "id,user_id,sku,timestamp,");
    expect(report.columns.item).toBe("sku");
    expect(report.notes).toEqual([expect.stringContaining('"id" differs in every row')]);
  });

  it("takes a column id whose values come again for the item", async () => {
    expect((await imported(grid(), "user_id,id,timestamp")).report.columns.item).toBe("id");
  });

  it("doubts a named column that differs in every row", async () => {
    const rows = grid().map(([user, , time], n): Row => [user!, `n${n}`, time!]);
    const { report } = await imported(rows, "user_id,entry,timestamp", { columns: { item: "entry" } });
    expect(report.warnings).toEqual([expect.stringContaining('the item column "entry" differs in every row')]);
  });

  it("names the candidates where no user column is known", async () => {
    await expect(imported(grid(), "wer,item_id,timestamp")).rejects.toMatchObject({
      message: expect.stringContaining("no user column"),
      hint: expect.stringMatching(/--user-column: it could be "wer"/),
    });
  });

  it("reads a 32-bit float of another column, and refuses it as the time", async () => {
    const path = `${files.dir}/floats.parquet`;
    await withDuckDb(async (connection) => {
      const values = grid()
        .map(([user, item, time]) => `('${user}', '${item}', ${time}::BIGINT, 1.5::FLOAT)`)
        .join(", ");
      await connection.run(
        `COPY (SELECT * FROM (VALUES ${values}) t(user_id, item_id, timestamp, counts)) TO '${path}' (FORMAT parquet)`,
      );
    });
    expect((await importDataset({ interactions: path, ...NO_CORE })).report.kept.events).toBe(36);
    const refused = importDataset({ interactions: path, ...NO_CORE, columns: { timestamp: "counts" } });
    await expect(refused).rejects.toMatchObject({ code: "DATA_FORMAT", received: expect.stringContaining("FLOAT") });
  });
});

describe("pipes", () => {
  it("give the dataset of the files that went through them, the split file's too", async () => {
    const events = csvOf(HEADER, grid());
    const titles = csvOf(
      "item_id,title",
      [0, 1, 2, 3, 4, 5].map((i): Row => [`i${i}`, `Title ${i}`]),
    );
    const parts = csvOf(
      "user,part",
      USERS.map((user, u): Row => [user, u < 8 ? "train" : u < 10 ? "valid" : "test"]),
    );
    const contents = [events, titles, parts];
    const [interactions, items, file] = await Promise.all(contents.map((content) => files.write(content)));
    const plain = await importDataset({
      interactions: interactions!,
      items: items!,
      split: { file: file! },
      ...NO_CORE,
    });
    const pipes = contents.map((_, n) => `${files.dir}/pipe-${n}`);
    for (const [n, pipe] of pipes.entries()) {
      execFileSync("mkfifo", [pipe]);
      void writeFile(pipe, contents[n]!);
    }
    const [first, second, third] = pipes;
    const piped = await importDataset({ interactions: first!, items: second!, split: { file: third! }, ...NO_CORE });
    expect(piped.dataset.fingerprint).toBe(plain.dataset.fingerprint);
    expect(describeDataset(piped.dataset)).toEqual(describeDataset(plain.dataset));
  });
});

describe("unreadable rows", () => {
  const spoilt = (bad: number): Row[] => grid().map((row, n) => (n < bad ? [row[0]!, row[1]!, "soon"] : row));

  it("are a warning above 2 % and an error above a half, with three of them shown", async () => {
    const many = Array.from({ length: 20 }, () => grid()).flat();
    expect((await imported([...many, ["u0", "i0", "soon"]])).report.warnings).toEqual([]);
    const { report } = await imported(spoilt(4));
    expect(report.warnings).toEqual([
      "4 of 36 rows of interactions (11.1 %) cannot be used: 4 bad-timestamp; row 1 (bad-timestamp): u00, i0, soon; " +
        "row 2 (bad-timestamp): u00, i1, soon; row 3 (bad-timestamp): u00, i2, soon",
    ]);
    await expect(imported(spoilt(19))).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("most rows cannot be read"),
      received: expect.stringMatching(/36 rows, dropped: 19 bad-timestamp\nrow 1 .*soon\nrow 2 .*\nrow 3 .*$/),
      hint: expect.stringContaining("--time-column"),
    });
  });

  it("are counted apart from repeats, filters and the core, which are no faults", async () => {
    const rows: Row[] = [...grid(), ...grid(), ["loner", "i0", TIME], ["u00", "", TIME]];
    const { report } = await imported(rows, HEADER, { core: { minimum: 3 } });
    expect(counts(report)).toEqual({ "missing-item": 1, duplicate: 36, "below-core": 1 });
    expect(report.warnings).toEqual([]);
  });

  it("of an items file are judged alike", async () => {
    const items = await files.write(csvOf("item_id,title", [...Array(4).fill(["", "x"]), ["i0", "y"]]));
    await expect(imported(grid(), HEADER, { items })).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("most rows cannot be read"),
      hint: expect.stringContaining("--item-id"),
    });
  });
});

describe("every row", () => {
  it("is kept or counted under a reason, whatever the rows and the settings", async () => {
    const odd = (...cells: string[]) => fc.constantFrom(...cells);
    const row = fc.tuple(
      fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...USERS) }, odd("", "nan", "12.0", "NULL")),
      fc.oneof({ weight: 9, arbitrary: fc.constantFrom("a1", "a2", "a3", "a4", "a5") }, odd("", "None", "\\N")),
      fc.oneof(
        { weight: 40, arbitrary: fc.integer({ min: TIME, max: TIME + 50 }).map(String) },
        odd("", "soon", "1600000000.5", "1600000000000", "2020-09-13", "13/09/2020", "0"),
      ),
      odd("1", "3", "5", "", "good"),
      odd("view", "buy", "cart", ""),
    );
    const settings = fc.record({
      repeats: fc.constantFrom("earliest", "keep"),
      ties: fc.constantFrom("file", "random"),
      core: fc.record({
        mode: fc.constantFrom("iterative_kcore", "single_pass", "none"),
        minimum: fc.constantFrom(1, 3),
      }),
      minRating: fc.constantFrom(undefined, 2),
      events: fc.constantFrom(undefined, ["buy", "view"]),
    });
    let kept = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(row, { minLength: 150, maxLength: 200 }), settings, async (rows, chosen) => {
        const { minRating, events, ...rest } = chosen;
        const options = {
          interactions: await files.write(csvOf("user,item,time,rating,event", rows)),
          ...rest,
          ...(minRating === undefined ? {} : { minRating }),
          ...(events === undefined ? {} : { events }),
        } as ImportOptions;
        try {
          const { report } = await importDataset(options);
          expect(report.rowsRead).toBe(rows.length);
          expect(unaccounted(report)).toBe(0);
          kept++;
        } catch (error) {
          if (!isPrismrecError(error)) throw error;
          expect(["DATA_FORMAT", "DATA_EMPTY", "SPLIT_INVALID"]).toContain(error.code);
        }
      }),
      { numRuns: 40 },
    );
    // About seventeen of the forty are imported; the others are refused for what they are.
    expect(kept).toBeGreaterThan(5);
  });
});

describe("ratings and events", () => {
  const RATED = `${HEADER},rating,behavior`;
  /** Each user's five events: three rated 4 or more, two views, a cart and two purchases. */
  const FACTS: readonly Row[] = [
    [5, "view"],
    [4.5, "cart"],
    [4, "buy"],
    [2, "view"],
    [0.5, "buy"],
  ];
  const five = (): Row[] =>
    USERS.flatMap((user, u) => FACTS.map((_, n): Row => [user, `i${(u + n) % 6}`, TIME + 100 * u + n]));
  const rated = (): Row[] => five().map((row, n) => [...row, ...FACTS[n % 5]!]);

  it("are ignored by default, and that is said", async () => {
    const plain = await imported(five());
    const { report, sequences } = await imported(rated(), RATED);
    expect(sequences).toEqual(plain.sequences);
    expect(report.notes).toEqual([expect.stringContaining('ratings in "rating" are ignored')]);
    expect(report.warnings).toEqual([expect.stringMatching(/whatever "behavior" says \(view, cart, buy\): --events/)]);
  });

  it("leaves out what is rated lower than was asked for, counted under its own reason", async () => {
    const { report } = await imported(rated(), RATED, { minRating: 4 });
    expect(counts(report)).toEqual({ "below-min-rating": 24 });
    expect(report).toMatchObject({ minRating: 4, columns: { rating: "rating" } });
    const named = await imported(rated(), `${HEADER},x,y`, { minRating: 4, columns: { rating: "x" } });
    expect(counts(named.report)).toEqual({ "below-min-rating": 24 });
    const odd = [...rated(), ["u00", "i5", TIME, "great", "buy"] satisfies Row];
    expect(counts((await imported(odd, RATED, { minRating: 4 })).report)).toMatchObject({ "bad-rating": 1 });
  });

  it("counts the events that were asked for, with their weights, and the others apart", async () => {
    const { report } = await imported(rated(), RATED, { events: ["Buy=5", "view"] });
    expect(counts(report)).toEqual({ "other-event": 12 });
    expect(report.events).toEqual([
      { name: "Buy", weight: 5, rows: 24 },
      { name: "view", weight: 1, rows: 24 },
    ]);
    const absent = await imported(rated(), RATED, { events: ["buy", "wish"] });
    expect(absent.report.warnings).toContain('no row with the event "wish" is left');
    await expect(imported(rated(), RATED, { events: ["wish"] })).rejects.toMatchObject({
      code: "DATA_FORMAT",
      hint: expect.stringContaining("view, cart, buy"),
    });
  });

  it("refuses filters that have no column, and events that cannot be read", async () => {
    await expect(imported(grid(), HEADER, { minRating: 4 })).rejects.toMatchObject({
      code: "DATA_FORMAT",
      hint: expect.stringContaining("--rating-column"),
    });
    await expect(imported(grid(), HEADER, { events: ["buy"] })).rejects.toMatchObject({
      hint: expect.stringContaining("--event-column"),
    });
    for (const events of [[], ["=3"], ["buy=0"], ["buy=much"], ["buy", "Buy=2"]]) {
      await expect(imported(rated(), RATED, { events }), String(events)).rejects.toMatchObject({
        code: "CONFIG_INVALID",
      });
    }
  });

  it("are part of the fingerprint, as is what orders events", async () => {
    const interactions = await files.write(csvOf(RATED, rated()));
    const variants: Partial<ImportOptions>[] = [
      ...[{}, { minRating: 3 }, { events: ["buy"] }, { events: ["buy=2"] }, { repeats: "keep" }, { ties: "random" }],
      ...[{ order: "file" }, { dateOrder: "day-first" }, { columns: { rating: "none" } }],
    ] as Partial<ImportOptions>[];
    const prints = new Set<string>();
    for (const variant of variants) {
      const { dataset } = await importDataset({ interactions, ...NO_CORE, ...variant });
      prints.add(dataset.fingerprint);
    }
    expect(prints.size).toBe(variants.length);
  });
});
