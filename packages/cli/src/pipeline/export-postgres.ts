import { once } from "node:events";
import type { Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { PrismrecError } from "@prismrec/core/base";
import postgres from "postgres";
import { type VectorReadout, vectorDocuments } from "./export.js";
import type { Run } from "./run.js";

/** Said of our tables, which alone are replaced. */
const MARK = "prismrec export";
/** Most numbers that an HNSW index of pgvector takes. */
const MOST_INDEXED = 2000;

/** Columns in the order of the rows that are copied in. */
const TABLES = {
  prismrec_items: (dim: number) =>
    `id text primary key, title text not null, attributes jsonb not null, bias real not null, embedding vector(${dim}) not null`,
  prismrec_interests: (dim: number) =>
    `user_id text not null, interest integer not null, labels jsonb not null, share double precision not null, ` +
    `log_prior real not null, embedding vector(${dim}) not null, primary key (user_id, interest)`,
} as const;
type TableName = keyof typeof TABLES;

/**
 * Puts a run's vectors into the tables `prismrec_items` and `prismrec_interests` of a database with pgvector, with an HNSW
 * index over the items. One transaction: readers see the tables of before or the new ones, whole, and wait only
 * for the moment in which they change places.
 *
 * @param url postgres://user:password@host:port/database; PGPASSWORD and the like stand in for what it leaves out
 * @throws PrismrecError IO for a database that cannot be reached or refuses (nothing has changed then), INVALID_ARGUMENT
 *   for tables of these names that are not ours, RUN_INVALID for a run without vectors; an aborted signal rejects with its
 *   reason
 */
export async function exportToPostgres(run: Run, url: string): Promise<{ items: number; interests: number }> {
  const { signal } = run.options;
  const sql = postgres(url, { max: 1, onnotice: () => undefined, connect_timeout: 10, fetch_types: false });
  try {
    return await sql.begin((transaction) => load(transaction, run));
  } catch (error) {
    signal?.throwIfAborted();
    throw error instanceof PrismrecError ? error : databaseError(error, url);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

async function load(sql: postgres.TransactionSql, run: Run): Promise<{ items: number; interests: number }> {
  await sql`create extension if not exists vector`;
  for (const table of Object.keys(TABLES)) await requireOurs(sql, table);
  let of: VectorReadout | undefined;
  const counts = { items: 0, interests: 0 };
  let open: { readonly table: TableName; readonly stream: Writable } | undefined;
  /** The stream into a table; the one before is ended, for a connection copies into one at a time. */
  const into = async (table: TableName): Promise<Writable> => {
    if (open?.table === table) return open.stream;
    await end();
    await sql.unsafe(`drop table if exists ${table}_new; create table ${table}_new (${TABLES[table](of!.dim)})`);
    const stream = await sql.unsafe(`copy ${table}_new from stdin`).writable();
    open = { table, stream };
    return stream;
  };
  const end = async (): Promise<void> => {
    if (open === undefined) return;
    open.stream.end();
    await finished(open.stream);
    open = undefined;
  };
  const documents = vectorDocuments(run, (readout) => {
    of = readout;
  });
  for await (const document of documents) {
    const embedding = JSON.stringify(document.vector);
    if (document.kind === "item") {
      const { id, title, attributes, bias } = document;
      await write(await into("prismrec_items"), [id, title, JSON.stringify(attributes), String(bias), embedding]);
      counts.items++;
    } else {
      const { id, interest, labels, share, offset } = document;
      const cells = [id, String(interest), JSON.stringify(labels), String(share), String(offset), embedding];
      await write(await into("prismrec_interests"), cells);
      counts.interests++;
    }
  }
  // A run has items always; where nobody has an interest, the second table is empty and there all the same.
  if (counts.interests === 0) await into("prismrec_interests");
  await end();
  if (of!.dim <= MOST_INDEXED) {
    await sql.unsafe("create index on prismrec_items_new using hnsw (embedding vector_cosine_ops)");
  } else
    run.warn(`the items have no index: pgvector indexes up to ${MOST_INDEXED} numbers, these vectors have ${of!.dim}`);
  for (const table of Object.keys(TABLES)) {
    await sql.unsafe(
      `drop table if exists ${table}; alter table ${table}_new rename to ${table}; ` +
        `comment on table ${table} is '${MARK}: ${of!.readout} of ${of!.model}'; analyze ${table}`,
    );
  }
  return counts;
}

async function requireOurs(sql: postgres.TransactionSql, table: string): Promise<void> {
  for (const name of [table, `${table}_new`]) {
    const [found] =
      await sql`select obj_description(to_regclass(${name})) as mark, to_regclass(${name}) is not null as there`;
    if (found?.there !== true || String(found.mark).startsWith(MARK)) continue;
    throw new PrismrecError("INVALID_ARGUMENT", `the database has a table ${name} that prismrec did not make`, {
      expected: `a database without it, or a table whose comment begins with "${MARK}"`,
      received: found.mark === null ? "a table without a comment" : String(found.mark),
      hint: "Rename the table, or export into another schema: postgres://…/database?search_path=recommendations",
    });
  }
}

/** One row in the text format of COPY. */
async function write(stream: Writable, cells: readonly string[]): Promise<void> {
  const escaped = cells.map((cell) => cell.replace(/[\\\n\r\t]/g, (found) => ESCAPES[found]!));
  if (stream.errored !== null) throw stream.errored;
  if (!stream.write(`${escaped.join("\t")}\n`)) await once(stream, "drain");
}

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Never with the URL, in which a password may stand. */
function databaseError(error: unknown, url: string): PrismrecError {
  const message = error instanceof Error ? error.message : String(error);
  const { host, pathname } = new URL(url);
  const noVector = /extension "vector"/.test(message);
  return new PrismrecError("IO", `the database ${host}${pathname} did not take the vectors`, {
    expected: "PostgreSQL with the extension pgvector, and the right to make tables",
    received: message,
    hint: noVector
      ? "Install pgvector on the server, or have an administrator run: create extension vector"
      : "Check the address, the user and the password (PGPASSWORD); nothing has been changed.",
    cause: error,
  });
}
