import { createRandom, hashJson, PrismrecError, type RunOptions } from "@prismrec/core/base";
import type { Catalog } from "@prismrec/core/data";
import { byFirstAppearance, type Clusterer, type Partition, type PartitionRequest } from "@prismrec/core/interests";
import type { CachedModel } from "../cache/cached-model.js";
import { type PartitionTests, type TwicePartitioned, testPartitions } from "../diagnostics/partition-tests.js";
import { itemText, type TextMode } from "../facets/item-text.js";
import type { Capability } from "../model/language-model.js";
import {
  LABEL_GRAMMAR,
  LABEL_SYSTEM,
  labelPrompt,
  MOST_CLUSTERS,
  PARTITION_PROMPT_VERSION,
  PARTITION_SYSTEM,
  parsePartition,
  partitionGrammar,
  partitionPrompt,
} from "../partition-prompt/partition-prompt.js";
import type { ClustererDefinition } from "./definition.js";
import { requireModel } from "./require-model.js";

const REQUIRES: readonly Capability[] = ["text"];

/** Most items of one request: more do not fit into a small model's attention. */
const MOST_ITEMS = 64;
const TESTED = 50;
const FEWEST_TESTED = 8;
/** Histories shorter than this have too few partitions to tell stable ones from lucky ones. */
const SHORTEST_TESTED = 5;
const LABELED_ITEMS = 6;

/** Asks a model for whole partitions, and refuses to use them where they are not about the items. */
export class PartitionClusterer implements Clusterer {
  readonly name = "partition";
  readonly fingerprint: string;
  readonly maxItems = MOST_ITEMS;
  readonly #model: CachedModel;
  readonly #texts: readonly string[];
  readonly #seed: number;
  #tests: PartitionTests | undefined;

  constructor(model: CachedModel, catalog: Catalog, options: { textMode?: TextMode; seed?: number } = {}) {
    const { textMode = "without-year", seed = 1 } = options;
    this.#model = model;
    this.#seed = seed;
    this.#texts = catalog.items.map((item) => itemText(item, textMode));
    this.fingerprint = hashJson([
      "partition",
      PARTITION_PROMPT_VERSION,
      model.model.hash,
      seed,
      catalog.items.map(({ id }, i) => [id, this.#texts[i]]),
    ]);
  }

  /** The figures of the last test, once a partition was asked for. */
  get tests(): PartitionTests | undefined {
    return this.#tests;
  }

  /**
   * Throws PARTITION_DEGENERATE (with the figures) where the first histories show that the model's partitions follow
   * the order of the items instead of the items, LLM_OUTPUT_INVALID where the model does not finish its answers.
   */
  async partition(requests: readonly PartitionRequest[], options: RunOptions = {}): Promise<Partition[]> {
    for (const { key, items, maxClusters } of requests) {
      if (items.length > MOST_ITEMS || maxClusters > MOST_CLUSTERS) {
        throw new PrismrecError("INVALID_ARGUMENT", `the request ${key} is too large for the partition clusterer`, {
          expected: `at most ${MOST_ITEMS} items in ${MOST_CLUSTERS} clusters`,
          received: `${items.length} items in ${maxClusters} clusters`,
          hint: "ask about the most recent items only",
        });
      }
    }
    if (this.#tests === undefined) await this.#refuseDegenerate(requests, options);
    const assigned = await this.#ask(requests, 0, options);
    const numbered = assigned.map((groups) => byFirstAppearance(groups));
    const labels = await this.#label(requests, numbered, options);
    return requests.map(({ key }, r) => ({ key, assign: numbered[r]!.assign, labels: labels[r]! }));
  }

  async #refuseDegenerate(requests: readonly PartitionRequest[], options: RunOptions): Promise<void> {
    const tested = requests.filter(({ items }) => items.length >= SHORTEST_TESTED).slice(0, TESTED);
    if (tested.length < FEWEST_TESTED) return;
    this.#tests = (await this.askTwice(tested, options)).tests;
    if (!this.#tests.passed) {
      throw new PrismrecError(
        "PARTITION_DEGENERATE",
        `${this.#model.model.name} cannot partition: its answers do not depend on what the items are`,
        {
          expected: "partitions that survive another order of the items and do not follow their places",
          received: `of ${tested.length} histories: ${this.#tests.failures.join("; ")}`,
          hint: "use --clusterer facets (works with small models), embedding or category, or a model of 4-8 B parameters",
        },
      );
    }
  }

  /** Groups of the same histories, aligned with their items, asked in two orders, and what the difference shows. */
  async askTwice(
    requests: readonly PartitionRequest[],
    options: RunOptions = {},
  ): Promise<{ first: number[][]; second: number[][]; tests: PartitionTests }> {
    const first = await this.#ask(requests, 0, options);
    const second = await this.#ask(requests, 1, options);
    const histories = requests.map(({ key, items }, r): TwicePartitioned => {
      const order = this.#order(key, items.length, 0);
      return { first: order.map((i) => first[r]![i]!), second: order.map((i) => second[r]![i]!) };
    });
    return { first, second, tests: testPartitions(histories) };
  }

  /** Groups per request, aligned with `request.items`, asked in the `showing`-th order of the items. */
  async #ask(requests: readonly PartitionRequest[], showing: number, options: RunOptions): Promise<number[][]> {
    const groups: number[][] = [];
    // One grammar serves all histories of the same length.
    const byShape = new Map<string, number[]>();
    for (const [r, { items, maxClusters }] of requests.entries()) {
      const shape = `${items.length},${maxClusters}`;
      const rows = byShape.get(shape);
      if (rows === undefined) byShape.set(shape, [r]);
      else rows.push(r);
    }
    for (const rows of byShape.values()) {
      const { items, maxClusters } = requests[rows[0]!]!;
      const count = items.length;
      if (count <= 1) {
        for (const r of rows) groups[r] = new Array<number>(count).fill(0);
        continue;
      }
      const orders = rows.map((r) => this.#order(requests[r]!.key, count, showing));
      const prompts = rows.map((r, n) =>
        partitionPrompt(
          orders[n]!.map((i) => this.#texts[requests[r]!.items[i]!] ?? ""),
          maxClusters,
        ),
      );
      const answers = await this.#model.generate(prompts, {
        system: PARTITION_SYSTEM,
        grammar: partitionGrammar(count, maxClusters),
        maxTokens: 8 * count + 16,
        ...options,
      });
      answers.forEach((answer, n) => {
        const shown = parsePartition(answer, count);
        if (shown === undefined) {
          throw new PrismrecError("LLM_OUTPUT_INVALID", `${this.#model.model.name} did not finish a partition`, {
            expected: `groups of ${count} items`,
            received: JSON.stringify(answer.slice(0, 200)),
            hint: "use --clusterer facets, or another model",
          });
        }
        const aligned = new Array<number>(count);
        orders[n]!.forEach((item, place) => {
          aligned[item] = shown[place]!;
        });
        groups[rows[n]!] = aligned;
      });
    }
    return groups;
  }

  #order(key: string, count: number, showing: number): number[] {
    return createRandom(this.#seed, `partition-order:${showing}:${key}`).shuffle(
      Array.from({ length: count }, (_, i) => i),
    );
  }

  async #label(
    requests: readonly PartitionRequest[],
    numbered: readonly { assign: Int16Array; order: number[] }[],
    options: RunOptions,
  ): Promise<string[][]> {
    const prompts: string[] = [];
    for (const [r, { items }] of requests.entries()) {
      const { assign, order } = numbered[r]!;
      for (let c = 0; c < order.length; c++) {
        const members = Array.from(items).filter((_, i) => assign[i] === c);
        prompts.push(labelPrompt(members.slice(-LABELED_ITEMS).map((item) => this.#texts[item] ?? "")));
      }
    }
    const labels = await this.#model.generate(prompts, {
      system: LABEL_SYSTEM,
      grammar: LABEL_GRAMMAR,
      maxTokens: 16,
      ...options,
    });
    let at = 0;
    return numbered.map(({ order }) => order.map(() => labels[at++]?.trim() || "unnamed"));
  }
}

/**
 * *Generate* (docs/concepts/method.md): the model reads a user's whole history and writes its partition under a
 * grammar that holds every item exactly once; for models of some billions of parameters.
 */
export const partitionClusterer: ClustererDefinition = {
  name: "partition",
  needs: "model",
  requires: REQUIRES,
  description: "a language model partitions each history itself (4-8 B parameters and more)",
  version: PARTITION_PROMPT_VERSION,
  most: { items: MOST_ITEMS, clusters: MOST_CLUSTERS },
  async create(context) {
    const model = requireModel("partition", context, REQUIRES);
    const { catalog, textMode = "without-year", seed = 1 } = context;
    return {
      clusterer: new PartitionClusterer(model, catalog, { textMode, seed }),
      report: { name: "partition", model: model.model.name },
    };
  },
  async estimate(context, histories, length) {
    requireModel("partition", context, REQUIRES);
    const { catalog, textMode = "without-year" } = context;
    const texts = catalog.items.slice(1).map((item) => itemText(item, textMode));
    const perItem = texts.reduce((sum, text) => sum + text.length / 4, 0) / Math.max(1, texts.length);
    // A partition and the labels of about four groups each; the first histories are asked in a second order too.
    const partitions = histories + Math.min(histories, TESTED);
    const calls = partitions + 4 * histories;
    const tokens = partitions * (120 + length * (perItem + 3 + 4)) + 4 * histories * (40 + LABELED_ITEMS * perItem);
    return { calls, kept: 0, tokens: Math.ceil(tokens) };
  },
};
