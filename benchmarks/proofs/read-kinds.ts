// Reads a whole catalog once: what a language model says each item is, a row each, into a file that `--clusterer recorded-kinds`
// (`cluster.kinds`) and the other proofs replay. Resumable: answers are kept in FOLDER/cache as they come, and a second call asks
// only what is still open; the file is written anew every hundred items, and holds the items read so far.
// Usage: npm run proof -- read-kinds --model FILE --interactions FILE --items FILE --out FOLDER/kinds-NAME.csv
//          [--split FILE] [--threads N] [--domain films|games|…] [--first N]
import { mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { importDataset } from "@prismrec/core/data/import";
import {
  AnswerCache,
  CachedModel,
  type CatalogDomain,
  domainOf,
  itemText,
  LlamaCppModel,
  readKinds,
} from "@prismrec/llm";

const STEP = 100;

const { values: given } = parseArgs({
  args: process.argv.slice(3),
  options: {
    model: { type: "string" },
    interactions: { type: "string" },
    items: { type: "string" },
    split: { type: "string" },
    out: { type: "string" },
    threads: { type: "string", default: "1" },
    domain: { type: "string" },
    first: { type: "string" },
  },
});
const { model: modelPath, interactions, items, out } = given;
if (modelPath === undefined || interactions === undefined || items === undefined || out === undefined) {
  throw new Error("--model, --interactions, --items and --out are needed");
}

const { dataset } = await importDataset({
  interactions,
  items,
  ...(given.split === undefined ? {} : { split: { file: given.split } }),
});
const { catalog } = dataset;
const domain = (given.domain as CatalogDomain | undefined) ?? domainOf(catalog).domain;
const model = await LlamaCppModel.open({ modelPath, threads: Number(given.threads) });
const cache = await AnswerCache.open(join(dirname(out), "cache"), model.hash.slice(0, 16));
const reader = new CachedModel(model, cache);
const wanted = catalog.items.slice(1, given.first === undefined ? undefined : 1 + Number(given.first));
const rows = ["id,kind"];
const start = performance.now();
try {
  for (let at = 0; at < wanted.length; at += STEP) {
    const some = wanted.slice(at, at + STEP);
    const kinds = await readKinds(
      reader,
      domain,
      some.map((item) => itemText(item, "without-year")),
    );
    rows.push(...some.map(({ id }, i) => `${cell(id)},${cell(kinds[i]!)}`));
    await mkdir(dirname(out), { recursive: true });
    await writeFile(`${out}.part`, `${rows.join("\n")}\n`);
    await rename(`${out}.part`, out);
    const { calls, seconds } = model.usage();
    process.stdout.write(
      `${domain}: ${rows.length - 1} of ${wanted.length} items after ${Math.round((performance.now() - start) / 1000)} s` +
        `${calls === 0 ? "" : `, ${(seconds / calls).toFixed(2)} s a call`}\n`,
    );
  }
} finally {
  await cache.close();
  await model.close();
}

function cell(text: string): string {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
