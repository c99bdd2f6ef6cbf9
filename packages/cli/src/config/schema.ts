import { z } from "zod";
import { DEFAULT_BASELINES, DEFAULT_MODEL, MODEL_NAMES, PRIOR_NAMES } from "../pipeline/models.js";

const text = z.string().min(1);
const share = z.number().gt(0).lt(1);
/** One file, or several in the order in which they came. */
const files = z.union([text, z.array(text).min(1)]);

export const CLUSTERER_NAMES = [
  "facets",
  "kinds",
  "partition",
  "embedding",
  "title-words",
  "category",
  "year",
  "recorded-kinds",
  "shuffled",
  "random",
] as const;

/** What items are; worked examples of them are shown to a language model. */
export const DOMAIN_NAMES = ["films", "games", "products", "music", "papers", "general"] as const;

const CLUSTERERS_HINT = `must be one of ${CLUSTERER_NAMES.join(", ")}, or several joined as in kinds+title-words`;

/** Several clusterers that look at each item, and shuffled ones: what each is called is checked where it is known. */
const joins = z.string().regex(/^(?=.*[+:])(shuffled:)?[a-z-]+(\+(shuffled:)?[a-z-]+)*$/, CLUSTERERS_HINT);

/** As the language model: the run goes without one. */
export const NO_LLM = "none";

/** How a language model is named that is not a file's path (`isModelAddress` of @prismrec/llm, which is not loaded for help). */
export const MODEL_ADDRESS = /^(?:https?:\/\/|node-llama-cpp:)/;

/** Every setting of a run. The one source of defaults, of `prismrec.config.schema.json` and of error messages. */
export const settingsSchema = z.strictObject({
  $schema: text.optional().describe("where editors find this schema"),
  interactions: files.optional().describe("CSV, TSV, JSONL or Parquet with one event a row; several files are one log"),
  items: files.optional().describe("CSV, TSV, JSONL or Parquet with one item a row: id, title, categories"),
  users: files.optional().describe("CSV, TSV, JSONL or Parquet with one user a row: id and whatever is known of users"),
  splitFile: text.optional().describe("table with the columns user and part (train, valid, test)"),
  truth: text.optional().describe("table with the columns item and interest: interest recovery is measured against it"),
  out: text.optional().describe("run directory"),
  model: z.enum(MODEL_NAMES).default(DEFAULT_MODEL).describe("the run's own model: it is trained, judged and served"),
  llm: text
    .optional()
    .describe(
      "the language model: a GGUF file, or http://HOST/v1#MODEL of a server that speaks OpenAI's interface; none: go without",
    ),
  embedder: text
    .optional()
    .describe(
      "an embedding model, a GGUF file or a server's as llm: embedding reads titles with it, kinds are compared by its vectors",
    ),
  kinds: text.optional().describe("table with the columns id and kind: what recorded-kinds goes by"),
  fetchModel: z.boolean().default(true).describe("get the small default model once where no model is found"),
  llmCache: text.optional().describe("folder of the language model's answers (default: inside the run directory)"),
  llmServer: z
    .strictObject({
      concurrency: z.int().min(1).max(1024).optional().describe("requests under way at once (default: 8)"),
      requestsPerMinute: z.int().min(1).optional().describe("requests begun in any minute (default: no limit)"),
      timeoutSeconds: z.number().positive().optional().describe("seconds that one attempt may take (default: 120)"),
      retries: z.int().min(0).optional().describe("further attempts after one that failed for the moment (default: 5)"),
    })
    .prefault({})
    .describe("how a language model's server is asked; its key is PRISMREC_LLM_KEY of the environment, and no setting"),
  seed: z.int().min(0).default(1).describe("seed of everything that is drawn, but for the split"),
  threads: z.int().min(1).max(1024).optional().describe("threads in all (default: what the machine grants)"),
  device: z
    .enum(["cpu", "cuda", "auto"])
    .optional()
    .describe(
      "where the losses of trained models and exact search run: cpu (default), cuda (a GPU; an error where none can be used), auto (a GPU where there is one)",
    ),
  columns: z
    .strictObject({
      user: text.optional(),
      item: text.optional(),
      timestamp: text.optional().describe("none: no times; a date and a time of day in two columns: date,time"),
      rating: text.optional().describe("read where minRating is set; none: there is none"),
      event: text.optional().describe("kind of event, read where events is set; none: there is none"),
      behaviour: text.optional().describe("kind of event, kept beside each event; none: there is none"),
      weight: text.optional().describe("rating or quantity, kept beside each event; none: there is none"),
      userId: text.optional().describe("id column of the users file"),
      itemId: text.optional().describe("id column of the items file"),
      title: text.optional(),
      categories: text.optional(),
      year: text.optional(),
    })
    .prefault({})
    .describe("names of columns; those left out are found by their usual names"),
  categorySeparator: text.default("|").describe("between the categories of one item"),
  minRating: z.number().optional().describe("rows rated lower are left out; ratings mean nothing else"),
  events: z
    .array(z.string().regex(/^[^=]+(=\d+(\.\d+)?)?$/, "must be a name, or a name and a weight as in buy=5"))
    .min(1)
    .optional()
    .describe('kinds of events that count, e.g. ["view", "buy=5"]; weights are kept in the report (default: all)'),
  since: text.optional().describe("events before this date or time, as the log may have it, are left out"),
  until: text.optional().describe("events from this date or time on are left out"),
  repeats: z
    .enum(["earliest", "keep"])
    .default("earliest")
    .describe("of a repeated user and item: the earliest event, or all of them"),
  order: z
    .enum(["random", "file"])
    .optional()
    .describe("of a user's events where there are no times: drawn from split.seed, or the file's (default: random)"),
  ties: z.enum(["file", "random"]).default("file").describe("order of a user's events of one time"),
  dateOrder: z
    .enum(["day-first", "month-first"])
    .optional()
    .describe("how dates such as 01/02/2019 are read (default: as the column shows)"),
  core: z
    .strictObject({
      mode: z.enum(["iterative_kcore", "single_pass", "none"]).default("iterative_kcore"),
      minimum: z.int().min(1).default(5).describe("fewest events of a user and of an item"),
    })
    .prefault({}),
  split: z
    .strictObject({
      protocol: z.enum(["user-disjoint", "leave-one-out", "user-ratio", "temporal"]).default("user-disjoint"),
      seed: z.int().default(2026).describe("shuffles the users of a user-disjoint split, and draws orders of events"),
      trainShare: share.default(0.8),
      validShare: share.default(0.1),
      historyShare: share.default(0.8).describe("leading share of an evaluated user's events that is history"),
    })
    .prefault({}),
  clusterer: z
    .union([z.enum(CLUSTERER_NAMES), joins], CLUSTERERS_HINT)
    .optional()
    .describe(
      "who splits histories into interests: one by name, or several that look at each item joined by +, shuffled:NAME being a member that says nothing (default: what a short test of the language model allows, category where none is found)",
    ),
  cluster: z
    .strictObject({
      maxClusters: z.int().min(1).max(64).default(8).describe("most interests of one user"),
      maxItems: z.int().min(1).default(500).describe("most recent distinct items of a user that are split"),
      facets: z.array(text).optional().describe("facet words of your own instead of the default vocabulary"),
      maxFacets: z.int().min(2).optional().describe("most facets kept"),
      textMode: z
        .enum(["without-year", "with-year"])
        .optional()
        .describe("whether the model reads the year that a title carries (default: without-year)"),
      domain: z
        .enum(DOMAIN_NAMES)
        .optional()
        .describe(
          "what the items are, for the examples that kinds shows a model (default: as their columns and titles say)",
        ),
      cut: z
        .union([share, z.literal("silhouette")])
        .optional()
        .describe("share of unrelated item pairs that must be less alike than two items of one cluster"),
      budget: z
        .strictObject({
          maxCalls: z.int().min(1).optional(),
          maxTokens: z.int().min(1).optional(),
          maxSeconds: z.number().positive().optional(),
        })
        .prefault({})
        .describe("what may be spent on the language model: what it does not do for goes by its categories, or alone"),
    })
    .prefault({}),
  crowd: z
    .strictObject({ enabled: z.boolean().default(true) })
    .loose()
    .prefault({})
    .describe("the crowd level; further members are the crowd synthesis' own settings"),
  train: z
    .record(z.string(), z.unknown())
    .default({})
    .describe('settings of the run\'s own model over the recipe that fits the data, e.g. {"stopping": {"epochs": 20}}'),
  trainAll: z
    .boolean()
    .default(false)
    .describe("serve a model trained on every event of every user, for as long as validation has found best"),
  baselines: z
    .array(z.enum(MODEL_NAMES))
    .default([...DEFAULT_BASELINES])
    .describe("what the run's own model is held against"),
  effort: z
    .enum(["quick", "standard", "thorough"])
    .default("standard")
    .describe(
      "what may be spent on choosing settings of the run's own network by validation: quick nothing, standard twice the steps of its training, thorough eight times",
    ),
  preset: z
    .enum(["paper"])
    .optional()
    .describe("paper: the method whole, every part on, nothing chosen by validation and no prior"),
  space: z
    .record(z.string(), z.array(z.unknown()).min(1))
    .optional()
    .describe(
      'values to try of settings of training, in the place of those that the recipe names, e.g. {"dropout": [0.1, 0.5], "network.interests": [1, 8]}',
    ),
  prior: z
    .enum(["auto", "none", ...PRIOR_NAMES])
    .default("auto")
    .describe(
      "linear model whose scores are added to those of the run's own network, with a weight from validation (auto: validation chooses one)",
    ),
  models: z
    .record(z.string(), z.record(z.string(), z.unknown()))
    .default({})
    .describe("settings of each model, by its name; those of a trained one stand over its recipe"),
  evaluate: z
    .strictObject({
      resamples: z.int().min(100).default(2000).describe("of the paired bootstrap"),
      cutoffs: z
        .array(z.int().min(1))
        .min(1)
        .default([20, 50])
        .describe("lengths at which lists are judged, below the catalog's size (half of it where none is)"),
    })
    .prefault({}),
});

export type Settings = z.infer<typeof settingsSchema>;
