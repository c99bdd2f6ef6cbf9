import { resolve } from "node:path";
import { PrismrecError, writeFileAtomic } from "@prismrec/core";
import { Argument, type Command, InvalidArgumentError } from "commander";
import type { Io } from "../io.js";
import { openCluster } from "../pipeline/cluster.js";
import { openImport } from "../pipeline/import.js";
import { openServing } from "../pipeline/index-stage.js";
import type { Pipeline } from "../pipeline/pipeline.js";
import { recommendationDocument } from "../pipeline/recommend.js";
import { withSession } from "../session.js";

const KINDS = ["recommendations", "interests", "items"] as const;
type Kind = (typeof KINDS)[number];

/** Users that are recommended to at once. */
const BATCH = 256;

export function addExport(program: Command, io: Io): void {
  program
    .command("export")
    .summary("write recommendations, interests or item vectors as JSON lines")
    .description(
      "Writes one JSON document a line: recommendations of every user, the interests in every user's history as they " +
        "were clustered, or the items with their vectors.",
    )
    .argument("<run>", "run directory")
    .addArgument(new Argument("<what>", "what to write").choices(KINDS))
    .option("-k, --count <n>", "recommendations per user", positive, 10)
    .option("-o, --output <file>", "write here instead of to stdout")
    .addHelpText("after", "\nExample:\n  prismrec export runs/ml recommendations -k 20 --output recommendations.jsonl")
    .action((dir: string, what: Kind, options: { count: number; output?: string }, own: Command) =>
      withSession(io, own, async (session) => {
        await using pipeline = await session.read(dir);
        const lines = jsonLines(pipeline, what, options.count);
        if (options.output === undefined) for await (const line of lines) session.ui.result(line);
        else await writeFileAtomic(resolve(io.cwd, options.output), withNewlines(lines));
      }),
    );
}

async function* jsonLines(pipeline: Pipeline, what: Kind, k: number): AsyncGenerator<string> {
  const imported = await openImport(pipeline);
  const { log, catalog, split } = imported.dataset;
  const { signal, ui } = pipeline;
  switch (what) {
    case "recommendations": {
      await using serving = await openServing(pipeline, imported);
      for (let start = 0; start < log.userCount; start += BATCH) {
        const users = log.userIds.slice(start, start + BATCH);
        const found = await serving.recommender.recommendMany(
          users.map((user) => ({ user })),
          { k, signal },
        );
        for (const [i, recommendation] of found.entries()) {
          yield JSON.stringify(recommendationDocument(users[i] ?? null, recommendation));
        }
        ui.progress({ stage: "export", done: start + users.length, total: log.userCount, unit: "users" });
      }
      return;
    }
    case "interests": {
      const { partitions } = await openCluster(pipeline);
      if (partitions === undefined) throw new PrismrecError("RUN_INVALID", "this run has no semantic interests");
      for (const part of ["train", "valid", "test"] as const) {
        const table = partitions[part];
        for (const [row, user] of split[part].users.entries()) {
          const from = log.indptr[user]!;
          const clusters = table.assign.subarray(table.indptr[row], table.indptr[row + 1]);
          const interests = (table.labels[row] ?? []).map((label, cluster) => ({
            label,
            items: Array.from(clusters.keys())
              .filter((t) => clusters[t] === cluster)
              .map((t) => catalog.items[log.items[from + t]!]!.id),
          }));
          yield JSON.stringify({ user: log.userIds[user], part, interests });
        }
      }
      return;
    }
    case "items": {
      await using serving = await openServing(pipeline, imported);
      const { data, cols } = serving.model.itemVectors();
      const bias = serving.model.itemBias();
      for (let id = 1; id <= catalog.size; id++) {
        const { id: item, title } = catalog.items[id]!;
        const vector = Array.from(data.subarray((id - 1) * cols, id * cols));
        yield JSON.stringify({ item, title, ...(bias === undefined ? {} : { bias: bias[id - 1] }), vector });
      }
    }
  }
}

async function* withNewlines(lines: AsyncIterable<string>): AsyncGenerator<string> {
  for await (const line of lines) yield `${line}\n`;
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("Give a whole number from 1 on.");
  return number;
}
