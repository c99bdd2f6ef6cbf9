import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Dataset, userItems } from "@prismrec/core/data";
import { importDataset } from "@prismrec/core/data/import";
import { byFirstAppearance, type Clusterer, partitionDataset, partitionRequest } from "@prismrec/core/interests";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AnswerCache } from "../cache/answer-cache.js";
import { FakeModel } from "../testing/fake-model.js";
import { createClusterer } from "./clusterers.js";

const PROTOCOLS = ["user-disjoint", "leave-one-out", "user-ratio", "temporal"] as const;
const PARTS = ["train", "valid", "test"] as const;
const KINDS = ["Sea", "Sky", "War"];
const USERS = 40;
const ITEMS = 30;
const EVENTS = 9;

let folder: string;
const datasets = new Map<string, Dataset>();

/** Users who take items of three kinds, in an order of their own. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-protocols-"));
  const events = ["user,item,timestamp"];
  for (let user = 0; user < USERS; user++) {
    for (let n = 0; n < EVENTS; n++)
      events.push(`u${user},i${(user * 7 + n * (1 + (user % 4))) % ITEMS},${n * 50 + user}`);
  }
  const items = Array.from({ length: ITEMS }, (_, i) => `i${i},${KINDS[i % 3]} ${i},${KINDS[i % 3]}`);
  await writeFile(join(folder, "events.csv"), `${events.join("\n")}\n`);
  await writeFile(join(folder, "items.csv"), `item,title,categories\n${items.join("\n")}\n`);
  for (const protocol of PROTOCOLS) {
    const files = { interactions: join(folder, "events.csv"), items: join(folder, "items.csv") };
    const { dataset } = await importDataset({ ...files, core: { mode: "none" }, split: { protocol } });
    datasets.set(protocol, dataset);
  }
});

afterAll(() => rm(folder, { recursive: true }));

const titlesIn = (prompt: string): string[] =>
  [...prompt.slice(prompt.indexOf("Now use")).matchAll(/^\d+\. (.+)$/gm)].map(([, title]) => title!);
const kindOf = (title: string): number => KINDS.indexOf(title.split(" ")[0]!);

/** Reads the titles: by words, by vectors, and as whole partitions. */
const reader = (): FakeModel =>
  new FakeModel({
    generate: (prompt) =>
      prompt.includes("Groups:")
        ? titlesIn(prompt)
            .map((title, i) => `${i + 1}=${"ABC"[kindOf(title)]}`)
            .join(" ")
        : "a kind",
    score: (text, word) => (word === ["fishing", "astronomy", "tanks"][kindOf(text.replace(/^"/, ""))] ? -0.5 : -6),
    embed: (title) => KINDS.map((_, kind) => (kind === kindOf(title) ? 1 : 0)),
  });

const create = async (name: string, { catalog }: Dataset, cache: AnswerCache): Promise<Clusterer> => {
  const facets = name === "facets" ? { facets: ["fishing", "astronomy", "tanks"] } : {};
  return (await createClusterer(name, { catalog, model: reader(), cache, cut: "silhouette", ...facets })).clusterer;
};

describe.each(PROTOCOLS)("under %s", (protocol) => {
  it.each(["facets", "partition", "embedding", "category", "shuffled", "random"])(
    "%s answers every history for itself, with targets unseen",
    async (name) => {
      const dataset = datasets.get(protocol)!;
      await using cache = await openCache(`${protocol}-${name}`);
      const clusterer = await create(name, dataset, cache.answers);
      const partitions = await partitionDataset(dataset, clusterer);
      const { train, valid, test } = dataset.split;
      const ends = { train: train.ends, valid: valid.historyEnds, test: test.historyEnds };
      let rows = 0;
      for (const part of PARTS) {
        for (const [row, user] of dataset.split[part].users.entries()) {
          const visible = userItems(dataset.log, user).slice(0, ends[part][row]);
          const own = partitions[part].assign.slice(partitions[part].indptr[row], partitions[part].indptr[row + 1]);
          expect(own.length).toBe(visible.length);
          // The same history alone, read by somebody who has seen nothing else.
          const fresh = await create(name, dataset, cache.answers);
          const [alone] = await fresh.partition([partitionRequest(visible, 8)]);
          expect(own).toEqual(alone!.assign);
          if (name !== "shuffled" && name !== "random") {
            const kinds = Array.from(visible, (item) => kindOf(dataset.catalog.items[item]!.title));
            expect([...own]).toEqual([...byFirstAppearance(kinds).assign]);
          }
          rows++;
        }
      }
      expect(rows).toBeGreaterThanOrEqual(USERS);
    },
  );
});

async function openCache(name: string): Promise<AsyncDisposable & { readonly answers: AnswerCache }> {
  const answers = await AnswerCache.open(folder, name);
  return { answers, [Symbol.asyncDispose]: () => answers.close() };
}
