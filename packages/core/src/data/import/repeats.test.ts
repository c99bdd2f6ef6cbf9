import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRandom } from "../../base/random.js";
import { rankingMetrics } from "../../metrics/ranking-metrics.js";
import { fitEase } from "../../models/ease.js";
import { fitItemKnn } from "../../models/item-knn.js";
import { csvOf, describeDataset, type Row, TestFiles, unaccounted } from "../../testing/dataset-files.js";
import { evaluationCases, trainingMatrix } from "../training-matrix.js";
import { type ImportOptions, importDataset } from "./import.js";

let files: TestFiles;

beforeAll(async () => {
  files = await TestFiles.create();
});

afterAll(() => files.remove());

/** Forty users who play eight of twenty songs again and again, twenty plays each. */
function plays(): Row[] {
  const random = createRandom(3, "plays");
  return Array.from({ length: 40 }, (_, user) => {
    const songs = random.shuffle(Array.from({ length: 20 }, (_, song) => song)).slice(0, 8);
    const order = random.shuffle([...songs, ...Array.from({ length: 12 }, () => songs[random.integer(0, 8)]!)]);
    return order.map((song, n): Row => [`u${user}`, `s${song}`, 1_600_000_000 + n]);
  }).flat();
}

async function imported(rows: readonly Row[], options: Partial<ImportOptions> = {}) {
  const { dataset, report } = await importDataset({
    interactions: await files.write(csvOf("user,song_id,timestamp", rows)),
    columns: { item: "song_id" },
    ...options,
  });
  expect(unaccounted(report)).toBe(0);
  return { dataset, report, ...describeDataset(dataset) };
}

describe("repeats that are kept", () => {
  it("are all stored, while the core goes by distinct items", async () => {
    const rows: Row[] = [...plays(), ...Array.from({ length: 9 }, (_, n): Row => ["loner", "s0", n])];
    const kept = await imported(rows, { repeats: "keep" });
    const once = await imported(rows);
    expect(kept.report.kept).toEqual({ users: 40, items: 20, events: 800 });
    expect(once.report.kept).toEqual({ users: 40, items: 20, events: 320 });
    expect(kept.sequences.u7).toEqual(rows.filter(([user]) => user === "u7").map(([, song]) => song));
    expect(once.sequences.u7).toEqual([...new Set(kept.sequences.u7)]);
    expect(kept.report.drops).toMatchObject([{ reason: "below-core", count: 9 }]);
    expect(kept.report.repeats).toBe("keep");
  });

  it("keep every event of a true core and of a single pass, at other thresholds too", async () => {
    for (const mode of ["iterative_kcore", "single_pass", "none"] as const) {
      const core = { mode, minimum: 8 };
      const [kept, once] = [await imported(plays(), { repeats: "keep", core }), await imported(plays(), { core })].map(
        ({ report }) => report.kept,
      );
      expect([kept!.users, kept!.items]).toEqual([once!.users, once!.items]);
    }
  });

  it("count once in the training matrix and in the popularity", async () => {
    const { dataset } = await imported(plays(), { repeats: "keep" });
    const matrix = trainingMatrix(dataset);
    const columns = new Uint32Array(matrix.cols);
    for (let row = 0; row < matrix.rows; row++) {
      const own = [...matrix.indices.subarray(matrix.indptr[row]!, matrix.indptr[row + 1]!)];
      expect(own.length).toBe(8);
      expect(new Set(own).size).toBe(own.length);
      for (const column of own) columns[column]!++;
    }
    expect(matrix.indices.length).toBe(matrix.indptr[matrix.rows]);
    expect([...columns]).toEqual([...dataset.catalog.popularity.slice(1)]);
  });

  it("ask only for items that are new to the history, each once, and for nobody who has none", async () => {
    const rows = plays().filter(([user]) => user !== "u0");
    // u0 meets nothing new after the first eight of ten events.
    const stale = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s0", "s1"];
    for (const [n, song] of stale.entries()) rows.push(["u0", song, n]);
    for (const protocol of ["user-disjoint", "leave-one-out", "user-ratio", "temporal"] as const) {
      const { dataset } = await imported(rows, {
        repeats: "keep",
        split: { protocol, trainShare: 0.4, validShare: 0.3 },
      });
      for (const part of ["valid", "test"] as const) {
        for (const { user, history, targets } of evaluationCases(dataset, part)) {
          expect(targets.length).toBeGreaterThan(0);
          expect(new Set(targets).size).toBe(targets.length);
          expect(targets.filter((item) => history.includes(item))).toEqual(new Uint32Array(0));
          const cutAtEight = protocol === "user-disjoint" || protocol === "leave-one-out";
          if (cutAtEight) expect(dataset.log.userIds[user]).not.toBe("u0");
        }
      }
    }
  });

  it("weigh nothing in a history: models of binary data read it as a set", async () => {
    const { dataset } = await imported(plays(), { repeats: "keep" });
    const models = [await fitEase(dataset, { lambda: 10 }), await fitItemKnn(dataset)];
    for (const model of models) {
      const ranking = await model.rank(
        [{ items: Uint32Array.of(1, 2, 1, 1, 3, 2) }, { items: Uint32Array.of(1, 2, 3) }],
        { k: 10 },
      );
      expect(ranking.scores.subarray(0, 10)).toEqual(ranking.scores.subarray(10));
      expect(ranking.ids.subarray(0, 10)).toEqual(ranking.ids.subarray(10));
      const cases = evaluationCases(dataset, "test");
      const lists = await model.rank(
        cases.map(({ history }) => ({ items: history })),
        { k: 20 },
      );
      // Every target can be reached: a list of the whole catalog holds them all.
      const recall = rankingMetrics(
        lists,
        cases.map(({ targets }) => targets),
        ["recall@20"],
      )["recall@20"]!;
      expect([...recall]).toEqual(cases.map(() => 1));
    }
  });

  it("are drawn like any events where there are no times, whatever the file's order", async () => {
    const untimed = plays().map((row) => row.slice(0, 2));
    const options = { repeats: "keep", columns: { item: "song_id" } } as const;
    const read = async (rows: readonly Row[]) => {
      const interactions = await files.write(csvOf("user,song_id", rows));
      return describeDataset((await importDataset({ interactions, ...options })).dataset);
    };
    const first = await read(untimed);
    expect(await read(createRandom(5).shuffle([...untimed]))).toEqual(first);
    expect(Object.values(first.sequences).flat().length).toBe(800);
  });
});
