import { cp, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pairedBootstrap, wilcoxonSignedRank } from "@prismrec/core/metrics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Comparison } from "../pipeline/compare.js";
import { openRun } from "../pipeline/index.js";
import { fakeIo, prismrec } from "../testing/fake-io.js";
import { writeSmallData } from "../testing/small-data.js";

const LIMIT = 240_000;
const RESAMPLES = 200;

let folder: string;

const NETWORK = { train: { network: { dim: 8, layers: 1 }, stopping: { epochs: 1 } } };
const FITTED = { model: "item-knn" };

/** A run up to its evaluation. */
async function make(name: string, settings: Readonly<Record<string, unknown>>): Promise<void> {
  const run = await openRun(join(folder, name), {
    interactions: join(folder, "events.csv"),
    items: join(folder, "items.csv"),
    clusterer: "category",
    core: { mode: "none" },
    prior: "none",
    effort: "quick",
    baselines: ["most-popular"],
    evaluate: { cutoffs: [3, 10], resamples: RESAMPLES },
    ...settings,
  });
  await run.run({ to: "evaluate" });
  await run.close();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-compare-"));
  await writeSmallData(folder);
  await make("one", NETWORK);
  await make("two", { ...NETWORK, seed: 2 });
  await make("fitted", FITTED);
  await make("other-split", { ...FITTED, split: { seed: 5 } });
  await make("other-cutoffs", { ...FITTED, evaluate: { cutoffs: [3, 7], resamples: RESAMPLES } });
  await make("unrelated-cutoffs", { ...FITTED, evaluate: { cutoffs: [7], resamples: RESAMPLES } });
  await cp(join(folder, "fitted"), join(folder, "not-judged"), { recursive: true, preserveTimestamps: true });
  await rm(join(folder, "not-judged", "evaluate"), { recursive: true });
  await cp(join(folder, "one"), join(folder, "copy"), { recursive: true, preserveTimestamps: true });
}, LIMIT);

afterAll(() => rm(folder, { recursive: true }));

const compare = (...args: string[]) => prismrec(["compare", ...args], fakeIo({ cwd: folder }));

async function comparison(...args: string[]): Promise<Comparison> {
  const { code, stdout, stderr } = await compare(...args, "--json");
  expect([code, stderr]).toEqual([0, ""]);
  return JSON.parse(stdout);
}

async function failure(...args: string[]) {
  const { code, stdout, stderr } = await compare(...args, "--json");
  expect(stdout).toBe("");
  return { exit: code, ...JSON.parse(stderr.trim().split("\n").at(-1) ?? "").error };
}

/** A run's metric of each test user, as it lies in the run. */
async function valuesOf(name: string, model: string, metric: string): Promise<Float64Array> {
  await using run = await openRun(join(folder, name), undefined, { readOnly: true });
  return (await (await run.open("evaluate")).perUser()).get(`${model}/${metric}`, Float64Array);
}

describe("prismrec compare", () => {
  it("compares runs of different seeds in every metric, paired over the same users", async () => {
    const { baseline, users, metrics, systems } = await comparison("one", "two");
    expect([baseline, Object.keys(systems), users]).toEqual(["one", ["one", "two"], 12]);
    expect(metrics).toEqual(["recall@3", "ndcg@3", "hit-rate@3", "recall@10", "ndcg@10", "hit-rate@10"]);
    expect([systems.one!.seed, systems.two!.seed, systems.two!.model]).toEqual([1, 2, "ldmi"]);
    expect(systems.one).not.toHaveProperty("minusBaseline");
    for (const metric of metrics) {
      const [one, two] = [await valuesOf("one", "ldmi", metric), await valuesOf("two", "ldmi", metric)];
      const { pValue, adjusted, ...difference } = systems.two!.minusBaseline![metric]!;
      expect(difference).toEqual(pairedBootstrap(two, one, { samples: RESAMPLES, seed: 1 }));
      expect(difference.mean).toBeCloseTo(systems.two!.means[metric]! - systems.one!.means[metric]!, 12);
      expect([pValue, adjusted]).toEqual([wilcoxonSignedRank(two, one).pValue, pValue]);
    }
  });

  it("compares three runs, and adjusts for both that are held against the first", async () => {
    const { systems, metrics } = await comparison("fitted", "one", "two");
    for (const metric of metrics) {
      const [a, b] = [systems.one!.minusBaseline![metric]!, systems.two!.minusBaseline![metric]!];
      const [less, more] = a.pValue <= b.pValue ? [a, b] : [b, a];
      expect(less.adjusted).toBeCloseTo(Math.min(1, 2 * less.pValue), 12);
      expect(more.adjusted).toBeCloseTo(Math.max(less.adjusted, more.pValue), 12);
    }
    const { code, stdout } = await compare("fitted", "one", "two");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^%, 12 test users +mean +− fitted +95 % interval +p, Holm\n/);
    expect(stdout).toMatch(
      /\nrecall@10\n {2}fitted +[\d.]+\n {2}one +[\d.]+ +[+−][\d.]+ +[+−][\d.]+ to [+−][\d.]+ +[<\d. ]+\n/,
    );
    expect(stdout.match(/(is above|is below|cannot be told apart)/g)?.length).toBe(2);
  });

  it("takes another run or a model that one has judged as the baseline", async () => {
    const other = await comparison("one", "two", "--baseline", "./two");
    expect([other.baseline, Object.keys(other.systems)]).toEqual(["two", ["two", "one"]]);
    const popular = await comparison("one", "--baseline", "most-popular");
    expect(Object.keys(popular.systems)).toEqual(["most-popular of one", "one"]);
    const metric = "recall@10";
    const [own, floor] = [await valuesOf("one", "ldmi", metric), await valuesOf("one", "most-popular", metric)];
    expect(popular.systems.one!.minusBaseline![metric]).toMatchObject(
      pairedBootstrap(own, floor, { samples: RESAMPLES, seed: 1 }),
    );
    expect((await comparison("two", "fitted", "--baseline", "item-knn")).baseline).toBe("fitted");
    expect(await failure("one", "two", "--baseline", "most-populr")).toMatchObject({
      exit: 2,
      code: "INVALID_ARGUMENT",
      hint: "Did you mean most-popular?",
    });
  });

  it("finds no difference between a run and its copy, and refuses one folder twice", async () => {
    const { systems } = await comparison("one", "copy");
    for (const difference of Object.values(systems.copy!.minusBaseline!)) {
      expect(difference).toMatchObject({ mean: 0, low: 0, high: 0, pValue: 1, adjusted: 1 });
    }
    expect(await failure("one", "two", "./one/")).toMatchObject({ exit: 2, code: "INVALID_ARGUMENT" });
    expect(await failure("one")).toMatchObject({ exit: 2, code: "INVALID_ARGUMENT", received: "one run" });
  });

  it("refuses runs that were judged on other users, and says who they are", async () => {
    const refused = await failure("one", "other-split");
    expect(refused).toMatchObject({
      exit: 3,
      code: "SPLIT_INVALID",
      message: expect.stringContaining("one and other-split"),
    });
    expect(refused.received).toMatch(
      /^they differ in test users \(12 and 12, \d+ in both\); training users \(96 and 96, /,
    );
    expect(refused.received).not.toContain("catalog");
  });

  it("leaves out metrics that not all were judged by, and refuses runs that share none", async () => {
    const { code, stdout, stderr } = await compare("one", "other-cutoffs", "--json");
    expect([code, JSON.parse(stdout).metrics]).toEqual([0, ["recall@3", "ndcg@3", "hit-rate@3"]]);
    expect(stderr).toContain("recall@10, ndcg@10, hit-rate@10, recall@7");
    expect(await failure("one", "unrelated-cutoffs")).toMatchObject({ exit: 2, code: "INVALID_ARGUMENT" });
  });

  it("says which run is not evaluated and how it will be, and which is none", async () => {
    const refused = await failure("one", "not-judged");
    expect(refused).toMatchObject({ exit: 3, code: "RUN_INVALID", received: join(folder, "not-judged") });
    expect(refused.hint).toContain(`prismrec evaluate ${join(folder, "not-judged")}`);
    expect(await failure("one", "nowhere")).toMatchObject({ exit: 3, code: "FILE_NOT_FOUND" });
  });

  it("writes one page with the same numbers", async () => {
    const { code, stderr } = await compare("one", "two", "fitted", "-o", "page.html");
    expect([code, stderr]).toEqual([0, "Wrote page.html.\n"]);
    const page = await readFile(join(folder, "page.html"), "utf8");
    const { systems } = await comparison("one", "two", "fitted");
    expect(page).toContain((100 * systems.fitted!.means["recall@10"]!).toFixed(2));
    expect(page).toContain("3 systems on the same 12 test users");
  });
});
