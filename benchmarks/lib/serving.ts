// What the proofs of the service share: the model that is served, who asks, the servers and the processors they are held to.
import { type ChildProcess, execFileSync, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createRandom, setThreadBudget } from "@prismrec/core/base";
import { createCatalog, createLog, userHistory } from "@prismrec/core/data";
import { createNetwork, InterestModel, networkConfig } from "@prismrec/core/models";
import { ParameterSet } from "@prismrec/core/nn";
import { Recommender } from "@prismrec/core/recommend";
import autocannon from "autocannon";
import { busySeconds } from "./machine.js";
import { benchmarksRoot } from "./paths.js";
import { PEERS_FOLDER } from "./peers.js";
import { quantile } from "./statistics.js";

export const DIM = 64;
export const K = 20;
export const EVENTS = 20;
export const USERS = 1000;

const itemId = (dense: number): string => `i${dense}`;
export const userId = (user: number): string => `u${user}`;

/** What a model is made of, drawn once in a process: a reload is to open a model, not to draw random numbers. */
function drawn(items: number) {
  setThreadBudget(1);
  const random = createRandom(7, "serving");
  const network = createNetwork(networkConfig({ model: "ldmi", dim: DIM }));
  const parameters = ParameterSet.create(network.specs(), random);
  const data = Float32Array.from({ length: items * DIM }, () => random.normal() / 8);
  const titled = Array.from({ length: items + 1 }, (_, dense) => ({
    id: dense === 0 ? "" : itemId(dense),
    title: dense === 0 ? "" : `Item number ${dense}`,
    categories: dense === 0 ? [] : [`shelf ${dense % 40}`],
  }));
  const catalog = createCatalog(titled, new Uint32Array(items + 1));
  const log = createLog({
    userIds: Array.from({ length: USERS }, (_, user) => userId(user)),
    indptr: Uint32Array.from({ length: USERS + 1 }, (_, user) => user * EVENTS),
    items: Uint32Array.from({ length: USERS * EVENTS }, () => random.integer(1, items + 1)),
  });
  return { network, parameters, vectors: { data, rows: items, cols: DIM }, catalog, log };
}

const known = new Map<number, ReturnType<typeof drawn>>();

/** `ldmi` with random weights over N items, and users with random histories: the same in every process. */
export function openModel(items: number, states?: number) {
  const parts = known.get(items) ?? drawn(items);
  known.set(items, parts);
  const { network, parameters, vectors, catalog, log } = parts;
  const model = new InterestModel(network, parameters, vectors, new Float32Array(items));
  const recommender = new Recommender({ model, catalog, log, ...(states === undefined ? {} : { states }) });
  return { model, log, recommender };
}

export type OpenedModel = ReturnType<typeof openModel>;

/** External ids of a user's events, oldest first. */
function historyOf({ log }: OpenedModel, user: number): string[] {
  return Array.from(userHistory(log, user).items, itemId);
}

/** Items and each user's interests as the peers read them: items.f32, users.f32 [U, J, d], meta.json. */
export function writeVectors({ model, log }: OpenedModel, folder: string, interests: number): void {
  mkdirSync(folder, { recursive: true });
  const { data, rows } = model.itemVectors();
  const users = new Float32Array(USERS * interests * DIM);
  for (let user = 0; user < USERS; user++) {
    const { vectors } = model.interests([userHistory(log, user)]);
    users.set(vectors.data.subarray(0, interests * DIM), user * interests * DIM);
  }
  writeFileSync(join(folder, "items.f32"), new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  writeFileSync(join(folder, "users.f32"), new Uint8Array(users.buffer));
  writeFileSync(join(folder, "meta.json"), JSON.stringify({ items: rows, dim: DIM, users: USERS, interests }));
}

/** The two processors: one that answers, one that asks. */
export interface Processors {
  readonly server: string;
  readonly generator: string;
}

/**
 * Holds this process to one processor and names another for the servers.
 *
 * @throws Error where there is no taskset, or only one processor
 */
export function takeProcessors(): Processors {
  const listed = execFileSync("taskset", ["-cp", String(process.pid)], { encoding: "utf8" })
    .split(":")[1]!
    .trim();
  const allowed = listed.split(",").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, n) => String(from + n));
  });
  const [server, generator] = allowed;
  if (server === undefined || generator === undefined) throw new Error(`two processors are needed, not ${listed}`);
  execFileSync("taskset", ["-acp", generator, String(process.pid)]);
  return { server, generator };
}

/** A server that has been started, on a processor of its own. */
export interface Server {
  readonly url: string;
  readonly pid: number;
  readonly child: ChildProcess;
  stop(): Promise<void>;
}

const SINGLE = {
  PRISMREC_THREADS: "1",
  OMP_NUM_THREADS: "1",
  OPENBLAS_NUM_THREADS: "1",
  MKL_NUM_THREADS: "1",
  PYTHONDONTWRITEBYTECODE: "1",
};

function environment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  const own: NodeJS.ProcessEnv = { ...process.env, ...SINGLE, ...more };
  // Settings of one machine's BLAS that would handicap a peer's own choice of kernels.
  delete own.OPENBLAS_CORETYPE;
  delete own.OPENBLAS_L2_SIZE;
  return own;
}

export interface ServiceRun {
  readonly items: number;
  /** Histories that the recommender keeps; 0: every request is read anew. */
  readonly states?: number;
}

/** The project's service: `serve-main.ts` in a process of its own. */
export async function startService(run: ServiceRun, { server }: Processors): Promise<Server> {
  const main = fileURLToPath(new URL("serve-main.js", import.meta.url));
  const child = fork(main, [JSON.stringify(run)], { env: environment() });
  execFileSync("taskset", ["-acp", server, String(child.pid)]);
  const [url] = (await Promise.race([once(child, "message"), failed(child)])) as [string];
  return started(url, child, () => child.disconnect());
}

/** A peer from the peers' Python environment, up once it answers at all. */
export async function startPeer(
  command: (port: string) => readonly string[],
  { server }: Processors,
  env: NodeJS.ProcessEnv = {},
): Promise<Server> {
  const port = String(await freePort());
  const [program = "", ...args] = command(port);
  const child = spawn("taskset", ["-c", server, join(PEERS_FOLDER, "venv", "bin", program), ...args], {
    env: environment(env),
    stdio: ["ignore", "ignore", "inherit"],
  });
  const url = `http://127.0.0.1:${port}`;
  const end = failed(child);
  for (let up = false; !up; ) {
    await Promise.race([new Promise((resolve) => setTimeout(resolve, 200)), end]);
    up = await fetch(url).then(
      () => true,
      () => false,
    );
  }
  return started(url, child, () => child.kill("SIGTERM"));
}

/** Whether the peers' Python environment has a program or module. */
export function hasPeer(program: string): boolean {
  return existsSync(join(PEERS_FOLDER, "venv", "bin", program));
}

function started(url: string, child: ChildProcess, end: () => void): Server {
  return {
    url,
    pid: child.pid!,
    child,
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, "exit");
      end();
      await gone;
    },
  };
}

async function failed(child: ChildProcess): Promise<never> {
  const [code] = await once(child, "exit");
  throw new Error(`a server ended before it answered: exit ${code}`);
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  await new Promise((resolve) => probe.close(resolve));
  return typeof address === "object" && address !== null ? address.port : 0;
}

const TICKS_PER_SECOND = 100;

/** Processor seconds of a process and of the children that it has. */
export function processSeconds(pid: number): number {
  const own = (of: string): number => {
    const fields = readFileSync(`/proc/${of}/stat`, "utf8")
      .replace(/^.*\) /s, "")
      .split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  };
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
  return [String(pid), ...children].reduce((sum, of) => sum + own(of), 0);
}

/** Bytes that a process holds in memory. */
export function residentBytes(pid: number): number {
  return 1024 * Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** A request, and what is wrong with an answer to it: undefined where nothing is. */
export interface Asked {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly body?: string;
  readonly fault: (text: string) => string | undefined;
}

export interface Load {
  readonly perSecond: number;
  /** Milliseconds */
  readonly p50: number;
  readonly p99: number;
  readonly answers: number;
  /** Processor milliseconds of the server for an answer. */
  readonly cpu: number;
  /** Processors that others kept busy meanwhile. */
  readonly foreign: number;
}

export type Scored = readonly { readonly id: string; readonly score: number }[];

/** Scores and ids of a list, as they are compared. */
const listed = (items: Scored): string => items.map(({ id, score }) => `${id} ${score}`).join(" ");

/**
 * What the service is asked, one list for each user, and must answer as the library does.
 *
 * @param known by the user's id; else by what the history holds
 */
export async function ownRequests(opened: OpenedModel, known: boolean): Promise<Asked[]> {
  const asked: Asked[] = [];
  for (let user = 0; user < USERS; user++) {
    const whom = known ? { user: userId(user) } : { history: historyOf(opened, user) };
    const expected = listed((await opened.recommender.recommend(whom, { k: K })).items);
    const fault = (text: string): string | undefined =>
      listed((JSON.parse(text) as { items: Scored }).items) === expected ? undefined : `not the library's: ${text}`;
    asked.push({ method: "POST", path: "/v1/recommend", body: JSON.stringify({ ...whom, k: K }), fault });
  }
  return asked;
}

/**
 * Asks as fast as answers come, each connection its next request when its last is answered; once for each user before it
 * is measured.
 *
 * @throws Error for an answer that is wrong, an error, or a status other than 200
 */
export async function load(
  { url, pid }: Server,
  asked: readonly Asked[],
  { connections, seconds }: { readonly connections: number; readonly seconds: number },
): Promise<Load> {
  let [answers, fault] = [0, undefined as string | undefined];
  const requests = asked.map(({ method, path, body, fault: faultOf }) => ({
    method,
    path,
    ...(body === undefined ? {} : { body, headers: { "content-type": "application/json" } }),
    onResponse(status: number, text: string) {
      answers++;
      fault ??= status === 200 ? faultOf(text) : `status ${status}: ${text.slice(0, 200)}`;
    },
  }));
  await autocannon({ url, connections, amount: Math.max(requests.length, connections), requests });
  answers = 0;
  const latencies: number[] = [];
  const [own, busy, mine] = [processSeconds(pid), busySeconds(), process.cpuUsage()];
  const { duration, errors, timeouts } = await new Promise<autocannon.Result>((resolve, reject) => {
    const run = autocannon({ url, connections, duration: seconds, requests }, (error, result) => {
      if (error) reject(error);
      else resolve(result);
    });
    run.on("response", (_client, _status, _bytes, milliseconds) => latencies.push(milliseconds));
  });
  if (fault !== undefined || errors + timeouts > 0 || answers === 0) {
    throw new Error(`${url}: ${fault ?? `${errors} errors, ${timeouts} timeouts, ${answers} answers`}`);
  }
  const used = processSeconds(pid) - own;
  const { user, system } = process.cpuUsage(mine);
  const sorted = latencies.toSorted((a, b) => a - b);
  return {
    perSecond: latencies.length / duration,
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    answers,
    cpu: (1000 * used) / answers,
    foreign: Math.max(0, busySeconds() - busy - used - (user + system) / 1e6) / duration,
  };
}

export const resultFile = (name: string): string => join(benchmarksRoot, "results", name);
