// Does a part use a partition even when it is true? Trains ldmi on planted data, each semantic part beside its shuffled
// twin. Usage: node tools/planted-experiment.mjs [--seeds 1,2] [--arms mixture,mixture-shuffled] [--users 5000]
//   [--items 2000] [--interests 20] [--median 8] [--data-seed 1] [--epochs 60] [--config FILE.json] [--json]
// Figures go to stdout, progress to stderr. Needs a build: npm run build.
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { PLANTED_ARMS, plantedExperiment } from "../packages/trainer/dist/index.js";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1" },
    arms: { type: "string", default: PLANTED_ARMS.join(",") },
    users: { type: "string", default: "5000" },
    items: { type: "string", default: "2000" },
    interests: { type: "string", default: "20" },
    median: { type: "string", default: "8" },
    "data-seed": { type: "string", default: "1" },
    epochs: { type: "string", default: "60" },
    config: { type: "string" },
    json: { type: "boolean", default: false },
  },
});

const arms = PLANTED_ARMS.filter((arm) => values.arms.split(",").includes(arm));
const settings = values.config === undefined ? {} : JSON.parse(await readFile(values.config, "utf8"));
const stop = new AbortController();
process.once("SIGINT", () => stop.abort(new Error("interrupted")));
const started = performance.now();

try {
  const result = await plantedExperiment({
    arms,
    seeds: values.seeds.split(",").map(Number),
    data: {
      users: Number(values.users),
      items: Number(values.items),
      interests: Number(values.interests),
      medianLength: Number(values.median),
      seed: Number(values["data-seed"]),
    },
    config: { stopping: { epochs: Number(values.epochs) }, ...settings },
    signal: stop.signal,
    onProgress: ({ done, total, note }) => {
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      process.stderr.write(`[${seconds} s] run ${done + 1}/${total}: ${note}\n`);
    },
  });
  process.stdout.write(values.json ? `${JSON.stringify(result, null, 2)}\n` : describe(result));
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = stop.signal.aborted ? 130 : 1;
}

/** @param {import("../packages/trainer/dist/index.js").PlantedResult} result */
function describe({ data, runs, pairs }) {
  const percent = (/** @type {number} */ value) => (100 * value).toFixed(2).padStart(6);
  const lines = [
    `${data.users} users, ${data.items} items, ${data.interests} interests, ${data.testUsers} test users, ` +
      `${data.synthesizedUsers} synthesized users`,
    "",
    "arm                seed   R@20   N@20   R@50   N@50  cosine  epochs  seconds",
  ];
  for (const { arm, seed, metrics, diagnostics, bestEpoch, epochs, seconds } of runs) {
    lines.push(
      `${arm.padEnd(18)} ${String(seed).padStart(4)} ${Object.values(metrics).map(percent).join(" ")}  ` +
        `${(diagnostics.interestCosine ?? 1).toFixed(3).padStart(6)}  ${`${bestEpoch}/${epochs}`.padStart(6)}  ` +
        `${seconds.toFixed(0).padStart(7)}`,
    );
  }
  lines.push("", "difference, recall@50 (standard error over users, over seeds)");
  for (const { better, than, gains } of pairs) {
    const { mean, userError, seedError } = gains["recall@50"];
    const errors = [userError, ...(seedError === undefined ? [] : [seedError])].map((e) => (100 * e).toFixed(2));
    lines.push(`${`${better} - ${than}`.padEnd(36)} ${percent(mean)} (${errors.join(", ")})`);
  }
  return `${lines.join("\n")}\n`;
}
