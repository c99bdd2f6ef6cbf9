import { execFileSync } from "node:child_process";
import { closeSync, constants, existsSync, openSync, readdirSync, readSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withDuckDb } from "@prismrec/core/data/import";
import { parseHTML } from "linkedom";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SeedsComparison } from "./pipeline/ablate.js";
import type { RecommendationDocument } from "./pipeline/recommend.js";
import type { UserTable } from "./report/user-table.js";
import { buildPackages, type Outcome, spawnPrismrec } from "./testing/spawn.js";
import { VERSION } from "./version.js";

const USERS = 160;
const ITEMS = 96;
/** Sixteen test users, judged under four models and the own network without its prior. */
const METRIC_ROWS = 16 * 5;
const GROUPS = 8;
const LIMIT = 240_000;

/** Users who take items of two of eight groups in turn; an item's category is its group. One title is hostile. */
async function writeData(folder: string): Promise<void> {
  const events = ["user,item,timestamp"];
  for (let user = 0; user < USERS; user++) {
    const groups = [user % GROUPS, (user * 3 + 1) % GROUPS];
    for (let n = 0; n < 10; n++) {
      const place = Math.floor(user / GROUPS) + 5 * Math.floor(n / 2);
      const item = groups[n % 2]! + GROUPS * (place % (ITEMS / GROUPS));
      events.push(`u${user},i${String(item).padStart(3, "0")},${1_000 + user * 100 + n}`);
    }
  }
  const items = ["item,title,categories", 'i000,"<script>alert(1)</script>",group 0'];
  for (let item = 1; item < ITEMS; item++) {
    items.push(`i${String(item).padStart(3, "0")},Title ${item},group ${item % GROUPS}`);
  }
  const truth = [
    "item,interest",
    ...items.slice(1).map((_, item) => `i${String(item).padStart(3, "0")},${item % GROUPS}`),
  ];
  await writeFile(join(folder, "events.csv"), `${events.join("\n")}\n`);
  await writeFile(join(folder, "items.csv"), `${items.join("\n")}\n`);
  await writeFile(join(folder, "truth.csv"), `${truth.join("\n")}\n`);
}

let folder: string;
let run: string;
let first: Outcome;

const runArguments = (out: string, ...more: string[]): string[] => [
  "run",
  ...["--interactions", join(folder, "events.csv"), "--items", join(folder, "items.csv")],
  ...["--clusterer", "category", "--epochs", "2", "--out", out, ...more],
];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-run-"));
  run = join(folder, "run");
  await Promise.all([writeData(folder), buildPackages()]);
  first = await spawnPrismrec(runArguments(run, "--truth", join(folder, "truth.csv")));
}, LIMIT);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

describe("prismrec run", () => {
  it("goes all the way and prints the metric table, the recovery and the report's place on stdout", () => {
    expect([first.code, first.stderr.includes("✖")]).toEqual([0, false]);
    for (const text of ["ldmi", "most-popular", "item-knn", "ease", "recall@50", "interest recovery", "report.html"]) {
      expect(first.stdout).toContain(text);
    }
    for (const stage of ["import", "cluster", "crowd", "train-ldmi", "train-ease", "prior", "evaluate", "report"]) {
      expect(first.stderr).toContain(`✔ ${stage}`);
      expect(existsSync(join(run, stage, "manifest.json"))).toBe(true);
    }
  });

  it("keeps its tables to 80 columns", () => {
    const tables = first.stdout
      .trim()
      .split("\n\n")
      .filter((part) => /^(%|interest recovery)/.test(part));
    expect(tables).toHaveLength(2);
    for (const line of tables.join("\n").split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  it("writes plain lines into pipes: no cursor codes, no carriage returns", () => {
    for (const character of ["\u001b", "\r"]) expect(first.stdout + first.stderr).not.toContain(character);
  });

  it("finds interests that are the categories, and beats its controls at it", () => {
    const ari = (name: string): number =>
      Number(new RegExp(`^\\s*${name}[^\\n\\d]*([\\d.]+)`, "m").exec(first.stdout)?.[1]);
    expect(ari("category")).toBeGreaterThan(0.95);
    expect(ari("shuffled")).toBeLessThan(0.3);
    expect(ari("random")).toBeLessThan(0.3);
  });

  it(
    "does nothing twice: a second run takes every stage over and prints the same result",
    async () => {
      const again = await spawnPrismrec(runArguments(run, "--truth", join(folder, "truth.csv")));
      expect(again.code).toBe(0);
      expect(again.stdout).toBe(first.stdout);
      for (const stage of ["import", "cluster", "crowd", "train-ldmi", "evaluate", "index", "report"]) {
        expect(again.stderr).toMatch(new RegExp(`✔ ${stage} .*as before`));
      }
    },
    LIMIT,
  );

  it(
    "saves at Ctrl-C, says how to continue, and then ends where an undisturbed run ends",
    async () => {
      const out = join(folder, "interrupted");
      const stopped = await spawnPrismrec([...runArguments(out), "--verbose"], { interruptAt: "saved" });
      expect([stopped.code, stopped.stdout]).toEqual([130, ""]);
      expect(stopped.stderr).toContain(`Continue with:\n  prismrec run --interactions ${join(folder, "events.csv")}`);
      expect(existsSync(join(out, "evaluate"))).toBe(false);
      const resumed = await spawnPrismrec([...runArguments(out), "--json"]);
      expect(resumed.code).toBe(0);
      expect(resumed.stderr).toContain("ldmi goes on from step");
      const undisturbed = await spawnPrismrec(["evaluate", run, "--json"]);
      expect(JSON.parse(resumed.stdout).models).toEqual(JSON.parse(undisturbed.stdout).models);
    },
    LIMIT,
  );

  it(
    "goes on with the categories where there is no language model, and says so in one line",
    async () => {
      const out = join(folder, "none");
      const args = runArguments(out, "--llm", "none", "--quiet").filter(
        (arg) => arg !== "--clusterer" && arg !== "category",
      );
      const { code, stderr } = await spawnPrismrec(args);
      expect(code).toBe(0);
      const lines = stderr.split("\n").filter((line) => line.startsWith("!"));
      expect(lines).toHaveLength(1);
      expect(lines[0]).toContain("no language model: interests come from the items' categories");
    },
    LIMIT,
  );
});

describe("prismrec evaluate --json", () => {
  it("prints one document of models and protocol, all metrics fractions", async () => {
    const { code, stdout } = await spawnPrismrec(["evaluate", run, "--json"]);
    expect(code).toBe(0);
    const document = JSON.parse(stdout);
    const keys = ["models", "prior", "groups", "significance", "exposure", "explanations", "protocol", "recovery"];
    expect(Object.keys(document)).toEqual(keys);
    expect(Object.keys(document.exposure)).toEqual(Object.keys(document.models));
    // The known interests judge what is named; the categories could not, for the clusters are these.
    expect(document.explanations).toMatchObject({ ldmi: { by: "known interests", random: expect.any(Number) } });
    expect(document.explanations.ldmi.right).toBeGreaterThan(document.explanations.ldmi.random);
    expect(Object.keys(document.models)).toEqual(["ldmi", "ldmi-alone", "most-popular", "item-knn", "ease"]);
    expect(document.prior).toEqual({
      name: expect.stringMatching(/^(ease|item-knn|l3ae)$/),
      weight: expect.any(Number),
    });
    for (const metrics of Object.values<Record<string, number>>(document.models)) {
      expect(Object.keys(metrics)).toEqual(expect.arrayContaining(["recall@20", "ndcg@20", "recall@50", "ndcg@50"]));
      for (const value of Object.values(metrics)) expect(value >= 0 && value <= 1).toBe(true);
    }
    expect(document.protocol).toMatchObject({ split: "user-disjoint", users: { test: 16 }, ranking: "full" });
  });

  it("exits with 5, the document printed, where a threshold is missed", async () => {
    const { code, stdout, stderr } = await spawnPrismrec(["evaluate", run, "--json", "--fail-under", "ndcg@20=1"]);
    expect(code).toBe(5);
    expect(JSON.parse(stdout).models.ldmi).toBeDefined();
    expect(stderr).toContain("below 1");
  });
});

describe("prismrec recommend", () => {
  it("prints the user's items and interests as JSON, leaves out what was seen and names each item's interest", async () => {
    const { code, stdout } = await spawnPrismrec(["recommend", run, "--user", "u42", "-k", "10", "--json"]);
    expect(code).toBe(0);
    const document = JSON.parse(stdout);
    expect(Object.keys(document)).toEqual(["user", "items", "interests"]);
    expect(document.user).toBe("u42");
    expect(document.items).toHaveLength(10);
    for (const item of document.items) expect(Object.keys(item)).toEqual(["id", "title", "score", "interest", "prior"]);
    const seen = (await readFile(join(folder, "events.csv"), "utf8"))
      .split("\n")
      .filter((line) => line.startsWith("u42,"))
      .map((line) => line.split(",")[1]);
    expect(document.items.filter(({ id }: { id: string }) => seen.includes(id))).toEqual([]);
    const indexes = document.interests.map(({ index }: { index: number }) => index);
    for (const { interest } of document.items) expect(indexes).toContain(interest);
    const total = document.interests.reduce((sum: number, { share }: { share: number }) => sum + share, 0);
    expect(total).toBeCloseTo(1, 5);
    for (const interest of document.interests) expect(Object.keys(interest)).toEqual(["index", "labels", "share"]);
  });

  it("serves a history that no user has, and prints a table for people", async () => {
    const { code, stdout } = await spawnPrismrec(["recommend", run, "--history", "i001,i009,i017", "-k", "3"]);
    expect(code).toBe(0);
    expect(stdout).toContain("Interests of this history");
    expect(stdout.split("Recommended")[1]?.trim().split("\n")).toHaveLength(4);
  });

  it("says so where a history leaves nothing to recommend", async () => {
    const all = Array.from({ length: ITEMS }, (_, item) => `i${String(item).padStart(3, "0")}`).join(",");
    const { code, stdout } = await spawnPrismrec(["recommend", run, "--history", all]);
    expect(code).toBe(0);
    expect(stdout).toContain("Interests of this history\n");
    expect(stdout.trim().split("\n").at(-1)).toBe("This history holds every item; there is nothing left to recommend.");
    const json = await spawnPrismrec(["recommend", run, "--history", all, "--json"]);
    expect(JSON.parse(json.stdout)).toMatchObject({ user: null, items: [], interests: expect.any(Array) });
  });

  it("answers an unknown user and an unknown item with 3", async () => {
    const user = await spawnPrismrec(["recommend", run, "--user", "nobody"]);
    expect([user.code, user.stderr.includes("UNKNOWN_USER")]).toEqual([3, true]);
    const item = await spawnPrismrec(["recommend", run, "--history", "i001,nothing"]);
    expect([item.code, item.stderr.includes("UNKNOWN_ITEM")]).toEqual([3, true]);
  });
});

describe("prismrec report", () => {
  it("is one small file that fetches nothing, with hostile titles shown as text", async () => {
    const copy = join(folder, "copy.html");
    const { code, stdout } = await spawnPrismrec(["report", run, "--output", copy, "--json"]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({ report: copy });
    const page = await readFile(copy, "utf8");
    expect(page.length).toBeLessThan(1_000_000);
    expect(page).not.toContain("<script>alert(1)</script>");
    expect(page).toContain(`npx prismrec@${VERSION} run`);
    // Every test user is in it, and no two interests of one are called the same.
    const table: UserTable = JSON.parse(parseHTML(page).document.getElementById("test-users")?.textContent ?? "");
    expect([table.total, table.users.length]).toEqual([
      table.users.length,
      new Set(table.users.map(([id]) => id)).size,
    ]);
    expect(table.total).toBeGreaterThan(10);
    for (const [, , , interests] of table.users) {
      const names = interests.map(([, , labels]) => labels.join());
      expect(new Set(names).size).toBe(names.length);
    }
  });
});

describe("prismrec export", () => {
  it.each([
    ["recommendations", USERS, ["user", "items", "interests"]],
    ["interests", USERS, ["user", "part", "interests"]],
    ["items", ITEMS, ["item", "title", "bias", "vector"]],
    ["metrics", METRIC_ROWS, ["user", "model", "historyLength", "targets", "groups", "metrics"]],
  ])("writes %s as JSON lines", async (what, lines, keys) => {
    const { code, stdout } = await spawnPrismrec(["export", run, what, "-k", "2"]);
    expect(code).toBe(0);
    const documents = stdout.trim().split("\n");
    expect(documents).toHaveLength(lines);
    expect(Object.keys(JSON.parse(documents[0] ?? ""))).toEqual(keys);
  });
});

describe("prismrec export --output", () => {
  const kinds = ["recommendations", "interests", "items", "metrics"] as const;
  const file = (what: string, extension: string): string => join(folder, `exported.${what}${extension}`);
  type Rows = readonly Readonly<Record<string, unknown>>[];
  interface Documents {
    readonly recommendations: readonly RecommendationDocument[];
    readonly interests: readonly { user: string; part: string; interests: readonly object[] }[];
    readonly items: Rows;
    readonly metrics: readonly {
      user: string;
      model: string;
      historyLength: number;
      targets: number;
      groups: readonly string[];
      metrics: Readonly<Record<string, number>>;
    }[];
  }
  let documents: Documents;

  /** The table as DuckDB reads it. */
  const readBack = (what: string, extension: string): Promise<Rows> =>
    withDuckDb(async (connection) => {
      const path = `'${file(what, extension)}'`;
      const from = extension === ".parquet" ? `read_parquet(${path})` : `read_csv(${path}, all_varchar=true)`;
      const reader = await connection.runAndReadAll(`SELECT to_json(t)::VARCHAR FROM ${from} AS t`);
      return reader.getRowsJS().map(([json]) => JSON.parse(String(json)));
    });

  /** The rows that the documents stand for. */
  const rowsOf = (what: keyof Documents): Rows => {
    switch (what) {
      case "recommendations":
        return documents.recommendations.flatMap(({ user, items, interests }) =>
          items.map(({ id, title, score, interest }, place) => {
            const reason = interests.find(({ index }) => index === interest);
            const { labels, share } = reason ?? {};
            return { user, rank: place + 1, item: id, title, score, interest, labels, share };
          }),
        );
      case "interests":
        return documents.interests.flatMap(({ user, part, interests }) =>
          interests.map((own, interest) => ({ user, part, interest, ...own })),
        );
      case "items":
        return documents.items;
      case "metrics":
        return documents.metrics.map(({ metrics, ...of }) => ({ ...of, ...metrics }));
    }
  };

  const write = async (what: string, extension: string): Promise<void> => {
    const outcome = await spawnPrismrec(["export", run, what, "-k", "2", "-o", file(what, extension), "-q"]);
    expect(outcome).toEqual({ code: 0, stdout: "", stderr: "" });
  };

  beforeAll(async () => {
    const lines = async (what: string) => {
      await write(what, ".jsonl");
      const text = await readFile(file(what, ".jsonl"), "utf8");
      return text
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    };
    documents = {
      recommendations: await lines("recommendations"),
      interests: await lines("interests"),
      items: await lines("items"),
      metrics: await lines("metrics"),
    };
  }, LIMIT);

  it.each(kinds)("writes %s as one JSON array into .json", async (what) => {
    await write(what, ".json");
    expect(JSON.parse(await readFile(file(what, ".json"), "utf8"))).toEqual(documents[what]);
  });

  it.each(kinds)("writes %s into .parquet, lists as lists", async (what) => {
    await write(what, ".parquet");
    const expected = rowsOf(what);
    expect(expected.length).toBeGreaterThan(0);
    const rows = await readBack(what, ".parquet");
    if (what === "items") {
      // 32-bit numbers are read back as such.
      const rounded = JSON.stringify(rows, (_, value) => (typeof value === "number" ? Math.fround(value) : value));
      expect(JSON.parse(rounded)).toEqual(expected);
    } else expect(rows).toEqual(expected);
  });

  it.each(kinds)("writes %s into .csv, lists as JSON text", async (what) => {
    await write(what, ".csv");
    const rows = await readBack(what, ".csv");
    const expected = rowsOf(what);
    expect(rows).toHaveLength(expected.length);
    const lists = { recommendations: "labels", interests: "items", items: "vector", metrics: "groups" }[what];
    for (const [place, row] of rows.entries()) {
      for (const [column, value] of Object.entries(expected[place] ?? {})) {
        const text = String(row[column] ?? "");
        if (column === lists && what !== "items") expect(JSON.parse(text)).toEqual(value);
        else if (column === lists) expect(JSON.parse(text).map(Math.fround)).toEqual(value);
        else if (typeof value === "number") expect(Math.fround(Number(text))).toBe(Math.fround(value));
        else expect(text).toBe(value);
      }
    }
  });

  it("writes of each user and model what the evaluation was made of", async () => {
    const { models, groups } = JSON.parse((await spawnPrismrec(["evaluate", run, "--json"])).stdout);
    for (const [model, metrics] of Object.entries<Record<string, number>>(models)) {
      const own = documents.metrics.filter((row) => row.model === model);
      for (const [metric, value] of Object.entries(metrics)) {
        expect(own.reduce((sum, row) => sum + row.metrics[metric]! / own.length, 0)).toBeCloseTo(value, 12);
      }
      for (const [group, { users, metrics }] of Object.entries<{ users: number; metrics: object }>(groups[model])) {
        const inside = own.filter((row) => row.groups.includes(group));
        expect([group, inside.length]).toEqual([group, users]);
        if (!group.endsWith("histories")) continue;
        for (const [metric, value] of Object.entries(metrics)) {
          expect(inside.reduce((sum, row) => sum + row.metrics[metric]! / users, 0)).toBeCloseTo(value, 12);
        }
      }
      for (const { historyLength, targets } of own) expect(historyLength >= 1 && targets >= 1).toBe(true);
    }
  });

  it("leaves nothing beside the file", async () => {
    expect((await readdir(folder)).filter((name) => name.includes("tmp"))).toEqual([]);
  });
});

describe("outputs that nobody reads or that are full", () => {
  const commands = [
    ["export", "RUN", "items", "-q"],
    ["evaluate", "RUN", "--json", "-q"],
    ["recommend", "RUN", "--user", "u1"],
    ["report", "RUN", "-q"],
  ];
  const onRun = (args: readonly string[]): string[] => args.map((arg) => (arg === "RUN" ? run : arg));

  it.each(commands)("ends %s %s without a word where stdout is closed", async (...args) => {
    const { code, stderr } = await spawnPrismrec(onRun(args), { hangUp: "stdout" });
    expect({ code, stderr }).toEqual({ code: 141, stderr: "" });
  });

  it("ends quietly where it has nobody to tell of its progress", async () => {
    const { code } = await spawnPrismrec(["evaluate", run], { hangUp: "stderr" });
    expect(code).toBe(141);
  });

  it.each(commands)("says that the disk of stdout is full: %s %s", async (...args) => {
    const { code, stderr } = await spawnPrismrec(onRun(args), { files: { stdout: "/dev/full" } });
    expect(code).toBe(4);
    if (args.includes("--json")) expect(JSON.parse(stderr)).toMatchObject({ error: { code: "DISK_FULL" } });
    else expect(stderr).toMatch(/^✖ no space left to write standard output {3}\(DISK_FULL\)\n/);
    expect(stderr).not.toContain("    at ");
  });

  it("keeps a missed threshold's exit code where nobody reads the document", async () => {
    const args = ["evaluate", run, "--json", "-q", "--fail-under", "ndcg@20=1"];
    expect((await spawnPrismrec(args, { hangUp: "stdout" })).code).toBe(5);
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("answers %s while a slow reader holds an export back", async (signal, code) => {
    // A pipe that holds less than the items, and a reader that takes nothing out of it.
    const pipe = join(folder, `pipe-${signal}`);
    execFileSync("mkfifo", [pipe]);
    const reader = openSync(pipe, constants.O_RDWR | constants.O_NONBLOCK);
    try {
      const outcome = await spawnPrismrec(["export", run, "items"], {
        files: { stdout: pipe },
        signalWhen: () => holdsSomething(reader),
        signal,
      });
      expect(outcome.code).toBe(code);
      expect(outcome.stderr).toContain("Stopping after the current step");
      expect(outcome.stderr).toContain(`Continue with:\n  prismrec export ${run} items`);
    } finally {
      closeSync(reader);
    }
  });

  function holdsSomething(pipe: number): boolean {
    try {
      return readSync(pipe, Buffer.alloc(1)) > 0;
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EAGAIN") return false;
      throw error;
    }
  }
});

describe("an export into a file", () => {
  it.each([".jsonl", ".parquet"])("answers Ctrl-C with 130 and leaves nothing of a %s behind", async (extension) => {
    const out = join(folder, "stopped");
    await mkdir(out, { recursive: true });
    const args = ["export", run, "recommendations", "-o", join(out, `recommendations${extension}`)];
    const { code, stderr } = await spawnPrismrec(args, { signalWhen: () => readdirSync(out).length > 0 });
    expect([code, stderr.includes("Continue with:")]).toEqual([130, true]);
    expect(await readdir(out)).toEqual([]);
  });
});

describe("a threshold of a metric that is not measured", () => {
  it("is refused before the work, with the metrics that are", async () => {
    const { code, stdout, stderr } = await spawnPrismrec(["evaluate", run, "--fail-under", "recal@50=0.4", "--json"]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(JSON.parse(stderr).error).toMatchObject({
      code: "INVALID_ARGUMENT",
      expected: expect.stringContaining("hit-rate@50"),
      hint: "Did you mean recall@50?",
    });
  });

  it("is told apart from one that is missed, as JSON", async () => {
    const { stderr } = await spawnPrismrec(["evaluate", run, "--json", "-q", "--fail-under", "ndcg@20=1"]);
    expect(JSON.parse(stderr)).toEqual({ error: { code: "THRESHOLD_MISSED", message: expect.any(String) } });
  });
});

describe("prismrec ablate", () => {
  it(
    "trains the variants under each seed, keeps every trial, and compares them with ldmi seed by seed",
    async () => {
      const args = ["ablate", run, "--seeds", "1,2", "--variants", "ldmi,no-semantic,gate", "--epochs", "1", "--json"];
      args.push("--baselines", "most-popular,comirec-sa");
      const { code, stdout } = await spawnPrismrec(args);
      expect(code).toBe(0);
      const { seeds, variants, baselines } = JSON.parse(stdout);
      expect(seeds).toEqual([1, 2]);
      expect(Object.keys(variants)).toEqual(["ldmi", "no-semantic", "gate"]);
      for (const variant of Object.values<Record<string, Record<string, unknown>>>(variants)) {
        expect(variant.trials).toHaveLength(2);
        expect(variant.mean).toMatchObject({ "recall@50": expect.any(Number), interestCosine: expect.any(Number) });
        expect(variant.standardError).toMatchObject({ "recall@50": expect.any(Number) });
      }
      expect(variants.gate.mean).toMatchObject({ assignmentEntropy: expect.any(Number), gate: expect.any(Number) });
      expect(variants.ldmi.ldmiMinusThis).toBeUndefined();
      expect(variants["no-semantic"].ldmiMinusThis).toMatchObject({ "recall@50": { mean: expect.any(Number) } });
      // What draws nothing is fitted once; the other one is trained under the same seeds.
      expect(Object.keys(baselines)).toEqual(["most-popular", "comirec-sa"]);
      const seedsOf = ({ trials }: { trials: readonly { seed?: number }[] }) => trials.map(({ seed }) => seed);
      expect([seedsOf(baselines["most-popular"]), seedsOf(baselines["comirec-sa"])]).toEqual([[undefined], [1, 2]]);
      for (const { mean, standardError, ldmiMinusThis } of Object.values<{
        mean: Record<string, number>;
        standardError: Record<string, number>;
        ldmiMinusThis: Record<string, SeedsComparison>;
      }>(baselines)) {
        expect(Object.keys(ldmiMinusThis)).toEqual(Object.keys(mean));
        for (const [metric, { mean: above, low, high, pValue, adjusted }] of Object.entries(ldmiMinusThis)) {
          expect(above).toBeCloseTo(variants.ldmi.mean[metric] - mean[metric]!, 12);
          expect(low <= high && pValue <= adjusted && adjusted <= 1).toBe(true);
          expect(standardError[metric]).toBeGreaterThanOrEqual(0);
        }
      }
      const again = await spawnPrismrec(args);
      expect(again.stdout).toBe(stdout);
      expect(again.stderr.match(/as before/g)).toHaveLength(9);
      const table = (await spawnPrismrec(args.filter((arg) => arg !== "--json"))).stdout;
      expect(table).toMatch(/^%, over seeds +seeds +recall@20/m);
      expect(table).toMatch(/^most-popular +– /m);
      expect(table).toMatch(/^comirec-sa +2 .*±/m);
      expect(table).toMatch(/ldmi [^\n]*most-popular: [^\n]*Wilcoxon/);
      // The next report tells of it.
      const copy = join(folder, "ablated.html");
      expect((await spawnPrismrec(["report", run, "--output", copy, "--json"])).code).toBe(0);
      const { document } = parseHTML(await readFile(copy, "utf8"));
      const data = JSON.parse(document.getElementById("report-data")?.textContent ?? "");
      expect(data.ablation).toEqual({
        seeds,
        variants,
        baselines: { "comirec-sa": baselines["comirec-sa"], "most-popular": baselines["most-popular"] },
      });
      expect(document.getElementById("ablation")?.textContent).toContain("alignment and gate instead of the mixture");
    },
    LIMIT,
  );
});
