import { PrismrecError } from "@prismrec/core";
import type { ExportKind } from "../export-kinds.js";
import { openCluster } from "./cluster.js";
import { openImport } from "./import.js";
import { openServing } from "./index-stage.js";
import type { Pipeline } from "./pipeline.js";
import { recommendationDocument } from "./recommend.js";

/** Users that are recommended to at once. */
const BATCH = 256;

/** One JSON document a line. */
export async function* exportLines(pipeline: Pipeline, what: ExportKind, k: number): AsyncGenerator<string> {
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
      const { partitions } = await openCluster(pipeline, imported);
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
