// From a clean clone to recommendations that name the interest behind them: set up, write the sample, run the pipeline.
// Usage: npm run quickstart [-- --llm FILE.gguf] [--out DIR]
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join, relative } from "node:path";
import { parseArgs } from "node:util";
import { bootstrap } from "./bootstrap.mjs";
import { root, run, since } from "./lib/run.mjs";

const start = performance.now();
const { values } = parseArgs({
  options: { llm: { type: "string" }, out: { type: "string", default: join(root, "runs", "quickstart") } },
});

/** @param {string[]} args @returns {Promise<number>} */
function prismrec(args) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, "packages/cli/bin/prismrec.js"), ...args], { stdio: "inherit" });
    for (const signal of /** @type {const} */ (["SIGINT", "SIGTERM"])) process.on(signal, () => child.kill(signal));
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

try {
  await bootstrap();
  const data = join(values.out, "sample");
  if (!existsSync(join(data, "truth.csv"))) {
    const { code, output } = await run(process.execPath, [join(root, "tools/sample-data.mjs"), "--out", data]);
    if (code !== 0) throw new Error(`the sample could not be written\n${output}`);
  }
  process.exitCode = await prismrec([
    "run",
    ...["--interactions", join(data, "interactions.csv"), "--items", join(data, "items.csv")],
    ...["--truth", join(data, "truth.csv"), "--out", join(values.out, "run")],
    ...(values.llm === undefined ? [] : ["--llm", values.llm]),
  ]);
  if (process.exitCode === 0) {
    const where = relative(process.cwd(), join(values.out, "run"));
    process.stderr.write(
      `\nQuickstart finished in ${since(start)}. Next:\n` +
        `  npx prismrec recommend ${where} --user u42 -k 10\n` +
        `  npx prismrec evaluate ${where} --json\n`,
    );
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 4;
}
