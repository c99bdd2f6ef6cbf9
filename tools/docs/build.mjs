// Writes docs/api, the reference of everything that the packages export. typedoc needs a compiler with a JavaScript
// interface, so both are installed here, beside the repository's own, the first time that they are asked for.
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { root, run, since } from "../lib/run.mjs";

const here = join(root, "tools", "docs");
const out = join(root, "docs", "api");

/** Every path that a package exports, with its source file. @returns {Promise<[string, string][]>} */
async function exportedSources() {
  /** @type {[string, string][]} */
  const found = [];
  for (const name of await readdir(join(root, "packages"))) {
    const folder = join(root, "packages", name);
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8"));
    for (const [subpath, { source }] of Object.entries(manifest.exports)) {
      found.push([join(folder, source), subpath === "." ? manifest.name : `${manifest.name}${subpath.slice(1)}`]);
    }
  }
  return found;
}

if (!existsSync(join(here, "node_modules", "typedoc"))) {
  process.stderr.write("Installing typedoc and its compiler …\n");
  const { code, output } = await run("npm", ["install", "--no-audit", "--no-fund"], { cwd: here });
  if (code !== 0) throw new Error(`typedoc could not be installed (exit ${code})\n${output}`);
}

const start = performance.now();
const { Application, ReflectionKind } = await import("typedoc");
const sources = new Map(await exportedSources());
const app = await Application.bootstrap({
  name: "prismrec",
  entryPoints: [...sources.keys()],
  entryPointStrategy: "resolve",
  tsconfig: join(here, "tsconfig.json"),
  readme: "none",
  out,
  treatWarningsAsErrors: true,
  excludeExternals: true,
  excludeInternal: true,
  excludePrivate: true,
  disableGit: true,
  sourceLinkTemplate: "../../{path}#L{line}",
  sort: ["kind", "alphabetical"],
  validation: { notExported: true, invalidLink: true, rewrittenLink: false, notDocumented: false },
});
const project = await app.convert();
if (project === undefined) throw new Error("the packages' types could not be read");
for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
  const file = module.isDeclaration() ? module.sources?.[0]?.fullFileName : undefined;
  module.name = sources.get(file ?? "") ?? module.name;
}
// typedoc asks only about types of the package that the project is named after.
for (const name of new Set(
  Array.from(sources.values(), (path) =>
    path
      .split("/")
      .slice(0, path[0] === "@" ? 2 : 1)
      .join("/"),
  ),
)) {
  project.packageName = name;
  app.validate(project);
}
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
else {
  await app.generateOutputs(project);
  process.stdout.write(`docs/api: ${sources.size} modules (${since(start)})\n`);
}
