// Lists a second over HTTP, and how long one takes: the project's service beside Cornac's model server and faiss behind
// uvicorn on the same item vectors, 20,000 and 100,000 items x 64, k = 20. Each server in turn has one processor, and
// autocannon another; every answer is compared, ours with the library's list, the peers' with their vectors' exact one.
//
// `prismrec`: known users, whose histories have been read before, as the peers' user vectors are there before anybody asks;
// `prismrec-unread`: histories that the network reads at every request. `faiss`: one vector a user; `faiss-interests`: as
// many as our users have, the best score of an item counting. The peers' lists are ids and scores alone.
// `service_cpu_ms`, the processor time of an answer, does not depend on what else runs as the others do; `foreign_cores` is
// what other processes kept busy. Writes results/serve-load.csv.
// Usage: npm run proof -- serve-load [--seconds 8] [--items 20000,100000] [--connections 1,4,16,64]
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { userHistory } from "@prismrec/core/data";
import { ExactIndex } from "@prismrec/core/ops";
import { describeMachine } from "../lib/machine.js";
import { benchmarksRoot } from "../lib/paths.js";
import { runPeer } from "../lib/peers.js";
import {
  type Asked,
  DIM,
  EVENTS,
  hasPeer,
  K,
  type Load,
  load,
  type OpenedModel,
  openModel,
  ownRequests,
  type Processors,
  resultFile,
  type Scored,
  type Server,
  startPeer,
  startService,
  takeProcessors,
  USERS,
  userId,
  writeVectors,
} from "../lib/serving.js";

/** Interests of a user of the model. */
const INTERESTS = 4;
/** Scores of one item by two libraries differ by the order of their sums. */
const CLOSE = 1e-4;

interface Contestant {
  readonly name: string;
  start(processors: Processors): Promise<Server>;
  readonly asked: readonly Asked[];
}

const peerScript = (name: string): string => join(benchmarksRoot, "peers", name);

/** The exact lists of users' vectors, items that score alike in any order: what a peer must answer. */
async function exactLists({ model, log }: OpenedModel, interests: number): Promise<Map<string, number>[]> {
  using index = await ExactIndex.build(model.itemVectors());
  const lists: Map<string, number>[] = [];
  for (let user = 0; user < USERS; user++) {
    const { vectors } = model.interests([userHistory(log, user)]);
    const queries = { data: vectors.data.subarray(0, interests * DIM), rows: interests, cols: DIM };
    // A few more than asked for: the last places may go to others by the order of a sum.
    const { ids, scores } = (await index.search({ queries, interestsPerQuery: interests, k: K + 5 })).row(0);
    lists.push(new Map(Array.from(ids, (id, n) => [`i${id + 1}`, scores[n]!])));
  }
  return lists;
}

/** What is wrong with a peer's list. */
function peerFault(ids: readonly string[], exact: ReadonlyMap<string, number>): string | undefined {
  const least = [...exact.values()].toSorted((a, b) => b - a)[K - 1]!;
  const right = ids.length === K && new Set(ids).size === K;
  if (right && ids.every((id) => (exact.get(id) ?? -Infinity) >= least - CLOSE)) return undefined;
  return `not the best of the vectors: ${ids.join(" ")}`;
}

async function faiss(opened: OpenedModel, folder: string, interests: number): Promise<Contestant> {
  writeVectors(opened, folder, interests);
  const lists = await exactLists(opened, interests);
  return {
    name: interests === 1 ? "faiss" : "faiss-interests",
    start: (processors) => startPeer((port) => ["python", peerScript("faiss_server.py"), folder, port], processors),
    asked: lists.map((exact, user) => ({
      method: "POST",
      path: "/recommend",
      body: JSON.stringify({ user: userId(user), k: K }),
      fault: (text) =>
        peerFault(
          (JSON.parse(text) as { items: Scored }).items.map(({ id }) => id),
          exact,
        ),
    })),
  };
}

async function cornac(opened: OpenedModel, folder: string): Promise<Contestant> {
  writeVectors(opened, folder, 1);
  const lists = await exactLists(opened, 1);
  const env = { MODEL_CLASS: "cornac.models.MF", MODEL_PATH: runPeer(peerScript("cornac_model.py"), [folder]).trim() };
  const one = ["--workers=1", "--worker-class=gthread", "--threads=4", "--keep-alive=75", "--log-level=error"];
  return {
    name: "cornac",
    start: (processors) =>
      startPeer((port) => ["gunicorn", ...one, `--bind=127.0.0.1:${port}`, "cornac.serving.app:app"], processors, env),
    asked: lists.map((exact, user) => ({
      method: "GET",
      path: `/recommend?uid=${userId(user)}&k=${K}`,
      fault: (text) => peerFault((JSON.parse(text) as { recommendations: string[] }).recommendations, exact),
    })),
  };
}

async function contestants(items: number, folder: string): Promise<Contestant[]> {
  const opened = openModel(items);
  const all: Contestant[] = [
    {
      name: "prismrec",
      start: (processors) => startService({ items }, processors),
      asked: await ownRequests(opened, true),
    },
    {
      name: "prismrec-unread",
      start: (processors) => startService({ items, states: 0 }, processors),
      asked: await ownRequests(opened, false),
    },
  ];
  if (hasPeer("uvicorn")) {
    all.push(await faiss(opened, join(folder, `faiss-${items}`), 1));
    all.push(await faiss(opened, join(folder, `interests-${items}`), INTERESTS));
  } else process.stderr.write("notice: faiss behind uvicorn is left out (npm run bench:peers)\n");
  if (hasPeer("gunicorn")) all.push(await cornac(opened, join(folder, `cornac-${items}`)));
  else process.stderr.write("notice: Cornac is left out (npm run bench:peers)\n");
  opened.recommender[Symbol.dispose]();
  opened.model.dispose();
  return all;
}

/** The most a second that a server gave without a p99 above `most`; 0: none. */
function bestWithin(loads: readonly Load[], most: number): number {
  return loads.filter(({ p99 }) => p99 <= most).reduce((best, { perSecond }) => Math.max(best, perSecond), 0);
}

/** For each peer: its most a second, and ours at no higher p99. */
function compared(items: number, loads: ReadonlyMap<string, readonly Load[]>): string[] {
  const own = loads.get("prismrec")!;
  return [...loads].flatMap(([name, theirs]) => {
    if (name.startsWith("prismrec")) return [];
    const best = theirs.reduce((a, b) => (b.perSecond > a.perSecond ? b : a));
    const ours = bestWithin(own, best.p99);
    const ratio = (ours / best.perSecond).toFixed(1);
    return `${items} items: ${name} ${best.perSecond.toFixed(0)}/s at p99 ${best.p99.toFixed(1)} ms, prismrec ${ours.toFixed(0)}/s within it: ${ratio}x`;
  });
}

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    seconds: { type: "string", default: "8" },
    items: { type: "string", default: "20000,100000" },
    connections: { type: "string", default: "1,4,16,64" },
  },
});
const seconds = Number(values.seconds);
const connections = values.connections.split(",").map(Number);
const processors = takeProcessors();
const folder = await mkdtemp(join(tmpdir(), "prismrec-serve-load-"));
try {
  const { machine, commit, date } = describeMachine();
  const lines = [
    "server,items,dim,k,events,connections,answers_compared,per_second,p50_ms,p99_ms,server_cpu_ms,foreign_cores,load_average,machine,commit,date",
  ];
  const said: string[] = [];
  for (const items of values.items.split(",").map(Number)) {
    const all = await contestants(items, folder);
    const loads = new Map<string, Load[]>(all.map(({ name }) => [name, []]));
    // In turn, at each number of connections, so that all of them meet the same machine.
    for (const count of connections) {
      for (const { name, start, asked } of all) {
        const server = await start(processors);
        try {
          const found = await load(server, asked, { connections: count, seconds });
          loads.get(name)!.push(found);
          const { answers, perSecond, p50, p99, cpu, foreign } = found;
          const figures = [
            answers,
            perSecond.toFixed(0),
            p50.toFixed(2),
            p99.toFixed(2),
            cpu.toFixed(3),
            foreign.toFixed(2),
          ];
          const about = [loadavg()[0]!.toFixed(2), `"${machine}"`, commit, date];
          lines.push([name, items, DIM, K, EVENTS, count, ...figures, ...about].join(","));
          process.stdout.write(`${lines.at(-1)}\n`);
        } finally {
          await server.stop();
        }
      }
    }
    said.push(...compared(items, loads));
  }
  await writeFile(resultFile("serve-load.csv"), `${lines.join("\n")}\n`);
  process.stdout.write(`${said.join("\n")}\n`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
