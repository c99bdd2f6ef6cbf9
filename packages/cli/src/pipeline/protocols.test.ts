import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@prismrec/core/base";
import { type Dataset, evaluationCases, type SplitProtocol, userItems } from "@prismrec/core/data";
import { MODEL_LIST } from "@prismrec/core/model-names";
import { userGroups } from "@prismrec/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openRun } from "./index.js";

const LIMIT = 180_000;
const USERS = 90;
const ITEMS = 40;
/** Items that come into the catalog when all training events are over, under every protocol that can have them. */
const LATE = 4;
const LAST = 12;

const scorers = MODEL_LIST.filter(({ kind }) => kind === "scorer").map(({ name }) => name);

let folder: string;

/** A log of two tastes; some users' last event is with an item that nobody had before. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-protocols-"));
  const random = createRandom(7, "protocols");
  const events = ["user,item,timestamp"];
  for (let user = 0; user < USERS; user++) {
    const items = random.shuffle(Uint32Array.from({ length: ITEMS - LATE }, (_, item) => item));
    const own = items.filter((item) => item % 3 !== user % 3).slice(0, 8 + (user % 5));
    own.forEach((item, n) => {
      events.push(`u${user},i${item},${1_000_000 + 10_000 * n + 100 * user + n}`);
    });
    if (user < LAST) events.push(`u${user},i${ITEMS - LATE + (user % LATE)},${9_000_000 + user}`);
  }
  const items = Array.from({ length: ITEMS }, (_, item) => `i${item},Title ${item},group ${item % 3}`);
  await writeFile(join(folder, "events.csv"), `${events.join("\n")}\n`);
  await writeFile(join(folder, "items.csv"), `item,title,categories\n${items.join("\n")}\n`);
});

afterAll(() => rm(folder, { recursive: true }));

/** Events that may be learned from, as pairs of user and place. */
function trainingEnds({ split }: Dataset): ReadonlyMap<number, number> {
  return new Map(Array.from(split.train.users, (user, row) => [user, split.train.ends[row]!]));
}

const protocols: readonly SplitProtocol[] = ["user-disjoint", "leave-one-out", "user-ratio", "temporal"];

describe.each(protocols)("the whole pipeline under %s", (protocol) => {
  it(
    "judges every scorer and a network on what nobody has learned from",
    async () => {
      const settings = {
        interactions: join(folder, "events.csv"),
        items: join(folder, "items.csv"),
        clusterer: "random",
        effort: "quick",
        core: { mode: "none" },
        split: { protocol, seed: 3 },
        baselines: scorers,
        train: { network: { dim: 8, layers: 1 }, stopping: { epochs: 1 } },
        models: { ials: { factors: 4, iterations: 2 }, l3ae: {} },
        evaluate: { cutoffs: [5, 10], resamples: 100 },
      };
      const dir = join(folder, protocol);
      await using run = await openRun(dir, settings);
      await run.run();
      const { dataset } = await run.open("import");
      const { report, perUser } = await run.open("evaluate");
      const { log, split, catalog } = dataset;
      const { test } = split;
      const alone = report.prior === null ? [] : ["ldmi-alone"];
      expect(Object.keys(report.models)).toEqual(["ldmi", ...alone, ...scorers]);

      // No leakage, whatever the program's own check says.
      const ends = trainingEnds(dataset);
      const counts = new Uint32Array(catalog.size + 1);
      for (const [user, end] of ends)
        for (const item of new Set(userItems(log, user).subarray(0, end))) counts[item]!++;
      expect(catalog.popularity).toEqual(counts);
      for (const part of ["valid", "test"] as const) {
        for (const [row, user] of split[part].users.entries()) {
          expect(ends.get(user) ?? 0).toBeLessThanOrEqual(split[part].historyEnds[row]!);
          if (protocol === "user-disjoint") expect(ends.has(user)).toBe(false);
        }
      }
      if (protocol === "temporal") {
        const times = log.timestamps!;
        const learned = [...ends].map(([user, end]) => times[log.indptr[user]! + end - 1]!);
        const asked = Array.from(test.users, (user, row) => times[log.indptr[user]! + test.historyEnds[row]!]!);
        expect(asked.every((time) => learned.every((before) => before < time))).toBe(true);
        expect(report.leakage).toContain("no training event is as late as any target");
      }
      expect(report.leakage.length).toBeGreaterThanOrEqual(2);

      // Counts.
      expect(report.protocol).toMatchObject({
        split: protocol,
        users: { train: split.train.users.length, valid: split.valid.users.length, test: test.users.length },
        items: ITEMS,
      });
      const cases = evaluationCases(dataset, "test");
      expect(cases.every(({ targets }) => targets.length > 0)).toBe(true);
      if (protocol === "leave-one-out") expect(cases.every(({ targets }) => targets.length === 1)).toBe(true);

      const values = await perUser();
      const groups = userGroups(dataset, "test");
      const sizes: Record<string, number> = {};
      for (const name of groups.flat()) sizes[name] = (sizes[name] ?? 0) + 1;
      for (const [model, metrics] of Object.entries(report.models)) {
        for (const [metric, mean] of Object.entries(metrics)) {
          const own = values.get(`${model}/${metric}`, Float64Array);
          expect([model, metric, own.length]).toEqual([model, metric, test.users.length]);
          expect([model, metric, own.every((value) => value >= 0 && value <= 1)]).toEqual([model, metric, true]);
          expect(own.reduce((sum, value) => sum + value, 0) / own.length).toBeCloseTo(mean, 12);
        }
        if (protocol === "leave-one-out") expect(metrics["recall@5"]).toBe(metrics["hit-rate@5"]);

        // Groups: every user took something of the head or of the tail, and has one length of history.
        const found = report.groups[model]!;
        expect(Object.fromEntries(Object.entries(found).map(([name, { users }]) => [name, users]))).toEqual(sizes);
        for (const { metrics: own } of Object.values(found)) {
          for (const value of Object.values(own)) expect(value >= 0 && value <= 1).toBe(true);
        }
        const lengths = Object.entries(found).filter(([name]) => name.endsWith("histories"));
        if (lengths.length > 0) {
          const share = (metric: string) =>
            lengths.reduce((sum, [, { users, metrics: own }]) => sum + users * own[metric]!, 0) / test.users.length;
          for (const [metric, mean] of Object.entries(metrics)) expect(share(metric)).toBeCloseTo(mean, 12);
        }

        const exposure = report.exposure[model]!;
        expect(exposure.n).toBe(10);
        for (const key of ["coverage", "gini", "averagePopularity"] as const) {
          expect([model, key, exposure[key] >= 0 && exposure[key] <= 1]).toEqual([model, key, true]);
        }
        expect(exposure.novelty).toBeGreaterThan(0);
        expect(exposure.popularityLift).toBeGreaterThanOrEqual(-1);
      }
      for (const own of groups) {
        expect(own.includes("head items") || own.includes("tail items")).toBe(true);
        if (own.includes("cold items")) expect(own).toContain("tail items");
      }
      // What nobody had while there was anything to learn is asked for at the end of a user's time, and of time.
      if (protocol === "leave-one-out" || protocol === "temporal") {
        expect(sizes["cold items"]).toBe(LAST);
        expect(report.groups["most-popular"]?.["cold items"]?.metrics["recall@5"]).toBe(0);
      }
      const { right, random, users } = report.explanations.ldmi!;
      expect(users).toBeGreaterThan(0);
      for (const value of [right, random]) expect(value >= 0 && value <= 1).toBe(true);

      // The documents.
      const page = await readFile((await run.open("report")).file, "utf8");
      for (const text of [`(${protocol})`, "What the lists do to the catalog", "Do the named interests fit?"]) {
        expect(page).toContain(text);
      }
    },
    LIMIT,
  );
});
