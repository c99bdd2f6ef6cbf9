// Writes docs/api, the reference of everything that the packages export. typedoc needs a compiler with a JavaScript
// interface, so both are installed here, beside the repository's own, the first time that they are asked for.
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { root, run, since } from "../lib/run.mjs";

const here = join(root, "tools", "docs");
const out = join(root, "docs", "api");

/**
 * What exported types are inferred from (schemas, lists), and what is reached through an exported object but is not to
 * be relied on; a name that is exported after all is an error.
 *
 * @type {Readonly<Record<string, readonly string[]>>}
 */
const UNEXPORTED = {
  core: [
    "ease.ts:easeSettings",
    "item-knn.ts:itemKnnSettings",
    "ials.ts:ialsSettings",
    "ials.ts:Penalty",
    "l3ae.ts:l3aeSettings",
    "blend.ts:settingsWith",
    "crowd-contrast.ts:settings",
    "terms/alignment.ts:settings",
    "label-aware.ts:settings",
    "read-time.ts:DateOrder",
  ],
  trainer: [
    "config.ts:Shape",
    "config.ts:positionsShape",
    "config.ts:cutsShape",
    "config.ts:orderSchema",
    "experiment.ts:ARMS",
    "objective.ts:Objective",
    "trainable.ts:Trainable",
  ],
  cli: [
    "run-directory.ts:manifestSchema",
    "run-directory.ts:StageContext",
    "run-directory.ts:StageResult",
    "stage-key.ts:StageSpec",
    "stages.ts:StageSettings",
    "inputs.ts:TABLES",
    "tensors.ts:ArrayReader",
    "tune.ts:resultSchema",
    "crowd.ts:reportSchema",
    "evaluate.ts:evaluationSchema",
    "networks.ts:curveSchema",
    "ablate.ts:trialSchema",
    "stage.ts:SettingsSchema",
    "serving.ts:Opener",
  ],
};

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
  displayBasePath: root,
  sourceLinkTemplate: "../../../{path}#L{line}",
  sort: ["kind", "alphabetical"],
  validation: { notExported: true, invalidLink: true, rewrittenLink: false, notDocumented: false },
});
const project = await app.convert();
if (project === undefined) throw new Error("the packages' types could not be read");
for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
  const file = module.isDeclaration() ? module.sources?.[0]?.fullFileName : undefined;
  module.name = sources.get(file ?? "") ?? module.name;
}
// typedoc asks only about types of the package that the project is named after, so it is asked once for each.
const options = app.options;
for (const name of await readdir(join(root, "packages"))) {
  project.packageName = JSON.parse(await readFile(join(root, "packages", name, "package.json"), "utf8")).name;
  app.options = options.copyForPackage(here);
  app.options.setValue("intentionallyNotExported", UNEXPORTED[name] ?? []);
  app.validate(project);
}
app.options = options;
if (app.logger.hasErrors() || app.logger.hasWarnings()) process.exitCode = 1;
else {
  await app.generateOutputs(project);
  process.stdout.write(`docs/api: ${sources.size} modules (${since(start)})\n`);
}
