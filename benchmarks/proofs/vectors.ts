// Proof of what the queries of docs/guides/vectors.md find in a database that `export RUN vectors --to URL` has filled: the
// mean share of prismrec's exact ten that each finds, over users of a run without a prior. Writes results/vectors.csv; exits
// with 1 where the exact scan is below .995.
// Usage: npm run proof -- vectors RUN postgres://…
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import postgres from "postgres";
import { open } from "prismrec";
import { openRun } from "prismrec/pipeline";
import { benchmarksRoot } from "../lib/paths.js";

const USERS = 500;
const K = 10;

const [dir = "", url = ""] = process.argv.slice(3);
const guide = await readFile(join(benchmarksRoot, "../docs/guides/vectors.md"), "utf8");
const [scan = "", indexed = ""] = Array.from(guide.matchAll(/^```sql\n(.*?)^```/gms), ([, query]) => query);
await using shop = await open(dir);
await using run = await openRun(dir, undefined, { readOnly: true });
const { log, catalog } = (await run.open("import")).dataset;
const users = Array.from({ length: log.userCount }, (_, user) => user).filter(
  (_, place) => place % Math.ceil(log.userCount / USERS) === 0,
);
const asked = await Promise.all(
  users.map(async (user) => ({
    id: log.userIds[user]!,
    has: Array.from(log.items.subarray(log.indptr[user], log.indptr[user + 1]), (item) => catalog.items[item]!.id),
    exact: (await shop.recommend(log.userIds[user]!, { k: K })).items.map(({ id }) => id),
  })),
);

const sql = postgres(url, { max: 1, onnotice: () => undefined });
const rows = ["query,ef_search,items,users,recall@10"];
try {
  const [{ version } = { version: "" }] =
    await sql`select extversion as version from pg_extension where extname = 'vector'`;
  process.stdout.write(`pgvector ${version}\n`);
  for (const [name, query, ef] of [
    ["scan", scan, ""],
    ["index", indexed, 40],
    ["index", indexed, 100],
    ["index", indexed, 200],
  ] as const) {
    await sql.unsafe(`set enable_seqscan = ${name === "scan" ? "on" : "off"}; set hnsw.ef_search = ${ef || 40}`);
    let sum = 0;
    for (const { id, has, exact } of asked) {
      const found = new Set((await sql.unsafe(query, [id, has])).map((row) => row.id));
      sum += exact.filter((item) => found.has(item)).length / Math.max(1, exact.length);
    }
    const recall = sum / asked.length;
    rows.push([name, ef, catalog.size, asked.length, recall.toFixed(4)].join(","));
    process.stdout.write(`${rows.at(-1)}\n`);
    if (name === "scan" && recall < 0.995) process.exitCode = 1;
  }
} finally {
  await sql.end();
}
await writeFile(join(benchmarksRoot, "results", "vectors.csv"), `${rows.join("\n")}\n`);
