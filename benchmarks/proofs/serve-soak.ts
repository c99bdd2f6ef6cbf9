// The service at half of its peak for ten minutes, while slow clients send their requests byte by byte, others go away
// before their answers, and the model is loaded anew 20 times. Beside it, before and after, a quiet minute of the same
// pace with none of that. Fails for a request that is not answered right, where memory is more than 16 MiB larger in the last
// third than in the second, or where p99 is over three times the quiet one. Writes results/serve-soak.csv, a row each part.
// One processor for the service, one for all clients. Usage:
//   npm run proof -- serve-soak [--minutes 10] [--items 20000] [--reloads 20] [--connections 16]
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { loadavg } from "node:os";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import autocannon from "autocannon";
import { busySeconds, describeMachine } from "../lib/machine.js";
import {
  type Asked,
  load,
  openModel,
  ownRequests,
  processSeconds,
  residentBytes,
  resultFile,
  type Server,
  startService,
  takeProcessors,
} from "../lib/serving.js";
import { quantile } from "../lib/statistics.js";

const SHARE_OF_PEAK = 0.5;
const MOST_P99 = 3;
/** MiB from the mean of the second third to that of the last: a heap swings by about as much between two collections. */
const MOST_GROWTH = 16;
const SAMPLE_MS = 1000;
const BETWEEN_ABORTS_MS = 100;
const SLOW_CLIENTS = 4;
const SLOW_PIECE_MS = 50;

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    minutes: { type: "string", default: "10" },
    items: { type: "string", default: "20000" },
    reloads: { type: "string", default: "20" },
    connections: { type: "string", default: "16" },
  },
});
const [minutes, items, reloads, connections] = [values.minutes, values.items, values.reloads, values.connections].map(
  Number,
) as [number, number, number, number];

interface Part {
  readonly name: string;
  readonly seconds: number;
  readonly answered: number;
  readonly failed: number;
  readonly p50: number;
  readonly p99: number;
  readonly foreign: number;
}

const failures: string[] = [];

/** Requests at a steady pace, each answer checked. */
async function paced(
  name: string,
  { url, pid }: Server,
  asked: readonly Asked[],
  perSecond: number,
  seconds: number,
): Promise<Part> {
  let [answered, failed] = [0, 0];
  const fail = (text: string): void => {
    failed++;
    if (failures.length < 20) failures.push(`${name}: ${text.slice(0, 300)}`);
  };
  const requests = asked.map(({ method, path, body, fault }) => ({
    method,
    path,
    ...(body === undefined ? {} : { body, headers: { "content-type": "application/json" } }),
    onResponse(status: number, text: string) {
      answered++;
      const wrong = status === 200 ? fault(text) : `status ${status}: ${text}`;
      if (wrong !== undefined) fail(wrong);
    },
  }));
  const latencies: number[] = [];
  const [own, busy, mine] = [processSeconds(pid), busySeconds(), process.cpuUsage()];
  const { errors, timeouts, duration } = await new Promise<autocannon.Result>((resolve, reject) => {
    const settings = { url, connections, duration: seconds, overallRate: Math.max(1, Math.round(perSecond)), requests };
    const run = autocannon(settings, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
    run.on("response", (_client, _status, _bytes, milliseconds) => latencies.push(milliseconds));
  });
  for (let n = 0; n < errors + timeouts; n++) fail("an error of the connection, or no answer in time");
  const { user, system } = process.cpuUsage(mine);
  const sorted = latencies.toSorted((a, b) => a - b);
  const used = processSeconds(pid) - own + (user + system) / 1e6;
  return {
    name,
    seconds: duration,
    answered,
    failed,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    foreign: Math.max(0, busySeconds() - busy - used) / duration,
  };
}

/** A client that sends its request in pieces with pauses between, again and again, and must be answered all the same. */
async function slowClient({ url }: Server, asked: readonly Asked[], stop: AbortSignal): Promise<number> {
  const { hostname, port } = new URL(url);
  let answered = 0;
  for (let n = 0; !stop.aborted; n++) {
    const { path, body = "", fault } = asked[(n * 37) % asked.length]!;
    const text = `POST ${path} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
    const socket = connect(Number(port), hostname);
    const received: Buffer[] = [];
    socket.on("data", (part: Buffer) => received.push(part));
    // What went wrong shows in what was received.
    socket.on("error", () => undefined);
    const closed = once(socket, "close");
    const piece = Math.ceil(text.length / 8);
    for (let at = 0; at < text.length; at += piece) {
      socket.write(text.slice(at, at + piece));
      await wait(SLOW_PIECE_MS);
    }
    await closed;
    const [head = "", ...rest] = Buffer.concat(received).toString().split("\r\n\r\n");
    const wrong = head.startsWith("HTTP/1.1 200") ? fault(rest.join("\r\n\r\n")) : `a slow client got: ${head}`;
    if (wrong === undefined) answered++;
    else failures.push(wrong.slice(0, 300));
  }
  return answered;
}

/** Clients that ask and go away before the answer. */
async function abortingClient({ url }: Server, asked: readonly Asked[], stop: AbortSignal): Promise<number> {
  let aborted = 0;
  for (; !stop.aborted; aborted++) {
    const { path, body = "" } = asked[(aborted * 53) % asked.length]!;
    const sent = request(new URL(path, url), { method: "POST", headers: { "content-type": "application/json" } });
    // It is this client that ends it.
    sent.on("error", () => undefined);
    sent.end(body);
    await wait(aborted % 3);
    sent.destroy();
    await wait(BETWEEN_ABORTS_MS);
  }
  return aborted;
}

/** Loads the model anew at even distances. */
async function reloading({ child }: Server, seconds: number, stop: AbortSignal): Promise<number> {
  let done = 0;
  for (; done < reloads && !stop.aborted; done++) {
    await wait((1000 * seconds) / (reloads + 1));
    child.send("reload");
    const [answer] = (await once(child, "message")) as [string];
    if (answer !== "reloaded") failures.push(`a reload failed: ${answer}`);
  }
  return done;
}

/** Seconds and MiB, from now until it is stopped. */
async function watchMemory({ pid }: Server, stop: AbortSignal): Promise<[number, number][]> {
  const samples: [number, number][] = [];
  const start = performance.now();
  while (!stop.aborted) {
    samples.push([(performance.now() - start) / 1000, residentBytes(pid) / 2 ** 20]);
    await wait(SAMPLE_MS);
  }
  return samples;
}

const meanSize = (samples: readonly (readonly [number, number])[]): number =>
  samples.reduce((sum, [, size]) => sum + size, 0) / samples.length;

/** Least squares: MiB an hour. */
function slopeOf(samples: readonly (readonly [number, number])[]): number {
  const mean = (of: (sample: readonly [number, number]) => number): number =>
    samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
  const [x, y] = [mean(([seconds]) => seconds), mean(([, size]) => size)];
  const slope = mean(([seconds, size]) => (seconds - x) * (size - y)) / mean(([seconds]) => (seconds - x) ** 2);
  return slope * 3600;
}

const processors = takeProcessors();
const opened = openModel(items);
const asked = await ownRequests(opened, true);
opened.recommender[Symbol.dispose]();
opened.model.dispose();
const server = await startService({ items }, processors);
try {
  const peak = (await load(server, asked, { connections, seconds: Math.min(10, 6 * minutes) })).perSecond;
  const pace = SHARE_OF_PEAK * peak;
  const quietSeconds = Math.max(2, 6 * minutes);
  const before = await paced("quiet before", server, asked, pace, quietSeconds);
  const stop = new AbortController();
  const watched = watchMemory(server, stop.signal);
  const slow = Array.from({ length: SLOW_CLIENTS }, () => slowClient(server, asked, stop.signal));
  const aborting = abortingClient(server, asked, stop.signal);
  const loading = reloading(server, 60 * minutes, stop.signal);
  const soak = await paced("soak", server, asked, pace, 60 * minutes);
  const reloaded = await loading;
  stop.abort();
  const slowAnswers = (await Promise.all(slow)).reduce((sum, count) => sum + count, 0);
  const aborted = await aborting;
  const memory = await watched;
  const after = await paced("quiet after", server, asked, pace, quietSeconds);
  // The first third fills what is kept: histories, pools, the heap.
  const settled = memory.slice(Math.floor(memory.length / 3));
  const slope = slopeOf(settled);
  const half = Math.floor(settled.length / 2);
  const [first, last] = [settled.slice(0, half), settled.slice(half)].map(meanSize) as [number, number];
  const { machine, commit, date } = describeMachine();
  const lines = [
    "part,items,connections,peak_per_second,seconds,answered,failed,p50_ms,p99_ms,slow_answers,aborted,reloads,rss_second_third_mib,rss_last_third_mib,rss_mib_per_hour,foreign_cores,load_average,machine,commit,date",
    ...[before, soak, after].map((part) => {
      const soaking = part === soak;
      const counts = soaking ? [slowAnswers, aborted, reloaded] : [0, 0, 0];
      const grown = soaking ? [first.toFixed(1), last.toFixed(1), slope.toFixed(1)] : ["", "", ""];
      const times = [part.p50.toFixed(2), part.p99.toFixed(2)];
      const about = [part.foreign.toFixed(2), loadavg()[0]!.toFixed(2), `"${machine}"`, commit, date];
      const own = [part.name, items, connections, peak.toFixed(0), part.seconds, part.answered, part.failed];
      return [...own, ...times, ...counts, ...grown, ...about].join(",");
    }),
  ];
  await writeFile(resultFile("serve-soak.csv"), `${lines.join("\n")}\n`);
  process.stdout.write(`${lines.join("\n")}\n`);
  const quiet = Math.max(before.p99, after.p99);
  const verdicts = [
    ["requests failed", failures.length === 0, failures.join("; ") || "none"],
    ["reloads", reloaded === reloads, `${reloaded} of ${reloads}`],
    ["memory", last - first <= MOST_GROWTH, `${(last - first).toFixed(1)} MiB more, at most ${MOST_GROWTH}`],
    ["p99", soak.p99 <= MOST_P99 * quiet, `${soak.p99.toFixed(1)} ms, quiet ${quiet.toFixed(1)} ms`],
  ] as const;
  for (const [what, holds, found] of verdicts)
    process.stdout.write(`${holds ? "holds" : "FAILS"}: ${what}: ${found}\n`);
  if (verdicts.some(([, holds]) => !holds)) process.exitCode = 1;
} finally {
  await server.stop();
}
