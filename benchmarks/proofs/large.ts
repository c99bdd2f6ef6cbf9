// Proof that a catalog of five million items is trained, judged, stored, gone on with and served on one machine: a generated
// data set of a million training events, one epoch of `ldmi` by its recipe (sampled softmax, as in every catalog above 20,000 items)
// through the same `train` as any run. Each phase has a process of its own, whose peak of resident memory is its own. Writes
// results/large.csv; exits with 1 where the loss does not fall, a file does not come back as it was, or a phase needs more
// than LIMIT. Usage: npm run proof -- large [--items N] [--users N]
import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { availableParallelism, cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createRandom, hashJson, setThreadBudget, writeFileAtomic } from "@prismrec/core/base";
import {
  createCatalog,
  createLog,
  type Dataset,
  type EvaluationPart,
  evaluationCases,
  type ImportReport,
  loadDataset,
  saveDataset,
} from "@prismrec/core/data";
import { fitMostPopular, loadModel } from "@prismrec/core/models";
import { Recommender } from "@prismrec/core/recommend";
import { defaultTrainConfig, evaluate, train } from "@prismrec/trainer";
import { residentBytes } from "../lib/memory.js";
import { benchmarksRoot } from "../lib/paths.js";

const LENGTH = 20;
const EVALUATED = 500;
/** Of equal size, no item in two of them; a user has two to four. Fewer than the start has directions. */
const INTERESTS = 40;
const SEED = 1;
const LIMIT = 24 * 2 ** 30;
const PHASES = ["generate", "train", "resume", "serve"] as const;
type Phase = (typeof PHASES)[number];
type Figures = Readonly<Record<string, number>>;

const { values: flags } = parseArgs({
  // Behind the proof's own name where it is run by it.
  args: process.argv.slice(2).filter((text) => text !== "large"),
  options: {
    items: { type: "string", default: "5000000" },
    users: { type: "string", default: "50000" },
    threads: { type: "string", default: String(Math.min(2, availableParallelism())) },
    phase: { type: "string" },
    dir: { type: "string" },
  },
});
const [itemCount, userCount, threads] = [Number(flags.items), Number(flags.users), Number(flags.threads)];

/** Users of LENGTH distinct items, drawn from their interests by log-uniform popularity; item ids by training popularity. */
function generate(): { readonly dataset: Dataset; readonly report: ImportReport } {
  const random = createRandom(SEED, "large");
  const perInterest = Math.floor(itemCount / INTERESTS);
  const span = Math.log(perInterest + 1);
  const users = userCount + 2 * EVALUATED;
  const drawn = new Uint32Array(users * LENGTH);
  for (let user = 0; user < users; user++) {
    const own = Array.from({ length: 2 + random.integer(0, 3) }, () => random.integer(0, INTERESTS));
    const items = new Set<number>();
    while (items.size < LENGTH) {
      const rank = Math.min(perInterest, Math.floor(Math.exp(random.uniform() * span))) - 1;
      items.add(own[random.integer(0, own.length)]! + INTERESTS * rank);
    }
    drawn.set([...items], user * LENGTH);
  }
  const count = new Uint32Array(itemCount);
  for (const item of drawn.subarray(0, userCount * LENGTH)) count[item]!++;
  const order = Uint32Array.from(count.keys()).sort((a, b) => count[b]! - count[a]! || a - b);
  const dense = new Uint32Array(itemCount);
  order.forEach((item, rank) => {
    dense[item] = rank + 1;
  });
  const items = [{ id: "", title: "", categories: [] as string[] }];
  for (const item of order) {
    items.push({ id: `i${item}`, title: `Item ${item}`, categories: [`group ${item % INTERESTS}`] });
  }
  const part = (first: number): EvaluationPart => {
    const rows = Uint32Array.from({ length: EVALUATED }, (_, n) => first + n);
    return { users: rows, historyEnds: rows.map(() => 0.8 * LENGTH), targetEnds: rows.map(() => LENGTH) };
  };
  const trained = Uint32Array.from({ length: userCount }, (_, user) => user);
  const dataset: Dataset = {
    fingerprint: hashJson({ large: 1, itemCount, userCount, SEED }),
    catalog: createCatalog(items, Uint32Array.from([0, ...Array.from(order, (item) => count[item]!)])),
    log: createLog({
      userIds: Array.from({ length: users }, (_, user) => `u${user}`),
      indptr: Uint32Array.from({ length: users + 1 }, (_, user) => user * LENGTH),
      items: drawn.map((item) => dense[item]!),
    }),
    split: {
      protocol: "user-disjoint",
      train: { users: trained, ends: trained.map(() => LENGTH) },
      valid: part(userCount),
      test: part(userCount + EVALUATED),
    },
  };
  const events = drawn.length;
  const report: ImportReport = {
    format: { interactions: "generated" },
    columns: { user: "user", item: "item" },
    rowsRead: events,
    itemRowsRead: itemCount,
    kept: { users, items: itemCount, events },
    drops: [],
    split: { protocol: "user-disjoint", train: userCount, valid: EVALUATED, test: EVALUATED, leftOut: 0 },
    timing: { timed: false, tiedShare: 0, withinMinuteShare: 0 },
    order: { by: "file", ties: "file", timedShare: 0 },
    repeats: "earliest",
    passedOver: [],
    titleShare: 1,
    notes: [],
    warnings: [],
  };
  return { dataset, report };
}

/** Seconds since the call before. */
function stopwatch(): () => number {
  let before = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - before) / 1000;
    before = now;
    return seconds;
  };
}

const data = (dir: string): string => join(dir, "data");
const run = (dir: string): string => join(dir, "run");

const phases: Readonly<Record<Phase, (dir: string) => Promise<Figures>>> = {
  async generate(dir) {
    const lap = stopwatch();
    const { dataset, report } = generate();
    const generated = lap();
    await saveDataset(dataset, report, data(dir));
    const saved = lap();
    let seen = 0;
    for (const events of dataset.catalog.popularity) if (events > 0) seen++;
    return {
      "training events": userCount * LENGTH,
      items: dataset.catalog.size,
      "items with a training event": seen,
      "generate, s": generated,
      "save the data set, s": saved,
    };
  },

  async train(dir) {
    const lap = stopwatch();
    const { dataset } = await loadDataset(data(dir));
    const figures: Record<string, number> = { "load the data set, s": lap() };
    const config = defaultTrainConfig("ldmi", dataset, { seed: SEED, stopping: { epochs: 1 } });
    const losses: number[] = [];
    const { curve } = await train({ dataset }, config, {
      dir: run(dir),
      onEvent(event) {
        if (event.type === "start") figures["SVD start, s"] = lap();
        else if (event.type === "step") {
          losses.push(event.loss);
          if (event.done < event.total) return;
          figures["steps, s"] = lap();
          figures["peak RSS after the steps, GiB"] = residentBytes().peak / 2 ** 30;
        } else if (event.type === "epoch") figures["validation, s"] = lap();
        else figures["checkpoint, s"] = lap();
      },
    });
    figures["best model stored, s"] = lap();
    const few = Math.max(1, Math.floor(losses.length / 20));
    const meanOf = (some: readonly number[]): number => some.reduce((sum, loss) => sum + loss, 0) / some.length;
    const steps = figures["steps, s"]!;
    return {
      ...figures,
      "checkpoint, GiB": (await stat(await newestTensors(dir))).size / 2 ** 30,
      batches: losses.length,
      "users/s": userCount / steps,
      "events/s": (userCount * LENGTH) / steps,
      "loss, first twentieth": meanOf(losses.slice(0, few)),
      "loss, last twentieth": meanOf(losses.slice(-few)),
      ...Object.fromEntries(Object.entries(curve[0]!.metrics).map(([name, value]) => [`validation ${name}`, value])),
    };
  },

  async resume(dir) {
    const { dataset } = await loadDataset(data(dir));
    const before = await manifestOf(dir);
    const lap = stopwatch();
    const config = defaultTrainConfig("ldmi", dataset, { seed: SEED, stopping: { epochs: 1 } });
    const { stoppedBy, steps } = await train({ dataset }, config, { dir: run(dir) });
    const resumed = lap();
    const same = (await manifestOf(dir)) === before;
    return {
      "take up the checkpoint and store the model again, s": resumed,
      steps,
      "same model": same && stoppedBy === "epochs" ? 1 : 0,
    };
  },

  async serve(dir) {
    const { dataset } = await loadDataset(data(dir));
    const { catalog, log } = dataset;
    const lap = stopwatch();
    const figures: Record<string, number> = {};
    using model = await loadModel(join(run(dir), "model"), catalog);
    figures["load the model, s"] = lap();
    const { metrics } = await evaluate(model, dataset, { part: "test", metrics: ["recall@50"], diagnostics: false });
    figures[`index, and rank ${EVALUATED} users, s`] = lap();
    const floor = await evaluate(fitMostPopular(dataset), dataset, { part: "test", metrics: ["recall@50"] });
    lap();
    await model.saveIndex(join(dir, "search"));
    figures["save the index, s"] = lap();
    using again = await loadModel(join(run(dir), "model"), catalog);
    await again.openIndex(join(dir, "search"));
    figures["load model and index, s"] = lap();
    const few = evaluationCases(dataset, "test").slice(0, 50);
    const histories = few.map(({ history }) => ({ items: history }));
    const [own, other] = [await model.rank(histories, { k: 50 }), await again.rank(histories, { k: 50 })];
    using recommender = new Recommender({ model: again, catalog, log });
    lap();
    for (const { history } of few)
      await recommender.recommend({ history: Array.from(history, (id) => catalog.items[id]!.id) });
    figures["one recommendation, ms"] = (1000 * lap()) / few.length;
    return {
      ...figures,
      "test recall@50": metrics["recall@50"]!,
      "test recall@50, most popular": floor.metrics["recall@50"]!,
      "same lists": hashJson([...own.ids]) === hashJson([...other.ids]) ? 1 : 0,
    };
  },
};

async function newestTensors(dir: string): Promise<string> {
  const { listCheckpoints } = await import("@prismrec/core/nn");
  const newest = (await listCheckpoints(join(run(dir), "checkpoints"))).at(-1);
  return join(newest?.path ?? "", "tensors.safetensors");
}

/** What stands for all weights of the stored model. */
async function manifestOf(dir: string): Promise<string> {
  const manifest = JSON.parse(await readFile(join(run(dir), "model", "manifest.json"), "utf8"));
  return JSON.stringify(manifest.tensors);
}

async function onePhase(phase: Phase, dir: string): Promise<void> {
  setThreadBudget(threads);
  const figures = await phases[phase](dir);
  process.stdout.write(JSON.stringify({ ...figures, "peak RSS, GiB": residentBytes().peak / 2 ** 30 }));
}

async function all(): Promise<void> {
  const dir = await mkdtemp(join(flags.dir ?? tmpdir(), "prismrec-large-"));
  const rows: string[] = ["phase,figure,value"];
  const found: Record<string, Figures> = {};
  try {
    for (const phase of PHASES) {
      const self = fileURLToPath(import.meta.url);
      const given = ["--items", flags.items, "--users", flags.users, "--threads", flags.threads];
      const { status, stdout } = spawnSync(process.execPath, [self, ...given, "--phase", phase, "--dir", dir], {
        encoding: "utf8",
        stdio: ["ignore", "pipe", "inherit"],
      });
      if (status !== 0) throw new Error(`${phase} ended with ${status}`);
      const figures: Figures = JSON.parse(stdout);
      found[phase] = figures;
      for (const [name, value] of Object.entries(figures)) {
        rows.push(`${phase},"${name}",${Number.isInteger(value) ? value : value.toPrecision(4)}`);
        process.stderr.write(`${rows.at(-1)}\n`);
      }
    }
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  rows.push(`machine,"threads",${threads}`, `machine,"load at the end",${loadavg()[0]!.toFixed(2)}`);
  rows.push(`machine,"processor","${cpus()[0]?.model.trim() ?? ""}"`);
  const csv = `${rows.join("\n")}\n`;
  if (flags.items === "5000000") await writeFileAtomic(join(benchmarksRoot, "results", "large.csv"), csv);
  process.stdout.write(csv);
  const { train, resume, serve } = found;
  const faults = [
    train!["loss, last twentieth"]! < train!["loss, first twentieth"]! ? undefined : "the loss has not fallen",
    resume!["same model"] === 1 ? undefined : "the checkpoint gives another model",
    serve!["same lists"] === 1 ? undefined : "the stored index gives other lists",
    ...Object.entries(found).map(([phase, figures]) =>
      figures["peak RSS, GiB"]! * 2 ** 30 <= LIMIT ? undefined : `${phase} needs more than 24 GiB`,
    ),
  ].filter((fault) => fault !== undefined);
  if (faults.length === 0) return;
  process.stderr.write(`${faults.join("\n")}\n`);
  process.exitCode = 1;
}

const phase = PHASES.find((name) => name === flags.phase);
if (phase === undefined) await all();
else await onePhase(phase, flags.dir ?? "");
