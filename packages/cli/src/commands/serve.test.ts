import { type ChildProcess, spawn } from "node:child_process";
import { appendFile, cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { rulesSchema } from "@prismrec/core/recommend";
import { variantsSchema } from "@prismrec/service";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { fit, open, type Recommender } from "../api/index.js";
import type { LogReport } from "../pipeline/judge-log.js";
import { smallRows } from "../testing/small-data.js";
import { buildPackages, repositoryRoot, spawnPrismrec } from "../testing/spawn.js";

const LIMIT = 240_000;

let folder: string;
let library: Recommender;
const inside = (...parts: string[]): string => join(folder, ...parts);
const running: ChildProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-serve-"));
  await buildPackages();
  const settings = { clusterer: "category", train: { stopping: { epochs: 2 } } };
  for (const [name, seed] of [
    ["run", 1],
    ["other", 2],
  ] as const) {
    await (await fit(smallRows(), { dir: inside(name), seed, llm: "none", settings })).close();
  }
  library = await open(inside("run"));
}, LIMIT);
afterAll(async () => {
  await library?.close();
  await rm(folder, { recursive: true, force: true });
});
afterEach(() => {
  for (const child of running.splice(0)) child.kill("SIGKILL");
});

interface Serving {
  readonly child: ChildProcess;
  readonly url: string;
  readonly hash: string;
  stderr(): string;
  /** Sends a signal, and gives the exit code. */
  end(signal: NodeJS.Signals): Promise<number | null>;
}

/**
 * `prismrec serve` in a process of its own, once it has said where it listens.
 *
 * @param fileKiB the largest file that it may write
 */
function serve(
  args: readonly string[],
  { env = {}, fileKiB }: { readonly env?: Readonly<Record<string, string>>; readonly fileKiB?: number } = {},
): Promise<Serving> {
  const program = join(repositoryRoot, "packages/cli/bin/prismrec.js");
  const limit = `ulimit -f ${fileKiB ?? "unlimited"}; exec "$0" "$@"`;
  const command = [process.execPath, program, "serve", ...args, "--port", "0", "--json"];
  const child = spawn("bash", ["-c", limit, ...command], {
    env: { ...process.env, PRISMREC_THREADS: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.push(child);
  let [stdout, stderr] = ["", ""];
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  return new Promise((resolve, reject) => {
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      if (!stdout.includes("\n")) return;
      const { url, hash } = JSON.parse(stdout);
      const end = (signal: NodeJS.Signals): Promise<number | null> => {
        child.kill(signal);
        return exited;
      };
      resolve({ child, url, hash, stderr: () => stderr, end });
    });
    exited.then((code) => reject(new Error(`serve ended with ${code}: ${stderr}`)));
  });
}

/** What the verbs asked here may answer. */
interface Answer {
  readonly requestId: string;
  readonly model?: { readonly hash: string };
  readonly variant?: { readonly name: string } | null;
  readonly items: readonly {
    readonly id: string;
    readonly score: number;
    readonly because: { readonly interest: number | null };
    readonly prior: number | null;
  }[];
  readonly results: readonly unknown[];
}

async function post(serving: Serving, path: string, body: unknown) {
  const response = await fetch(`${serving.url}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as Answer };
}
const listed = ({ items }: { readonly items: readonly { readonly id: string; readonly score: number }[] }) =>
  items.map(({ id, score }) => [id, score]);
const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
};

describe("prismrec serve", () => {
  it(
    "gives the library's answers, and keeps an acknowledged event through kill -9",
    async () => {
      const serving = await serve([inside("run"), "--log", inside("shown.jsonl")]);
      expect(serving.hash).toBe(library.hash);
      const options = { k: 6, filter: { inStock: true }, interests: { boost: [{ interest: "group 1", factor: 3 }] } };
      const expected = await library.recommend("u7", { k: 6, filter: { inStock: true } });
      const { status, body } = await post(serving, "/v1/recommend", { user: "u7", k: 6, filter: { inStock: true } });
      expect(status).toBe(200);
      expect(listed(body)).toEqual(listed(expected));
      expect(body.items.map(({ because }) => because.interest)).toEqual(expected.items.map(({ interest }) => interest));
      expect(body.items.map(({ prior }) => prior)).toEqual(expected.items.map(({ prior = null }) => prior));
      const boosted = await post(serving, "/v1/recommend", { user: "u7", ...options });
      expect(listed(boosted.body)).toEqual(listed(await library.recommend("u7", options)));
      expect((await post(serving, "/v1/similar", { item: "i1", k: 3 })).body.items).toEqual(
        await library.similarItems("i1", { k: 3 }),
      );
      expect(await (await fetch(`${serving.url}/v1/items/i1`)).json()).toEqual(library.item("i1"));
      expect([library.hasItem("i1"), library.hasItem("gone"), library.knowsUser("u7"), library.knowsUser("x")]).toEqual(
        [...[true, false, true, false]],
      );

      const item = body.items[0]!.id;
      const event = { id: "e1", user: "u7", item, event: "buy" };
      const { body: acknowledged } = await post(serving, "/v1/events", { events: [event] });
      expect(acknowledged).toMatchObject({ accepted: 1, rejected: [] });
      expect(await serving.end("SIGKILL")).toBeNull();

      const again = await serve([inside("run")]);
      const { body: after } = await post(again, "/v1/recommend", { user: "u7", k: 6, filter: { inStock: true } });
      const since = await library.recommend({ user: "u7", since: [{ item }] }, { k: 6, filter: { inStock: true } });
      expect(listed(after)).toEqual(listed(since));
      expect(listed(after).map(([id]) => id)).not.toContain(item);
      expect((await post(again, "/v1/events", { events: [event] })).body).toMatchObject({ accepted: 0, repeated: 1 });
      const lines = (await readFile(inside("shown.jsonl"), "utf8")).trim().split("\n");
      expect(lines.map((line) => JSON.parse(line).requestId)).toEqual([body.requestId, boosted.body.requestId]);
      // The journal is one process's.
      const second = await spawnPrismrec(["serve", inside("run"), "--port", "0"]);
      expect(second.code).toBe(3);
      expect(second.stderr).toContain("RUN_LOCKED");
      expect(await again.end("SIGTERM")).toBe(0);
    },
    LIMIT,
  );

  it(
    "keeps each acknowledged event and none else where the disk takes no more",
    async () => {
      const path = inside("full.jsonl");
      const serving = await serve([inside("run"), "--events", path], { fileKiB: 2 });
      const statuses: number[] = [];
      for (let n = 0; n < 40; n++) {
        const events = [{ id: `e${n}`, user: `u${n}`, item: "i1", event: "a".repeat(60) }];
        statuses.push((await post(serving, "/v1/events", { events })).status);
      }
      const kept = statuses.flatMap((status, n) => (status === 200 ? [`e${n}`] : []));
      expect(new Set(statuses)).toEqual(new Set([200, 500]));
      expect(kept.length).toBeGreaterThan(5);
      expect(serving.stderr()).toContain("full.jsonl");
      expect((await post(serving, "/v1/recommend", { user: "u1", k: 3 })).status).toBe(200);
      await serving.end("SIGKILL");
      const lines = (await readFile(path, "utf8")).split("\n");
      expect(lines.map((line) => line && JSON.parse(line).id)).toEqual([...kept, ""]);
    },
    LIMIT,
  );

  it(
    "swaps the model at SIGHUP under requests, none of which fails, and keeps the old one where that fails",
    async () => {
      await cp(inside("run"), inside("swapped"), { recursive: true });
      const serving = await serve([inside("swapped"), "--no-events", "--rate", "0"]);
      const hashes: string[] = [];
      const statuses = new Set<number>();
      let asking = true;
      const clients = Array.from({ length: 4 }, async (_, client) => {
        while (asking) {
          const { status, body } = await post(serving, "/v1/recommend", { user: `u${client}`, k: 5 });
          statuses.add(status);
          hashes.push(body.model?.hash ?? "none");
        }
      });
      await until(() => hashes.length > 20);
      await rename(inside("swapped"), inside("before"));
      await cp(inside("other"), inside("swapped"), { recursive: true });
      serving.child.kill("SIGHUP");
      await until(() => serving.stderr().includes("from now on"));
      const swapped = hashes.length;
      await until(() => hashes.length > swapped + 20);
      await using other = await open(inside("other"));
      expect(new Set(hashes)).toEqual(new Set([library.hash, other.hash]));
      expect(new Set(hashes.slice(swapped + 4))).toEqual(new Set([other.hash]));

      await writeFile(inside("swapped", "index", "manifest.json"), "{");
      await writeFile(inside("swapped", "import", "manifest.json"), "{");
      serving.child.kill("SIGHUP");
      await until(() => serving.stderr().includes("goes on being served"));
      const failed = hashes.length;
      await until(() => hashes.length > failed + 20);
      asking = false;
      await Promise.all(clients);
      expect([...statuses]).toEqual([200]);
      expect(hashes.at(-1)).toBe(other.hash);
      expect(await serving.end("SIGINT")).toBe(0);
    },
    LIMIT,
  );

  it(
    "follows rules as the library does, reads them again at SIGHUP, and keeps the old ones where the new cannot be",
    async () => {
      const path = inside("rules.json");
      const raw = {
        pin: [{ item: "i40", position: 2, name: "launch" }],
        bury: [{ where: { inStock: false } }],
        limit: [{ column: "categories", most: 1, within: 2 }],
      };
      await writeFile(path, JSON.stringify(raw));
      const serving = await serve([inside("run"), "--no-events", "--rules", path]);
      const asked = { k: 8, diversity: 0.3 };
      const expected = await library.recommend("u7", { ...asked, rules: library.rules(raw) });
      const { body } = await post(serving, "/v1/recommend", { user: "u7", ...asked });
      expect(listed(body)).toEqual(listed(expected));
      expect(body.items[1]).toMatchObject({ id: "i40", pinned: true });
      expect(listed(body)).not.toEqual(listed(await library.recommend("u7", { k: 8 })));
      const { stdout } = await spawnPrismrec([
        ...["recommend", inside("run"), "-u", "u7", "-k", "8", "--diversity", "0.3", "--rules", path, "--json"],
      ]);
      const printed = JSON.parse(stdout);
      expect(listed(printed).map(([id]) => id)).toEqual(listed(expected).map(([id]) => id));
      expect(printed).toMatchObject({ exact: false, rules: expected.rules });

      const first = async () => (await post(serving, "/v1/recommend", { user: "u7", k: 2 })).body.items[0]!.id;
      await writeFile(path, JSON.stringify({ pin: [{ item: "i41", position: 1 }] }));
      serving.child.kill("SIGHUP");
      await until(() => serving.stderr().includes("from now on"));
      expect(await first()).toBe("i41");
      await writeFile(path, JSON.stringify({ pin: [{ item: "gone", position: 1 }] }));
      serving.child.kill("SIGHUP");
      await until(() => serving.stderr().includes("goes on being served"));
      expect(serving.stderr()).toContain("rules.json, #/pin/0/item: the catalog has no item gone");
      expect(await first()).toBe("i41");
      expect(await serving.end("SIGTERM")).toBe(0);

      const refused = await spawnPrismrec(["serve", inside("run"), "--no-events", "--port", "0", "--rules", path]);
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("#/pin/0/item")]);
      const both = await spawnPrismrec(["serve", inside("run"), "--rules", path, "--variants", path]);
      expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("do not go together")]);
    },
    LIMIT,
  );

  it(
    "splits users among runs and rules, the same over restarts, and evaluate --log judges what came of it",
    async () => {
      const [path, shown, journal] = [inside("experiment.json"), inside("split.jsonl"), inside("split-events.jsonl")];
      await writeFile(inside("pin.json"), JSON.stringify({ pin: [{ item: "i44", position: 1 }] }));
      const variants = [
        { name: "control", share: 0.4 },
        { name: "other", share: 0.3, run: "other" },
        { name: "pinned", share: 0.3, rules: "pin.json" },
      ];
      await writeFile(path, JSON.stringify({ salt: "spring", variants }));
      const args = [inside("run"), "--variants", path, "--log", shown, "--events", journal, "--rate", "0"];
      const users = Array.from({ length: 40 }, (_, n) => `u${n}`);
      const ask = async (serving: Serving) => {
        const answers: Answer[] = [];
        for (const user of users) answers.push((await post(serving, "/v1/recommend", { user, k: 3 })).body);
        return answers;
      };
      const serving = await serve(args);
      const answers = await ask(serving);
      const given = answers.map(({ variant }) => variant?.name);
      expect(new Set(given)).toEqual(new Set(["control", "other", "pinned"]));
      await using other = await open(inside("other"));
      for (const [n, { variant, model, items }] of answers.entries()) {
        expect(model?.hash).toBe(variant?.name === "other" ? other.hash : library.hash);
        const options = {
          k: 3,
          ...(variant?.name === "pinned" ? { rules: library.rules({ pin: [{ item: "i44", position: 1 }] }) } : {}),
        };
        const own = variant?.name === "other" ? other : library;
        expect(listed({ items })).toEqual(listed(await own.recommend(users[n]!, options)));
      }
      // Users of one variant take the first item they were shown, and others an item that they were not.
      const events = answers.map(({ variant, items }, n) => ({
        id: `e${n}`,
        user: users[n]!,
        item: variant?.name === "other" ? items[0]!.id : "i0",
      }));
      expect((await post(serving, "/v1/events", { events })).body).toMatchObject({ accepted: 40 });
      expect(await serving.end("SIGTERM")).toBe(0);
      const again = await serve([...args.slice(0, 3), "--no-events"]);
      expect((await ask(again)).map(({ variant }) => variant?.name)).toEqual(given);
      expect(await again.end("SIGTERM")).toBe(0);

      await appendFile(shown, '{"torn');
      const judged = await spawnPrismrec(["evaluate", inside("run"), "--log", shown, "--events", journal, "--json"]);
      expect(judged.code, judged.stderr).toBe(0);
      const report = JSON.parse(judged.stdout) as LogReport;
      expect(report.lists).toBe(40);
      for (const [name, { lists, metrics, exposure }] of Object.entries(report.variants)) {
        expect(lists).toBe(given.filter((own) => own === name).length);
        expect(metrics["hit-rate"]!.mean > 0.5).toBe(name === "other");
        expect(exposure.coverage).toBeGreaterThan(0);
      }
      const apart = report.differences.find(({ a, b }) => a === "other" && b === "control");
      expect(apart!.metrics["hit-rate"]!.low).toBeGreaterThan(0);
      expect(report.notes[0]).toContain("6 bytes at the end");
      const table = await spawnPrismrec([
        "evaluate",
        inside("run"),
        "--log",
        shown,
        "--events",
        journal,
        "--within",
        "1h",
      ]);
      expect(table.stdout).toMatch(/control[\s\S]*other[\s\S]*pinned[\s\S]*other less control, hit-rate/);
      expect(table.stderr).toContain("6 bytes at the end");
      const alone = await spawnPrismrec(["evaluate", inside("run"), "--within", "1h"]);
      expect([alone.code, alone.stderr]).toEqual([2, expect.stringContaining("--within goes with --log")]);
    },
    LIMIT,
  );

  it(
    "ends what is under way at SIGTERM, takes no more, and is gone",
    async () => {
      const serving = await serve([inside("run"), "--no-events", "--concurrency", "1", "--timeout", "120000"]);
      const requests = Array.from({ length: 64 }, (_, n) => ({ user: `u${n}`, k: 20 }));
      const underWay = Array.from({ length: 6 }, () => post(serving, "/v1/recommend/batch", { requests }));
      // One is worked on and five wait: all of them have arrived.
      const metrics = async () => (await fetch(`${serving.url}/metrics`)).text();
      while (!(await metrics()).includes("prismrec_requests_waiting 5"));
      const code = serving.end("SIGTERM");
      const answers = await Promise.all(underWay);
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200]);
      expect(answers[5]!.body.results).toHaveLength(64);
      expect(await code).toBe(0);
      await expect(fetch(`${serving.url}/health/live`)).rejects.toThrow();
    },
    LIMIT,
  );

  it(
    "takes its key from a file or the environment and never says it",
    async () => {
      await writeFile(inside("key"), "  open-sesame\n");
      const serving = await serve([inside("run"), "--no-events", "--api-key-file", inside("key")], {
        env: { PRISMREC_API_KEY: "another" },
      });
      const ask = (key: string) => fetch(`${serving.url}/v1/items/i1`, { headers: { authorization: `Bearer ${key}` } });
      expect([(await ask("another")).status, (await ask("open-sesame")).status]).toEqual([401, 200]);
      expect(await serving.end("SIGTERM")).toBe(0);
      expect(serving.stderr()).not.toContain("sesame");
      await writeFile(inside("empty"), "\n");
      const refused = await spawnPrismrec(["serve", inside("run"), "--api-key-file", inside("empty")]);
      expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining("CONFIG_INVALID")]);
    },
    LIMIT,
  );

  it(
    "prints where it listens, with a request that works as it stands",
    async () => {
      const program = join(repositoryRoot, "packages/cli/bin/prismrec.js");
      const child = spawn(process.execPath, [program, "serve", inside("run"), "--no-events", "--port", "0"], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      running.push(child);
      let stdout = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
      });
      await until(() => stdout.includes("openapi.json"));
      const [, url = "", body = ""] = /curl (\S+) -H 'content-type: application\/json' -d '(.*)'/.exec(stdout) ?? [];
      const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
      expect(((await response.json()) as Answer).items).toHaveLength(5);
    },
    LIMIT,
  );

  it(
    "does what every request of the guide asks, as it stands there",
    async () => {
      const guide = await readFile(join(repositoryRoot, "docs/guides/serving.md"), "utf8");
      const requests = Array.from(
        guide
          .replaceAll(/\\\n\s*/g, "")
          .matchAll(/^curl -s localhost:8080(\S+)(?: -H '([^']*)')?(?: *-d '([^']*)')?$/gm),
      );
      expect(requests.length).toBe(guide.match(/^curl /gm)?.length);
      const documents = Array.from(guide.matchAll(/```json\n([\s\S]*?)```/g), ([, text = ""]) => JSON.parse(text));
      expect(documents.map((document) => "variants" in document)).toEqual([false, true]);
      expect([rulesSchema, variantsSchema].map((schema, n) => schema.safeParse(documents[n]).error)).toEqual([
        undefined,
        undefined,
      ]);
      const serving = await serve([inside("run"), "--events", inside("guide.jsonl")]);
      const statuses: Record<string, number> = {};
      for (const [, path = "", header, body] of requests) {
        const response = await fetch(`${serving.url}${path}`, {
          ...(body === undefined ? {} : { method: "POST", body }),
          ...(header === undefined ? {} : { headers: { "content-type": header.split(": ")[1] ?? "" } }),
        });
        const answer = JSON.stringify(await response.json());
        statuses[`${path} ${body ?? ""}`] = response.status;
        if (response.status !== 200) expect(answer).toContain("#/k");
        expect(answer).not.toMatch(/"fallback":\{|"rejected":\[\{|"status":4\d\d,"problem/);
      }
      expect(Object.values(statuses).filter((status) => status === 400)).toHaveLength(1);
      expect(Object.values(statuses).filter((status) => status === 200)).toHaveLength(requests.length - 1);
      expect(await serving.end("SIGTERM")).toBe(0);
    },
    LIMIT,
  );

  it("says what is wrong before it listens", async () => {
    const [nowhere, taken, port] = await Promise.all([
      spawnPrismrec(["serve", inside("nowhere"), "--port", "0"]),
      serve([inside("run"), "--no-events"]).then((serving) =>
        spawnPrismrec(["serve", inside("run"), "--no-events", "--port", new URL(serving.url).port]),
      ),
      spawnPrismrec(["serve", inside("run"), "--port", "70000"]),
    ]);
    expect([nowhere.code, nowhere.stderr]).toEqual([3, expect.stringContaining("FILE_NOT_FOUND")]);
    expect([taken.code, taken.stderr]).toEqual([4, expect.stringContaining("give another --port")]);
    expect([port.code, port.stderr]).toEqual([2, expect.stringContaining("from 0 to 65535")]);
  });
});
