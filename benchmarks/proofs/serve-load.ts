// How many lists the service gives and how long one takes: `ldmi` with random weights over 20,000 items x 64, k = 20, one
// process of one thread that answers and another that asks. `foreign_cores` is what other processes kept busy meanwhile:
// `service_cpu_ms`, the processor time of an answer, does not depend on them as the others do. Every answer is compared with the library's; one that differs,
// or a status other than 200, fails it. Writes results/serve-load.csv. Usage: npm run proof -- serve-load
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRandom, setThreadBudget } from "@prismrec/core/base";
import { createCatalog } from "@prismrec/core/data";
import { createNetwork, InterestModel, networkConfig } from "@prismrec/core/models";
import { ParameterSet } from "@prismrec/core/nn";
import { Recommender } from "@prismrec/core/recommend";
import { Service, servedOf } from "@prismrec/service";
import autocannon from "autocannon";
import { busySeconds, describeMachine } from "../lib/machine.js";
import { benchmarksRoot } from "../lib/paths.js";
import { quantile } from "../lib/statistics.js";

const ITEMS = 20_000;
const DIM = 64;
const K = 20;
const EVENTS = 20;
const HISTORIES = 200;
const SECONDS = 8;
const WARM_UP = 2;
const CONNECTIONS = [1, 4, 16];
const SERVING = "--serving";

const itemId = (dense: number): string => `i${dense}`;

/** The same model in both processes. */
function openRecommender(): Recommender {
  setThreadBudget(1);
  const random = createRandom(7, "serve-load");
  const network = createNetwork(networkConfig({ model: "ldmi", dim: DIM }));
  const parameters = ParameterSet.create(network.specs(), random);
  const items = { data: Float32Array.from({ length: ITEMS * DIM }, () => random.normal() / 8), rows: ITEMS, cols: DIM };
  const model = new InterestModel(network, parameters, items, new Float32Array(ITEMS));
  const known = Array.from({ length: ITEMS + 1 }, (_, dense) => ({
    id: dense === 0 ? "" : itemId(dense),
    title: dense === 0 ? "" : `Item number ${dense}`,
    categories: dense === 0 ? [] : [`shelf ${dense % 40}`],
  }));
  return new Recommender({ model, catalog: createCatalog(known, new Uint32Array(ITEMS + 1)) });
}

const histories = (): string[][] => {
  const random = createRandom(8, "serve-load/histories");
  return Array.from({ length: HISTORIES }, () =>
    Array.from({ length: EVENTS }, () => itemId(random.integer(1, ITEMS + 1))),
  );
};

async function answer(): Promise<void> {
  const recommender = openRecommender();
  const served = servedOf(recommender, {
    model: "ldmi",
    hash: "serve-load",
    items: ITEMS,
    users: 0,
    close: async () => recommender[Symbol.dispose](),
  });
  const service = await Service.create({ open: async () => served, settings: { ratePerMinute: 0 } });
  await service.load();
  process.on("message", () => {
    const { user, system } = process.cpuUsage();
    process.send?.((user + system) / 1e6);
  });
  process.send?.(await service.listen({ port: 0 }));
  await once(process, "disconnect");
  await service.close();
}

/** Processor seconds that the service has used so far. */
async function usedBy(child: ChildProcess): Promise<number> {
  child.send("usage");
  const [seconds] = (await once(child, "message")) as [number];
  return seconds;
}

/** Scores and ids of a list, as they are compared. */
const listed = (items: readonly { readonly id: string; readonly score: number }[]): string =>
  items.map(({ id, score }) => `${id} ${score}`).join(" ");

async function measure(
  child: ChildProcess,
  url: string,
  connections: number,
  expected: ReadonlyMap<string, string>,
): Promise<string> {
  let [wrong, compared] = [0, 0];
  const requests = [...expected.keys()].map((body) => ({
    method: "POST" as const,
    path: "/v1/recommend",
    headers: { "content-type": "application/json" },
    body,
    onResponse(status: number, text: string) {
      compared++;
      if (status !== 200 || listed(JSON.parse(text).items) !== expected.get(body)) wrong++;
    },
  }));
  await autocannon({ url, connections, duration: WARM_UP, requests });
  [wrong, compared] = [0, 0];
  const [ownBefore, busyBefore, meBefore] = [await usedBy(child), busySeconds(), process.cpuUsage()];
  const latencies: number[] = [];
  const { duration, errors, timeouts } = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon({ url, connections, duration: SECONDS, requests }, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
    run.on("response", (_client, _status, _bytes, milliseconds) => latencies.push(milliseconds));
  });
  if (wrong + errors + timeouts > 0 || compared === 0) {
    throw new Error(`${wrong} of ${compared} answers were not the library's; ${errors} errors, ${timeouts} timeouts`);
  }
  const own = (await usedBy(child)) - ownBefore;
  const me = process.cpuUsage(meBefore);
  const foreign = Math.max(0, busySeconds() - busyBefore - own - (me.user + me.system) / 1e6) / duration;
  const [p50, p99] = [0.5, 0.99].map((share) =>
    quantile(
      latencies.toSorted((a, b) => a - b),
      share,
    ).toFixed(2),
  );
  return [
    connections,
    compared,
    (latencies.length / duration).toFixed(0),
    p50,
    p99,
    ((own / compared) * 1000).toFixed(2),
    foreign.toFixed(2),
  ].join(",");
}

async function main(): Promise<void> {
  const child: ChildProcess = fork(fileURLToPath(import.meta.url), [SERVING], {
    env: { ...process.env, PRISMREC_THREADS: "1" },
  });
  try {
    const [url] = (await once(child, "message")) as [string];
    const library = openRecommender();
    const expected = new Map<string, string>();
    for (const history of histories()) {
      const { items } = await library.recommend({ history }, { k: K });
      expected.set(JSON.stringify({ history, k: K }), listed(items));
    }
    const { machine, commit, date } = describeMachine();
    const lines = [
      "items,dim,k,events,connections,answers_compared,per_second,p50_ms,p99_ms,service_cpu_ms,foreign_cores,machine,commit,date",
    ];
    for (const connections of CONNECTIONS) {
      const row = await measure(child, url, connections, expected);
      lines.push([ITEMS, DIM, K, EVENTS, row, `"${machine}"`, commit, date].join(","));
    }
    const csv = `${lines.join("\n")}\n`;
    await writeFile(join(benchmarksRoot, "results", "serve-load.csv"), csv);
    process.stdout.write(csv);
  } finally {
    child.disconnect();
  }
}

await (process.argv.includes(SERVING) ? answer() : main());
