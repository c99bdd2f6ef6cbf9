import { PrismrecError, yieldToEventLoop } from "@prismrec/core/base";
import { evaluationCases, ITEM_COLUMNS, itemColumn, itemColumnNames, valueAt } from "@prismrec/core/data";
import type { TableColumn, TableRow } from "@prismrec/core/data/import";
import { isMultiInterest, type MultiInterestModel, PriorModel } from "@prismrec/core/models";
import { userGroups } from "@prismrec/trainer";
import type { ExportKind } from "../export-kinds.js";
import { type RecommendationDocument, recommendationDocument } from "./recommend.js";
import type { Run } from "./run.js";
import { openServing, type Serving } from "./serving.js";
import { servedStage } from "./stages.js";

/** Users that are recommended to at once. */
const BATCH = 256;

/** What is exported, once as one JSON document a user or an item, once as the flat rows of a table. */
export interface Export {
  documents(): AsyncGenerator<unknown>;
  readonly columns: readonly TableColumn[];
  rows(): AsyncGenerator<TableRow>;
}

interface ExportSpec<Document> {
  documents(run: Run, k: number): AsyncGenerator<Document>;
  /** Some are known once the run is. */
  readonly columns: readonly TableColumn[] | ((run: Run) => Promise<readonly TableColumn[]>);
  rows(document: Document): Iterable<TableRow>;
}

export async function openExport(run: Run, what: ExportKind, k: number): Promise<Export> {
  switch (what) {
    case "recommendations":
      return exportOf(RECOMMENDATIONS, run, k);
    case "interests":
      return exportOf(INTERESTS, run, k);
    case "items":
      return exportOf(ITEMS, run, k);
    case "vectors":
      return exportOf(VECTORS, run, k);
    case "metrics":
      return exportOf(METRICS, run, k);
  }
}

async function exportOf<Document>(spec: ExportSpec<Document>, run: Run, k: number): Promise<Export> {
  const { columns } = spec;
  return {
    documents: () => spec.documents(run, k),
    columns: typeof columns === "function" ? await columns(run) : columns,
    async *rows() {
      for await (const document of spec.documents(run, k)) yield* spec.rows(document);
    },
  };
}

/** Lets signals be heard while what is at hand already is written out. */
async function breathe(count: number, signal: AbortSignal): Promise<void> {
  if (count % BATCH === 0) await yieldToEventLoop(signal);
}

const RECOMMENDATIONS: ExportSpec<RecommendationDocument> = {
  async *documents(run, k) {
    const { signal, onProgress } = run.options;
    const { log } = (await run.open("import")).dataset;
    await using serving = await openServing(run, servedStage(run.settings));
    for (let start = 0; start < log.userCount; start += BATCH) {
      const users = log.userIds.slice(start, start + BATCH);
      const found = await serving.recommender.recommendMany(
        users.map((user) => ({ user })),
        { k, signal },
      );
      for (const [i, recommendation] of found.entries()) yield recommendationDocument(users[i] ?? null, recommendation);
      onProgress({ stage: "export", done: start + users.length, total: log.userCount, unit: "users" });
      await yieldToEventLoop(signal);
    }
  },
  columns: [
    { name: "user", type: "VARCHAR" },
    { name: "rank", type: "BIGINT" },
    { name: "item", type: "VARCHAR" },
    { name: "title", type: "VARCHAR" },
    { name: "score", type: "DOUBLE" },
    { name: "interest", type: "BIGINT" },
    { name: "labels", type: "VARCHAR[]" },
    { name: "share", type: "DOUBLE" },
  ],
  *rows({ user, items, interests }) {
    const byIndex = new Map(interests.map((interest) => [interest.index, interest]));
    for (const [place, { id, title, score, interest }] of items.entries()) {
      const reason = interest === null ? undefined : byIndex.get(interest);
      const { labels = null, share = null } = reason ?? {};
      yield { user, rank: place + 1, item: id, title, score, interest, labels, share };
    }
  },
};

interface InterestsDocument {
  readonly user: string;
  readonly part: "train" | "valid" | "test";
  readonly interests: readonly { readonly label: string; readonly items: readonly string[] }[];
}

const INTERESTS: ExportSpec<InterestsDocument> = {
  async *documents(run) {
    const { log, catalog, split } = (await run.open("import")).dataset;
    const { partitions } = await (await run.open("cluster")).contents();
    if (partitions === undefined) throw new PrismrecError("RUN_INVALID", "this run has no semantic interests");
    for (const part of ["train", "valid", "test"] as const) {
      const table = partitions[part];
      for (const [row, user] of split[part].users.entries()) {
        await breathe(row, run.signal);
        const from = log.indptr[user]!;
        const clusters = table.assign.subarray(table.indptr[row], table.indptr[row + 1]);
        const interests = (table.labels[row] ?? []).map((label, cluster) => ({
          label,
          items: Array.from(clusters.keys())
            .filter((t) => clusters[t] === cluster)
            .map((t) => catalog.items[log.items[from + t]!]!.id),
        }));
        yield { user: log.userIds[user]!, part, interests };
      }
    }
  },
  columns: [
    { name: "user", type: "VARCHAR" },
    { name: "part", type: "VARCHAR" },
    { name: "interest", type: "BIGINT" },
    { name: "label", type: "VARCHAR" },
    { name: "items", type: "VARCHAR[]" },
  ],
  *rows({ user, part, interests }) {
    for (const [interest, { label, items }] of interests.entries()) yield { user, part, interest, label, items };
  },
};

interface ItemDocument {
  readonly item: string;
  readonly title: string;
  /** Absent where the model has none. */
  readonly bias?: number;
  readonly vector: readonly number[];
}

const ITEMS: ExportSpec<ItemDocument> = {
  async *documents(run) {
    const { catalog } = (await run.open("import")).dataset;
    await using serving = await openServing(run, servedStage(run.settings));
    const model = withVectors(serving);
    const { data, cols } = model.itemVectors();
    const bias = model.itemBias();
    for (let id = 1; id <= catalog.size; id++) {
      await breathe(id, run.signal);
      const { id: item, title } = catalog.items[id]!;
      const vector = Array.from(data.subarray((id - 1) * cols, id * cols));
      yield { item, title, ...(bias === undefined ? {} : { bias: bias[id - 1]! }), vector };
    }
  },
  columns: [
    { name: "item", type: "VARCHAR" },
    { name: "title", type: "VARCHAR" },
    { name: "bias", type: "FLOAT" },
    { name: "vector", type: "FLOAT[]" },
  ],
  *rows({ item, title, bias = null, vector }) {
    yield { item, title, bias, vector };
  },
};

function withVectors({ model }: Serving): MultiInterestModel {
  if (isMultiInterest(model)) return model;
  throw new PrismrecError("RUN_INVALID", `${model.name} has no item vectors`, {
    expected: "a run whose own model searches among item vectors",
    received: model.name,
  });
}

/**
 * An item or one interest of a user in one space of d + 2 numbers: the score of an item under an interest is the inner
 * product of their vectors plus the interest's `offset`. The last number gives all items one length (Bachrach et al., RecSys
 * 2014), so that the largest product is the nearest by angle too: graph indices lose items that are of different lengths.
 */
export type VectorDocument =
  | {
      readonly kind: "item";
      readonly id: string;
      readonly title: string;
      /** Every column of the items file, what is missing left out. */
      readonly attributes: Readonly<Record<string, unknown>>;
      /** 0 where the model has none. */
      readonly bias: number;
      /** [d + 2] the item's vector, its bias, and what makes it as long as every other */
      readonly vector: readonly number[];
    }
  | {
      readonly kind: "interest";
      /** The user's. */
      readonly id: string;
      readonly interest: number;
      readonly labels: readonly string[];
      readonly share: number;
      readonly offset: number;
      /** [d + 2] the interest's vector, 1 and 0 */
      readonly vector: readonly number[];
    };

/** What makes scores of products: how a user's interests are joined, and what no vector holds. */
export interface VectorReadout {
  readonly model: string;
  readonly dim: number;
  readonly readout: "max" | "log-sum-exp";
}

/** The vectors of the items and of the interests of every user, the items first. */
export async function* vectorDocuments(
  run: Run,
  onReadout?: (readout: VectorReadout) => void,
): AsyncGenerator<VectorDocument> {
  const { signal, onProgress } = run.options;
  const { catalog, log } = (await run.open("import")).dataset;
  await using serving = await openServing(run, servedStage(run.settings));
  const model = withVectors(serving);
  if (model instanceof PriorModel) {
    run.warn(
      `vectors are those of ${model.name} alone: the prior ${model.prior.name} that serving adds is not in them`,
    );
  }
  onReadout?.({ model: model.name, dim: model.dim + 2, readout: model.readout });
  const { data, cols } = model.itemVectors();
  const biases = model.itemBias();
  const squares = Float64Array.from({ length: catalog.size }, (_, place) => {
    const vector = data.subarray(place * cols, (place + 1) * cols);
    return vector.reduce((sum, x) => sum + x * x, (biases?.[place] ?? 0) ** 2);
  });
  const largest = squares.reduce((a, b) => Math.max(a, b), 0);
  const own = new Set<string>(ITEM_COLUMNS.filter((name) => name === "id" || name === "title"));
  const columns = itemColumnNames(catalog)
    .filter((name) => !own.has(name))
    .map((name) => [name, itemColumn(catalog, name)!] as const);
  for (let id = 1; id <= catalog.size; id++) {
    await breathe(id, run.signal);
    const { id: external, title } = catalog.items[id]!;
    const cells = columns.map(([name, column]) => [name, valueAt(column, id)] as const);
    const attributes = Object.fromEntries(cells.filter(([, cell]) => cell !== null));
    const bias = biases?.[id - 1] ?? 0;
    const vector = [
      ...data.subarray((id - 1) * cols, id * cols),
      bias,
      Math.fround(Math.sqrt(largest - squares[id - 1]!)),
    ];
    yield { kind: "item", id: external, title, attributes, bias, vector };
  }
  for (let start = 0; start < log.userCount; start += BATCH) {
    const users = log.userIds.slice(start, start + BATCH);
    const found = await serving.recommender.interestVectors(
      users.map((user) => ({ user })),
      { signal },
    );
    for (const [i, id] of users.entries()) {
      for (const { index: interest, labels, share, offset, vector } of found[i]!) {
        yield { kind: "interest", id, interest, labels, share, offset, vector: [...vector, 1, 0] };
      }
    }
    onProgress({ stage: "export", done: start + users.length, total: log.userCount, unit: "users" });
  }
}

const VECTORS: ExportSpec<VectorDocument> = {
  documents: (run) => vectorDocuments(run),
  columns: [
    { name: "kind", type: "VARCHAR" },
    { name: "id", type: "VARCHAR" },
    { name: "title", type: "VARCHAR" },
    { name: "attributes", type: "VARCHAR" },
    { name: "bias", type: "FLOAT" },
    { name: "interest", type: "BIGINT" },
    { name: "labels", type: "VARCHAR[]" },
    { name: "share", type: "DOUBLE" },
    { name: "offset", type: "FLOAT" },
    { name: "vector", type: "FLOAT[]" },
  ],
  *rows(document) {
    yield document.kind === "item" ? { ...document, attributes: JSON.stringify(document.attributes) } : document;
  },
};

interface MetricsDocument {
  readonly user: string;
  readonly model: string;
  /** Events of the history that the list was made for. */
  readonly historyLength: number;
  /** Distinct items outside the history that the list was judged by. */
  readonly targets: number;
  /** Those that the user counts in. */
  readonly groups: readonly string[];
  readonly metrics: Readonly<Record<string, number>>;
}

/** Every metric of every model for each test user: what means, intervals, groups and tests were made of. */
const METRICS: ExportSpec<MetricsDocument> = {
  async *documents(run) {
    const { dataset } = await run.open("import");
    const { log, split } = dataset;
    const { report, perUser } = await run.open("evaluate");
    const values = await perUser();
    const groups = userGroups(dataset, "test");
    const targets = evaluationCases(dataset, "test").map((one) => one.targets.length);
    for (const model of Object.keys(report.models)) {
      const names = Object.keys(report.models[model] ?? {});
      const columns = names.map((name) => values.get(`${model}/${name}`, Float64Array));
      for (const [row, user] of split.test.users.entries()) {
        await breathe(row, run.signal);
        yield {
          user: log.userIds[user]!,
          model,
          historyLength: split.test.historyEnds[row]!,
          targets: targets[row]!,
          groups: groups[row]!,
          metrics: Object.fromEntries(names.map((name, n) => [name, columns[n]![row]!])),
        };
      }
    }
  },
  async columns(run) {
    const { report } = await run.open("evaluate");
    return [
      { name: "user", type: "VARCHAR" },
      { name: "model", type: "VARCHAR" },
      { name: "historyLength", type: "BIGINT" },
      { name: "targets", type: "BIGINT" },
      { name: "groups", type: "VARCHAR[]" },
      ...Object.keys(report.models[report.own] ?? {}).map((name) => ({ name, type: "DOUBLE" as const })),
    ];
  },
  *rows({ metrics, ...of }) {
    yield { ...of, ...metrics };
  },
};
