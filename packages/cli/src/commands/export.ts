import { extname, resolve } from "node:path";
import { PrismrecError } from "@prismrec/core/errors";
import { Argument, type Command, InvalidArgumentError, Option } from "commander";
import { EXPORT_KINDS, type ExportKind } from "../export-kinds.js";
import { shortPath } from "../format.js";
import type { Io } from "../io.js";
import { positive } from "../options.js";
import { withSession } from "../session.js";

/** What the extension of `--output` says. */
const FORMATS = {
  ".jsonl": "lines",
  ".ndjson": "lines",
  ".json": "array",
  ".csv": "table",
  ".tsv": "table",
  ".parquet": "table",
  ".npy": "matrix",
} as const;
const EXTENSIONS = Object.keys(FORMATS).join(", ");

interface Target {
  readonly path: string;
  readonly format: (typeof FORMATS)[keyof typeof FORMATS];
}

/** Characters that are written at once. */
const CHUNK = 1 << 16;

export function addExport(program: Command, io: Io): void {
  program
    .command("export")
    .summary("write recommendations, interests, vectors or metrics: JSON lines, CSV, Parquet, NumPy, PostgreSQL")
    .description(
      "Writes recommendations of every user, the interests in every user's history as they were clustered, the items " +
        "with their vectors, the vectors of items and of the interests of every user in one space, or every model's " +
        "metrics for each test user: one JSON document a line, or what the name of the output file says. A table has one row " +
        "a recommendation, an interest, an item, a vector, or a test user and model; in CSV and TSV lists are JSON text. " +
        "Vectors go into a matrix (.npy, its rows told in a file .ids.jsonl beside it) or a database with pgvector as well.",
    )
    .argument("<run>", "run directory")
    .addArgument(new Argument("<what>", "what to write").choices(EXPORT_KINDS))
    .option("-k, --count <n>", "recommendations per user", positive, 10)
    .addOption(
      new Option("-o, --output <file>", `write here instead of to stdout: ${EXTENSIONS}`)
        .argParser(target)
        .conflicts("to"),
    )
    .option(
      "--to <url>",
      "put the vectors into a PostgreSQL database with pgvector: postgres://user@host/database",
      database,
    )
    .addHelpText(
      "after",
      `
Examples:
  prismrec export runs/ml recommendations -k 20 --output recommendations.parquet
  prismrec export runs/ml metrics --output per-user.parquet
  prismrec export runs/ml vectors --output vectors.npy
  prismrec export runs/ml vectors --to postgres://shop@localhost/shop
  prismrec export runs/ml items | head -1`,
    )
    .action((dir: string, what: ExportKind, options: { count: number; output?: Target; to?: string }, own: Command) =>
      withSession(io, own, async ({ read, signal, ui }) => {
        if (what !== "vectors" && (options.to !== undefined || options.output?.format === "matrix")) {
          throw new PrismrecError("INVALID_ARGUMENT", "only vectors go into a matrix or a database", {
            expected: "export RUN vectors",
            received: `export RUN ${what}`,
          });
        }
        const { writeFileAtomic } = await import("@prismrec/core/base");
        const { writeTable } = await import("@prismrec/core/data/import");
        const { openExport } = await import("../pipeline/export.js");
        await using run = await read(dir);
        if (options.to !== undefined) {
          const { exportToPostgres } = await import("../pipeline/export-postgres.js");
          const { items, interests } = await exportToPostgres(run, options.to);
          if (ui.json) ui.resultJson({ items, interests });
          else ui.info(`Wrote ${items} items and ${interests} interests.`);
          return;
        }
        const { columns, documents, rows } = await openExport(run, what, options.count);
        if (options.output === undefined) {
          for await (const text of jsonText(documents(), ui.json ? "array" : "lines")) await ui.part(text, signal);
          return;
        }
        const { format } = options.output;
        const path = resolve(io.cwd, options.output.path);
        if (format === "matrix") {
          const { exportToNpy } = await import("../pipeline/export-npy.js");
          await exportToNpy(run, path);
        } else if (format === "table") await writeTable(path, columns, rows(), { signal });
        else await writeFileAtomic(path, jsonText(documents(), format));
        if (ui.json) ui.resultJson({ output: path });
        else ui.info(`Wrote ${shortPath(path, io.cwd)}.`);
      }),
    );
}

/** Documents as text, in pieces of some size: one a line, or as one array. */
async function* jsonText(documents: AsyncIterable<unknown>, format: "lines" | "array"): AsyncGenerator<string> {
  const array = format === "array";
  let text = array ? "[" : "";
  let first = true;
  for await (const document of documents) {
    const json = JSON.stringify(document);
    text += array ? `${first ? "" : ","}\n${json}` : `${json}\n`;
    first = false;
    if (text.length < CHUNK) continue;
    yield text;
    text = "";
  }
  yield array ? `${text}\n]\n` : text;
}

function database(url: string): string {
  if (/^postgres(ql)?:\/\//.test(url) && URL.canParse(url)) return url;
  throw new InvalidArgumentError(
    "Give postgres://user:password@host:port/database; PGPASSWORD stands in for a password.",
  );
}

function target(path: string): Target {
  const extension = extname(path).toLowerCase();
  const format = Object.entries(FORMATS).find(([known]) => known === extension)?.[1];
  if (format !== undefined) return { path, format };
  throw new InvalidArgumentError(`Give a name that ends in ${EXTENSIONS}; without --output JSON lines go to stdout.`);
}
