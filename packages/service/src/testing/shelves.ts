import { type Catalog, createLog } from "@prismrec/core/data";
import { type InterestBatch, InterestSearch, type Model, type MultiInterestModel } from "@prismrec/core/models";
import { Recommender } from "@prismrec/core/recommend";
import { titledCatalog } from "../../../core/src/testing/catalog.js";
import { labelClusterer } from "../../../core/src/testing/clusterer.js";
import { type Served, servedOf } from "../served.js";

export const ITEMS = 30;
const SHELVES = 3;
/** A title and a label that would be markup where somebody took them for it. */
export const NASTY = `<img src=x onerror="alert(1)">`;
const NAMES = ["crime", "garden", `space & ${NASTY}`];

const shelf = (dense: number): number => (dense - 1) % SHELVES;
const titles = Array.from({ length: ITEMS }, (_, n) => (n === 4 ? NASTY : `Title ${n + 1}`));
const plain = titledCatalog(
  titles,
  titles.map((_, n) => [NAMES[shelf(n + 1)]!]),
);
export const catalog: Catalog = {
  ...plain,
  popularity: Uint32Array.from({ length: ITEMS + 1 }, (_, n) => (n === 0 ? 0 : ITEMS + 1 - n)),
  columns: new Map([["price", { kind: "number", values: Float64Array.from({ length: ITEMS + 1 }, (_, n) => n) }]]),
};
export const log = createLog({
  userIds: ["ada", "bo b/ü"],
  indptr: Uint32Array.of(0, 5, 7),
  items: Uint32Array.of(1, 5, 4, 2, 7, 3, 6),
});

/** An interest for each shelf: the more of the history stands there, the more its items score, popular ones first. */
export class Shelves implements MultiInterestModel, Disposable {
  readonly name = "shelves";
  readonly itemCount = ITEMS;
  readonly dim = SHELVES;
  readonly maxHistory = 100;
  readonly readout = "log-sum-exp";
  readonly #search = new InterestSearch(this);
  readonly #vectors = {
    data: Float32Array.from({ length: ITEMS * SHELVES }, (_, at) => {
      const item = Math.floor(at / SHELVES);
      return shelf(item + 1) === at % SHELVES ? 2 - item / ITEMS : 0;
    }),
    rows: ITEMS,
    cols: SHELVES,
  };

  itemVectors() {
    return this.#vectors;
  }

  itemBias(): undefined {
    return undefined;
  }

  interests(histories: readonly { readonly items: Uint32Array; readonly clusters?: Int16Array }[]): InterestBatch {
    const longest = Math.max(0, ...histories.map(({ items }) => items.length));
    const rows = histories.length * SHELVES;
    const offsets = new Float32Array(rows).fill(-Infinity);
    const clusters = new Int16Array(rows).fill(-1);
    const data = new Float32Array(rows * SHELVES);
    const attention = new Float32Array(rows * longest);
    for (const [b, { items, clusters: own }] of histories.entries()) {
      for (let s = 0; s < SHELVES; s++) {
        const at = b * SHELVES + s;
        const events = [...items.keys()].filter((t) => shelf(items[t]!) === s);
        if (events.length === 0) continue;
        offsets[at] = Math.log(events.length / items.length);
        clusters[at] = own?.[events[0]!] ?? -1;
        data[at * SHELVES + s] = 1;
        for (const t of events) attention[at * longest + t] = 1 / events.length;
      }
    }
    return { count: SHELVES, vectors: { data, rows, cols: SHELVES }, offsets, clusters, attention };
  }

  rank(...asked: Parameters<MultiInterestModel["rank"]>): ReturnType<MultiInterestModel["rank"]> {
    return this.#search.rank(...asked);
  }

  [Symbol.dispose](): void {
    this.#search[Symbol.dispose]();
  }
}

const clusterer = labelClusterer((dense) => NAMES[shelf(dense)]!);

interface Held {
  readonly hash?: string;
  readonly onClose?: () => void;
  /** A document of business rules. */
  readonly rules?: unknown;
}

/** Core's own recommender over a model, as `open` would give it. */
export function servedModel(model: Model, { hash = "hash", onClose = () => {}, rules }: Held = {}): Served {
  const recommender = new Recommender({
    model,
    catalog,
    log,
    ...("interests" in model ? { clusterer } : {}),
  });
  const close = async (): Promise<void> => {
    recommender[Symbol.dispose]();
    onClose();
  };
  const facts = { model: model.name, hash, items: ITEMS, users: log.userCount, close };
  return servedOf(recommender, facts, rules === undefined ? undefined : recommender.rules(rules));
}
