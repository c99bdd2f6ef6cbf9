import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createCatalog,
  createLog,
  type Dataset,
  type EvaluationPart,
  evaluationCases,
  userItems,
} from "@prismrec/core/data";
import { importDataset } from "@prismrec/core/data/import";
import { categoryClusterer, type Partitions, type PartitionTable, partitionDataset } from "@prismrec/core/interests";
import { useTensorBackend } from "@prismrec/core/nn";
import { native } from "@prismrec/core/ops";
import { parseTrainConfig, plantedData, type TrainConfig, train } from "@prismrec/trainer";
import { ldmiSettings } from "./ldmi-step.bench.js";
import { type Arrays, type Bench, type BenchCase, type Parameters, size, type Verdict } from "./lib/bench.js";
import { configurations } from "./lib/configurations.js";
import { benchmarksRoot } from "./lib/paths.js";

/** Most epochs until the figure is reached. */
const EPOCHS = 60;
const CUTOFF = 50;
const RECIPE = { batch: 64, length: 50, positions: 10, targets: 5, d: 64, interests: 4, layers: 2, heads: 2 };
const COMMON = { ...RECIPE, dropout: 0.3, maxClusters: 8, cutoff: CUTOFF, epochs: EPOCHS };

const films = join(
  process.env.PRISMREC_SHARED ?? join(benchmarksRoot, "..", "..", "shared"),
  "data/movietweetings-100k",
);

const cases: BenchCase[] = [
  {
    variant: "planted",
    shape: "1200 users, 300 items",
    parameters: { ...COMMON, data: "planted", figure: 1.05 },
    quick: true,
  },
  {
    variant: "movietweetings",
    shape: "3466 users, 2414 items",
    parameters: { ...COMMON, data: "movietweetings", figure: 0.745 },
  },
];

const bench: Bench = {
  op: "whole-training",
  title: "Whole training of ldmi to the same validation figure",
  method:
    "From nothing to the first epoch whose validation recall@50 + ndcg@50 reaches a figure that every contestant reaches: SVD start, epochs of recipe V (as in ldmi-step; semantic interests from categories, no crowd contrast), the whole catalog ranked for every validation user after each; ours writes its checkpoints as well. A call has the seed after that of the call before; a run that does not reach the figure in 60 epochs counts for nobody. movietweetings with its split.csv, where the folder of data sets has it",
  cases: cases.filter(({ variant }) => variant === "planted" || existsSync(films)),
  inputs: ({ data }) => ({ key: `${data}`, make: () => inputs(data === "planted") }),
  ours: {
    async prepare(parameters, arrays) {
      await useTensorBackend();
      const { dataset, ...others } = restored(arrays);
      const reached: { readonly figure: number; readonly epoch: number }[] = [];
      return {
        variant: native()!.runtimeInfo().simd,
        async run() {
          const dir = await mkdtemp(join(tmpdir(), "prismrec-whole-training-"));
          const stop = new AbortController();
          const before = reached.length;
          try {
            const config = trainConfig(parameters, before + 1);
            await train({ dataset, ...others }, config, {
              dir,
              signal: stop.signal,
              onEvent(event) {
                if (event.type !== "epoch" || stop.signal.aborted) return;
                const figure = event.metrics[`recall@${CUTOFF}`]! + event.metrics[`ndcg@${CUTOFF}`]!;
                if (figure < size(parameters, "figure")) return;
                reached.push({ figure, epoch: event.epoch });
                stop.abort();
              },
            });
          } finally {
            await rm(dir, { recursive: true });
          }
          if (reached.length === before) throw new Error(`the figure is not reached in ${EPOCHS} epochs`);
        },
        result: () => ({
          figures: Float64Array.from(reached, ({ figure }) => figure),
          epochs: Float64Array.from(reached, ({ epoch }) => epoch),
        }),
      };
    },
  },
  peers: ["torch", "torch-fused"].map((impl) => ({
    impl,
    script: "whole_training.py",
    modules: ["numpy", "scipy", "torch"],
    configurations: configurations({
      allocator: true,
      ...(impl === "torch-fused" ? { options: [{ chunk: 64 }, { chunk: 32 }, { chunk: 16 }, { chunk: 160 }] } : {}),
    }),
  })),
  agree: sameFigure,
};
export default bench;

function trainConfig(parameters: Parameters, seed: number): TrainConfig {
  const stopping = { epochs: EPOCHS, patience: EPOCHS, cutoffs: [CUTOFF] };
  return parseTrainConfig({ ...ldmiSettings(parameters), seed, stopping });
}

/** Both have reached the figure; how far above it an epoch ends is the epoch's affair. */
function sameFigure(expected: Arrays, actual: Arrays, parameters: Parameters): Verdict {
  const wanted = size(parameters, "figure");
  const [ours, theirs] = [expected.figures?.[0] ?? 0, actual.figures?.[0] ?? 0];
  const epochs = `${actual.epochs?.[0]} epochs beside ${expected.epochs?.[0]}`;
  return {
    agrees: Math.min(ours, theirs) >= wanted,
    detail: `recall + ndcg ${theirs.toFixed(3)} beside ${ours.toFixed(3)}, wanted ${wanted}; ${epochs}`,
  };
}

/** Training sequences and validation users, with clusters by category, flat. */
async function inputs(planted: boolean): Promise<Arrays> {
  const { dataset } = planted
    ? plantedData({ users: 1200, items: 300, interests: 8, medianLength: 12, trainShare: 0.8, seed: 1 })
    : await importDataset({
        interactions: join(films, "interactions.csv"),
        items: join(films, "items.csv"),
        split: { file: join(films, "split.csv") },
      });
  const { log, split, catalog } = dataset;
  const { train, valid } = await partitionDataset(dataset, categoryClusterer(catalog));
  const cases = evaluationCases(dataset, "valid");
  const histories = Array.from(split.train.users, (user, r) => userItems(log, user).subarray(0, split.train.ends[r]));
  const targets = joined(cases.map((one) => one.targets));
  return {
    indptr: train.indptr,
    items: joined(histories).values,
    clusters: Int32Array.from(train.assign),
    popularity: catalog.popularity.slice(1),
    "valid-indptr": valid.indptr,
    "valid-items": joined(cases.map(({ history }) => history)).values,
    "valid-clusters": Int32Array.from(valid.assign),
    "target-indptr": targets.indptr,
    "target-items": targets.values,
  };
}

function joined(rows: readonly Uint32Array[]): { readonly indptr: Uint32Array; readonly values: Uint32Array } {
  const indptr = new Uint32Array(rows.length + 1);
  for (const [r, row] of rows.entries()) indptr[r + 1] = indptr[r]! + row.length;
  const values = new Uint32Array(indptr[rows.length]!);
  for (const [r, row] of rows.entries()) values.set(row, indptr[r]!);
  return { indptr, values };
}

/** A data set of these arrays: what is to be learned from, whom to validate on, and nobody to test. */
function restored(arrays: Arrays): { readonly dataset: Dataset; readonly partitions: Partitions } {
  const u32 = (name: string): Uint32Array => arrays[name] as Uint32Array;
  const row = (name: string, r: number): Uint32Array =>
    u32(`${name}items`).subarray(arrays[`${name}indptr`]![r], arrays[`${name}indptr`]![r + 1]);
  const counts = u32("popularity");
  const items = Array.from({ length: counts.length }, (_, i) => ({ id: `i${i + 1}`, title: "", categories: [] }));
  const trained = u32("indptr").length - 1;
  const judged = u32("valid-indptr").length - 1;
  const valid = Array.from({ length: judged }, (_, r) => [row("valid-", r), row("target-", r)] as const);
  const log = joined([
    ...Array.from({ length: trained }, (_, r) => row("", r)),
    ...valid.map(([history, targets]) => Uint32Array.of(...history, ...targets)),
  ]);
  const users = Uint32Array.from({ length: trained + judged }, (_, user) => user);
  const nobody: EvaluationPart = {
    users: users.subarray(0, 0),
    historyEnds: users.subarray(0, 0),
    targetEnds: users.subarray(0, 0),
  };
  return {
    dataset: {
      fingerprint: "whole-training",
      catalog: createCatalog([{ id: "", title: "", categories: [] }, ...items], Uint32Array.of(0, ...counts)),
      log: createLog({ userIds: Array.from(users, (user) => `u${user}`), indptr: log.indptr, items: log.values }),
      split: {
        protocol: "user-disjoint",
        train: { users: users.subarray(0, trained), ends: users.subarray(0, trained).map((r) => row("", r).length) },
        valid: {
          users: users.subarray(trained),
          historyEnds: Uint32Array.from(valid, ([history]) => history.length),
          targetEnds: Uint32Array.from(valid, ([history, targets]) => history.length + targets.length),
        },
        test: nobody,
      },
    },
    partitions: {
      train: partitionTable(u32("indptr"), arrays.clusters!),
      valid: partitionTable(u32("valid-indptr"), arrays["valid-clusters"]!),
      test: partitionTable(Uint32Array.of(0), new Int32Array(0)),
    },
  };
}

function partitionTable(indptr: Uint32Array, clusters: ArrayLike<number>): PartitionTable {
  return { clusterer: "category", fingerprint: "category", indptr, assign: Int16Array.from(clusters), labels: [] };
}
