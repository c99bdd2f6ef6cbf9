// Random sequences of operations, many under way at once: their arrays are written over, given away or dropped, their flags
// raised, their indexes released, and worker threads that do the same are ended at any moment. What was not cancelled and
// kept its outputs must be what the synchronous form computes. Prints what happened, as JSON.
//   node border-sequences.mjs <folder> <seed> <operations>
import { setTimeout as pause } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { loadBinding } from "../index.js";
import { declaredFunctions, validArguments } from "./border-shapes.mjs";

const [folder, seed, operations] = isMainThread ? process.argv.slice(2) : workerData;
setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc");
const binding = loadBinding();
const valid = validArguments(binding, folder);
let state = Number(seed) >>> 0;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const below = (/** @type {number} */ n) => Math.floor(random() * n);
/** @param {string} name @param {unknown} args */
const invoke = (name, args) => Reflect.apply(Reflect.get(binding, name), undefined, [args]);
/** @param {unknown} value */
const arraysOf = (value) => Object.values(Object(value)).filter((field) => ArrayBuffer.isView(field));
const OUTPUTS = new Set(
  "c vectors sums coefficients eventGradient mapGradient interestGradient itemGradient".split(" "),
);
/** What an operation writes to of what it is given. @param {string} name @param {string} field */
const isOutput = (name, field) =>
  name === "choleskyInverse"
    ? field === "a"
    : OUTPUTS.has(field) && !(name === "dynamicRoutingGrad" && INPUTS_OF_GRADIENT.has(field));
const INPUTS_OF_GRADIENT = new Set(["sums", "coefficients"]);
/** @param {string} name @param {unknown} result @param {unknown} args */
function fingerprint(name, result, args) {
  const outputs = Object.entries(Object(args)).filter(([field]) => isOutput(name, field));
  const fields = [...Object.entries(Object(result)), ...outputs].sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify(
    fields.map(([field, value]) => [field, ArrayBuffer.isView(value) ? Array.from(/** @type {any} */ (value)) : value]),
  );
}

const names = [...declaredFunctions().keys()].filter(
  (name) => valid[`${name}Sync`] !== undefined && name !== "similarityIndexSave",
);
/** @type {Map<string, string>} */
const expected = new Map();
for (const name of names) {
  const [args] = valid[name]?.() ?? [];
  expected.set(name, fingerprint(name, invoke(`${name}Sync`, args), args));
}

/** @type {Record<string, number>} */
const seen = {};
/** @type {string[]} */
const faults = [];
/** @type {Promise<void>[]} */
const underWay = [];

/** @param {string} name */
function start(name) {
  const [given] = valid[name]?.() ?? [];
  const flag = new Int32Array(new SharedArrayBuffer(4));
  const args = random() < 0.5 ? { ...Object(given), cancel: flag } : Object(given);
  const kept = Object.fromEntries(Object.entries(args).filter(([field]) => isOutput(name, field)));
  const call = invoke(name, args);
  const fate = below(6);
  let [cancelled, gone] = [false, false];
  if (fate === 0 && args.cancel !== undefined) {
    cancelled = true;
    Atomics.store(flag, 0, 1);
  } else if (fate === 1) {
    for (const array of arraysOf(args)) if (array !== flag) new Uint8Array(array.buffer).fill(below(256));
  } else if (fate === 2) {
    for (const [field, array] of Object.entries(args)) {
      if (!ArrayBuffer.isView(array) || array === flag || random() < 0.5) continue;
      gone ||= isOutput(name, field);
      structuredClone(array.buffer, { transfer: [/** @type {ArrayBuffer} */ (array.buffer)] });
    }
  } else if (fate === 3 && below(4) === 0) gc();
  underWay.push(
    call.then(
      (/** @type {unknown} */ result) => {
        seen.ok = (seen.ok ?? 0) + 1;
        if (name === "similarityIndexBuild" || name === "similarityIndexOpen") {
          binding.similarityIndexRelease(/** @type {any} */ (result));
        } else if (fingerprint(name, result, kept) !== expected.get(name))
          faults.push(`${name}, fate ${fate}: another result`);
        if (gone) faults.push(`${name}: wrote to what it was no longer given`);
      },
      (/** @type {{ code?: string }} */ error) => {
        const code = String(error.code);
        seen[code] = (seen[code] ?? 0) + 1;
        if (!(cancelled && code === "CANCELLED") && !(gone && code === "INVALID_ARGUMENT"))
          faults.push(`${name}, fate ${fate}: ${code} ${error}`);
      },
    ),
  );
}

/** Searches an index that is released before they end. */
function releaseUnderSearch() {
  const items = Float32Array.from({ length: 4000 * 16 }, (_, i) => ((i * 31) % 97) / 97);
  const index = binding.similarityIndexBuildSync({ items, rows: 4000, cols: 16, metric: "dot" });
  const args = {
    index,
    queries: items.slice(0, 64 * 16),
    queryCount: 64,
    interestsPerQuery: 1,
    k: 5,
    readout: /** @type {const} */ ("max"),
  };
  const first = binding.similaritySearchSync(args).ids.join();
  for (let i = 0; i < 3; i++) {
    underWay.push(
      binding.similaritySearch(args).then(({ ids }) => {
        if (ids.join() !== first) faults.push("a search of a released index: another result");
      }),
    );
  }
  binding.similarityIndexRelease(index);
  try {
    binding.similaritySearchSync(args);
    faults.push("a released index was searched");
  } catch (error) {
    if (!(error instanceof Error && Reflect.get(error, "code") === "INVALID_ARGUMENT")) faults.push(String(error));
  }
}

async function endWorker() {
  const worker = new Worker(new URL(import.meta.url), {
    workerData: [folder, String(below(1e9)), "200"],
    execArgv: [],
  });
  worker.on("error", (error) => faults.push(`worker: ${error}`));
  await new Promise((resolve) => worker.once("online", resolve));
  await pause(below(120));
  await worker.terminate();
  seen.workers = (seen.workers ?? 0) + 1;
}

for (let n = 0; n < Number(operations); n++) {
  start(names[below(names.length)] ?? "");
  if (below(40) === 0) releaseUnderSearch();
  if (isMainThread && below(60) === 0) underWay.push(endWorker());
  if (below(50) === 0) binding.setThreads(1 + below(4));
  if (below(12) === 0) await Promise.all(underWay.splice(0));
  else if (below(6) === 0) await pause(0);
}
await Promise.all(underWay);
if (isMainThread) process.stdout.write(JSON.stringify({ found: seen, faults: faults.slice(0, 40) }));
