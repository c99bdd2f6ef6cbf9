// Proof that the interest named behind an item is the one it belongs to, judged by categories that nobody has read: the
// rule of `explain` beside the ones it was chosen among, on validation and test users of finished runs. Writes
// results/explanation-fidelity.csv; exits with 1 where the rule is less than BAR above a random interest on the first
// run's test users. Usage: npm run proof -- explanations RUN [RUN ...]
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { INTEREST_BATCH, type InterestBatch, isMultiInterest, type MultiInterestModel } from "@prismrec/core/models";
import { type DescribedInterest, explain, rankedList } from "@prismrec/core/recommend";
import { EXPLAINED_ITEMS, type ExplainedList, evaluationHistories, explanationFidelity } from "@prismrec/trainer";
import { openRun } from "prismrec/pipeline";
import { benchmarksRoot } from "../lib/paths.js";

const BAR = 0.15;
/** Items that an interest is said to rest on, as in `explain`. */
const MOST_EVIDENCE = 4;
const READ_CATEGORIES = ["category", "shuffled"];

/** What a rule may go by: of one item, by interest as they are shown. */
interface Facts {
  /** Share of the item's score. */
  readonly responsibility: readonly number[];
  /** Logarithm of the likelihood: the largest inner product with the item. */
  readonly likelihood: readonly number[];
  /** Mean cosine of the item with the evidence. */
  readonly cosine: readonly number[];
  /** The same less the catalog's mean vector. */
  readonly centred: readonly number[];
  /** The interest whose term is largest. */
  readonly winner: number;
}

type Rule = (facts: Facts) => number;

const largest = (values: readonly number[]): number => values.indexOf(Math.max(...values));

/** The largest of `values` among those whose `gate` is at least a share of its largest. */
const gated = (values: readonly number[], gate: readonly number[], share: number): number => {
  const least = Math.max(...gate) * share;
  return largest(values.map((value, n) => (gate[n]! >= least ? value : -Infinity)));
};
const likely = ({ likelihood }: Facts): number[] =>
  likelihood.map((value) => Math.exp(value - Math.max(...likelihood)));

const RULES: Readonly<Record<string, Rule>> = {
  "largest term": ({ winner }) => winner,
  "largest responsibility": ({ responsibility }) => largest(responsibility),
  "responsibility 0.1 then cosine": ({ responsibility, cosine }) => gated(cosine, responsibility, 0.1),
  "responsibility 0.01 then cosine": ({ responsibility, cosine }) => gated(cosine, responsibility, 0.01),
  "largest likelihood": ({ likelihood }) => largest(likelihood),
  "likelihood 0.5 then centred cosine": (facts) => gated(facts.centred, likely(facts), 0.5),
  "likelihood 0.2 then cosine": (facts) => gated(facts.cosine, likely(facts), 0.2),
  "likelihood 0.1 then centred cosine": (facts) => gated(facts.centred, likely(facts), 0.1),
  "centred cosine": ({ centred }) => largest(centred),
};
const CHOSEN = "explain: likelihood 0.2 then centred cosine";

class Vectors {
  readonly #data: Float32Array;
  readonly #mean: Float64Array;

  constructor(readonly model: MultiInterestModel) {
    const { data, rows, cols } = model.itemVectors();
    this.#data = data;
    this.#mean = new Float64Array(cols);
    for (let at = 0; at < data.length; at++) this.#mean[at % cols]! += data[at]! / rows;
  }

  dot(interest: ArrayLike<number>, item: number): number {
    return this.#sum((x) => interest[x]! * this.#at(item, x));
  }

  cosine(a: number, b: number, centred: boolean): number {
    const value = (item: number, x: number): number => this.#at(item, x) - (centred ? this.#mean[x]! : 0);
    const product = (i: number, j: number): number => this.#sum((x) => value(i, x) * value(j, x));
    return product(a, b) / Math.sqrt(product(a, a) * product(b, b) || 1);
  }

  #at(item: number, x: number): number {
    return this.#data[(item - 1) * this.#mean.length + x]!;
  }

  #sum(of: (x: number) => number): number {
    let sum = 0;
    for (let x = 0; x < this.#mean.length; x++) sum += of(x);
    return sum;
  }
}

function factsOf(
  vectors: Vectors,
  batch: InterestBatch,
  row: number,
  interests: readonly DescribedInterest[],
  item: number,
  winner: number,
): Facts {
  const { cols, data } = batch.vectors;
  const products = interests.map(({ members }) =>
    members.map((j) => {
      const at = row * batch.count + j;
      return { product: vectors.dot(data.subarray(at * cols, (at + 1) * cols), item), offset: batch.offsets[at]! };
    }),
  );
  const top = Math.max(...products.flat().map(({ product, offset }) => product + offset));
  const masses = products.map((own) =>
    own.reduce((sum, { product, offset }) => sum + Math.exp(product + offset - top), 0),
  );
  const total = masses.reduce((a, b) => a + b);
  const meanCosine = (centred: boolean) =>
    interests.map(({ evidence }) =>
      evidence.reduce((sum, other) => sum + vectors.cosine(item, other, centred) / evidence.length, 0),
    );
  return {
    responsibility: masses.map((mass) => mass / total),
    likelihood: products.map((own) => Math.max(...own.map(({ product }) => product))),
    cosine: meanCosine(false),
    centred: meanCosine(true),
    winner: interests.findIndex(({ members }) => members.includes(winner)),
  };
}

/** Every interest of the model for itself, and what it rests on: as they were before those of one label were one. */
function apart(model: MultiInterestModel, batch: InterestBatch, row: number, history: Uint32Array) {
  const length = (batch.attention?.length ?? 0) / batch.vectors.rows;
  const items = history.subarray(Math.max(0, history.length - model.maxHistory));
  const places: number[] = [];
  const evidence: number[][] = [];
  for (let j = 0; j < batch.count; j++) {
    const at = row * batch.count + j;
    if (batch.offsets[at] === -Infinity) continue;
    const mass = new Map<number, number>();
    items.forEach((item, t) => {
      mass.set(item, (mass.get(item) ?? 0) + (batch.attention?.[at * length + t] ?? 0));
    });
    const strongest = [...mass].filter(([, weight]) => weight > 0).sort(([, a], [, b]) => b - a);
    places.push(j);
    evidence.push(strongest.slice(0, MOST_EVIDENCE).map(([item]) => item));
  }
  return { places, evidence };
}

const dirs = process.argv.slice(3);
if (dirs.length === 0) throw new Error("Usage: npm run proof -- explanations RUN [RUN ...]");
const header = "dataset,clusterer,part,rule,right,random,standard_error,responsibility,users,answers";
const lines: string[] = [];
let above: number | undefined;
for (const dir of dirs) {
  await using run = await openRun(dir, undefined, { readOnly: true });
  const { dataset } = await run.open("import");
  const clustered = await run.open("cluster");
  const { partitions } = await clustered.contents();
  const clusterer = clustered.choice.clusterer ?? "none";
  if (READ_CATEGORIES.includes(clusterer)) throw new Error(`${dir}: its clusters may have read the categories`);
  const model = await (await run.open("train")).model();
  if (!isMultiInterest(model)) throw new Error(`${dir}: ${model.name} has no interests`);
  const vectors = new Vectors(model);
  for (const part of ["valid", "test"] as const) {
    const histories = evaluationHistories(dataset, dataset.split[part], part, partitions?.[part]);
    const ranking = await model.rank(histories, { k: EXPLAINED_ITEMS });
    const lists = new Map<string, ExplainedList[]>();
    const shares = new Map<string, number[]>();
    const add = (rule: string, list: ExplainedList, responsibility: readonly number[]): void => {
      lists.set(rule, [...(lists.get(rule) ?? []), list]);
      shares.set(rule, [...(shares.get(rule) ?? []), ...responsibility]);
    };
    for (let start = 0; start < histories.length; start += INTEREST_BATCH) {
      const some = histories.slice(start, start + INTEREST_BATCH);
      const batch = model.interests(some);
      for (const [row, history] of some.entries()) {
        const labels = partitions?.[part].labels[start + row] ?? [];
        const list = rankedList(ranking, start + row);
        const ids = [...list.ids];
        const { interests, named } = explain(model, { batch, row }, history, labels, dataset.catalog, list);
        const facts = ids.map((item, place) =>
          factsOf(vectors, batch, row, interests, item, list.winners?.[place] ?? 0),
        );
        const evidence = interests.map((interest) => interest.evidence);
        const chosen = { ids, evidence, named };
        add(
          CHOSEN,
          chosen,
          named.map((n, place) => facts[place]!.responsibility[n]!),
        );
        for (const [rule, name] of Object.entries(RULES)) {
          const names = facts.map(name);
          add(
            rule,
            { ids, evidence, named: names },
            names.map((n, place) => facts[place]!.responsibility[n]!),
          );
        }
        const single = apart(model, batch, row, history.items);
        const winners = ids.map((_, place) => single.places.indexOf(list.winners?.[place] ?? 0));
        add("largest term, labels apart", { ids, evidence: single.evidence, named: winners }, []);
      }
    }
    for (const [rule, own] of lists) {
      const found = explanationFidelity(own, dataset.catalog.items);
      if (found === undefined) throw new Error(`${dir}: no user has two interests and items with categories`);
      const { right, random, standardError, users, answers } = found;
      const given = shares.get(rule) ?? [];
      const responsibility = given.length === 0 ? "" : (given.reduce((a, b) => a + b) / given.length).toFixed(4);
      const numbers = [right, random, standardError].map((value) => value.toFixed(4));
      lines.push(
        [
          dataset.fingerprint.slice(0, 12),
          clusterer,
          part,
          rule.replaceAll(",", ":"),
          ...numbers,
          responsibility,
          users,
          answers,
        ].join(","),
      );
      if (rule === CHOSEN && part === "test") above ??= right - random;
    }
  }
}
const csv = `${[header, ...lines].join("\n")}\n`;
await writeFile(join(benchmarksRoot, "results", "explanation-fidelity.csv"), csv);
process.stdout.write(csv);
if (above === undefined || above < BAR) {
  process.stderr.write(
    `the named interest is ${((above ?? 0) * 100).toFixed(1)} points above a random one, below ${BAR * 100}\n`,
  );
  process.exitCode = 1;
}
