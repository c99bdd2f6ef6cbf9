import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packedFolder } from "./lib/packed.mjs";
import { NODES, nodeOf, USE, used } from "./lib/packed-use.mjs";
import { root, run } from "./lib/run.mjs";
import { tinyGguf } from "./tiny-gguf.mjs";

/** Every path that the packages beside the addon's export. */
async function exportedPaths(folders: readonly string[]): Promise<string[]> {
  const paths: string[] = [];
  for (const folder of folders.filter((folder) => folder !== "native")) {
    const { name, exports } = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
    paths.push(...Object.keys(exports).map((subpath) => (subpath === "." ? name : `${name}/${subpath.slice(2)}`)));
  }
  return paths;
}

const addonIsBuilt = existsSync(join(root, "native/build/Release/prismrec_native.node"));

describe("the packed packages, installed into an empty folder", () => {
  let packed: Awaited<ReturnType<typeof packedFolder>>;
  let paths: string[];
  beforeAll(async () => {
    packed = await packedFolder();
    paths = await exportedPaths(packed.packages.map(({ folder }) => folder));
  }, 240_000);
  afterAll(() => packed?.remove());

  /** Of a user who has set nothing. */
  function newcomer(): NodeJS.ProcessEnv {
    const unset = { PRISMREC_NATIVE: undefined, PRISMREC_NATIVE_PATH: undefined, PRISMREC_LLM: undefined };
    // Caches of models are not what a new machine has.
    return { ...unset, XDG_CACHE_HOME: join(packed.dir, "cache") };
  }

  /** Runs Node there; gives what it printed. */
  async function node(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number; output: string }> {
    return run(process.execPath, ["--no-warnings", ...args], { cwd: packed.dir, env: { ...newcomer(), ...env } });
  }

  /** Writes a file there, runs it, and gives what it printed. */
  async function runThere(name: string, program: string): Promise<string> {
    await writeFile(join(packed.dir, name), program);
    const { code, output } = await node([name]);
    expect(output).not.toMatch(/Error/);
    expect(code).toBe(0);
    return output;
  }

  it("hold code, types, sources, READMEs and the licence, and nothing of the tests", async () => {
    const licence = await readFile(join(root, "LICENSE"), "utf8");
    for (const { name, folder, files } of packed.packages) {
      expect(files, name).toEqual(expect.arrayContaining(["README.md", "LICENSE", "package.json"]));
      expect(
        files.filter((path) => /\.test\.|(^|\/)(testing|test)\/|_test\.|_bench\.|tsbuildinfo/.test(path)),
        name,
      ).toEqual([]);
      expect(await readFile(join(root, folder, "LICENSE"), "utf8")).toBe(licence);
      const { repository } = JSON.parse(await readFile(join(root, folder, "package.json"), "utf8"));
      expect(repository).toMatchObject({ type: "git", directory: folder });
    }
    expect(packed.packages.length).toBeGreaterThanOrEqual(5);
  });

  it("have source maps that lead to sources in the same tarball", async () => {
    let followed = 0;
    for (const { name, files } of packed.packages) {
      for (const path of files.filter((file) => file.endsWith(".map"))) {
        const map = join(packed.dir, "node_modules", name, path);
        const { sources } = JSON.parse(await readFile(map, "utf8"));
        for (const source of sources) expect(existsSync(join(dirname(map), source)), `${name} ${path}`).toBe(true);
        followed++;
      }
    }
    expect(followed).toBeGreaterThan(500);
  });

  it("are small, and run no script at installing", async () => {
    expect(packed.installed.megabytes).toBeLessThan(250);
    const { packages } = JSON.parse(await readFile(join(packed.dir, "package-lock.json"), "utf8"));
    const scripted = Object.entries<{ hasInstallScript?: boolean }>(packages).filter(([, one]) => one.hasInstallScript);
    expect(scripted.map(([path]) => path)).toEqual([]);
    expect(Object.keys(packages)).not.toContain("node_modules/node-llama-cpp");
    expect(Object.keys(packages).length).toBeGreaterThan(50);
  });

  it("satisfy publint, and arethetypeswrong but for what ES modules alone cannot", async () => {
    // Node 10's resolution knows no exports, and every Node from 20.19 on takes a require that meets an ES module.
    const ignored = new Set<string | undefined>(["node10", "node16-cjs"]);
    for (const { name, tarball } of packed.packages) {
      const bytes = await readFile(tarball);
      const { messages } = await publint({ pack: { tarball: Uint8Array.from(bytes).buffer }, strict: true });
      expect(messages, name).toEqual([]);
      const types = await checkPackage(createPackageFromTarballData(bytes));
      const problems = types.types === false ? ["no types"] : types.problems;
      expect(
        problems.filter(
          (problem) =>
            typeof problem === "string" || !("resolutionKind" in problem) || !ignored.has(problem.resolutionKind),
        ),
        name,
      ).toEqual([]);
    }
  }, 120_000);

  it.runIf(addonIsBuilt)("load the prebuilt addon out of the tarball", async () => {
    const printed = await runThere(
      "addon.mjs",
      `import { native, nativeUnavailableReason } from "@prismrec/core/ops";
      console.log(nativeUnavailableReason(), native()?.runtimeInfo().compiler);
      console.log(process.report.getReport().sharedObjects.filter((path) => path.includes("prismrec")).join());`,
    );
    const platform = `${process.platform}-${process.arch}`;
    expect(printed).toMatch(/^undefined \w+ \d+/);
    expect(printed).toContain(join("node_modules/@prismrec/native/prebuilds", platform, "prismrec_native"));
  });

  it("say how to build the addon where there is none, and how to install llama.cpp; the rest works", async () => {
    // An addon that cannot be loaded, as where the system's C library is older than it needs.
    await writeFile(join(packed.dir, "broken.node"), "not an addon");
    const broken = { PRISMREC_NATIVE_PATH: join(packed.dir, "broken.node") };
    const bin = "node_modules/prismrec/bin/prismrec.js";
    const doctor = await node([bin, "doctor"], broken);
    const build = join(packed.dir, "node_modules/@prismrec/native/build.js");
    expect(doctor.output).toContain("not loaded, TypeScript stands in (slower): cannot load");
    expect(doctor.output).toContain(`Build it with: node "${build}"`);
    expect(existsSync(build)).toBe(true);
    expect(doctor.output).toContain("npm install node-llama-cpp@^");
    expect(doctor.output).toContain("Everything a run needs is here.");
    expect(doctor.code).toBe(0);

    const model = join(packed.dir, "tiny.gguf");
    await writeFile(model, tinyGguf());
    const probe = await node([bin, "probe", "--llm", model, "--json"]);
    expect(JSON.parse(probe.output)).toMatchObject({
      error: { code: "LLM_ENGINE_MISSING", hint: expect.stringContaining("npm install node-llama-cpp@^") },
    });
    expect(probe.code).toBe(4);
  }, 60_000);

  it("can be imported and required, by every path that they export", async () => {
    const listed = JSON.stringify(paths);
    const imported = await runThere(
      "all.mjs",
      `for (const path of ${listed}) console.log(path, Object.keys(await import(path)).length);`,
    );
    const required = await runThere(
      "all.cjs",
      `for (const path of ${listed}) console.log(path, Object.keys(require(path)).length);`,
    );
    expect(imported.trim().split("\n")).toHaveLength(paths.length);
    for (const line of imported.trim().split("\n")) expect(line).toMatch(/ [1-9]\d*$|\/events 0$/);
    // Node adds a name of its own to what it gives a require of an ES module.
    expect(
      required
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(paths);
  }, 60_000);

  it("run the README's program, as an ES module and as CommonJS", async () => {
    const readme = await readFile(join(root, "README.md"), "utf8");
    const program = /^```ts\n(import \{ fit \}.*?)^```/ms.exec(readme)?.[1] ?? "";
    expect(program.trim().split("\n").length).toBeLessThan(20);
    const [head = "", ...body] = program.split("\n");
    const printed = await runThere("readme.mjs", program);
    expect(printed).toMatch(/because of/);
    const required = head.replace(/import (.*) from "(.*)";/, 'const $1 = require("$2");');
    const main = `(async () => {\n${body.join("\n")}\n})();\n`;
    expect(await runThere("readme.cjs", `${required}\n${main}`)).toBe(printed);
  }, 120_000);

  it.for(NODES)("train, open and serve a model under Node %s", { timeout: 240_000 }, async (version, { skip }) => {
    const found = await nodeOf(version);
    // Where there is no registry to ask; the other versions are still used.
    if ("missing" in found) return skip(found.missing);
    await writeFile(join(packed.dir, "use.mjs"), USE);
    const said = await used(found.node, "use.mjs", packed.dir, newcomer());
    expect(said).toMatchObject({ addon: addonIsBuilt, trained: expect.stringMatching(/-\d+$/), served: true });
    expect(said.node).toMatch(new RegExp(`^v${version}\\.`));
  });

  /** What the compiler says of a strict program that imports these. */
  async function compiled(imported: readonly string[]): Promise<string[]> {
    const lines = imported.map(
      (path, n) => `import * as m${n} from "${path}";\nexport const k${n} = Object.keys(m${n});\n`,
    );
    await writeFile(join(packed.dir, "types.mts"), lines.join(""));
    const config = {
      compilerOptions: {
        strict: true,
        noEmit: true,
        module: "nodenext",
        target: "es2022",
        types: ["node"],
        skipLibCheck: false,
      },
      files: ["types.mts"],
    };
    await writeFile(join(packed.dir, "tsconfig.json"), JSON.stringify(config));
    const { code, output } = await run(process.execPath, [join(root, "node_modules/typescript/bin/tsc"), "-p", "."], {
      cwd: packed.dir,
    });
    expect(code === 0).toBe(output === "");
    return output.split("\n").filter((line) => /^\S.*: error /.test(line));
  }

  // These speak of tensors: TypeScript 7 refuses tfjs-core's own declarations (`Long`, and WebGPU's beside its DOM's).
  const withTensors = /^@prismrec\/(core\/(nn|models)|trainer.*)$|^prismrec\/(pipeline|command-line)$/;

  it("have types that a strict program checks without skipping any", async () => {
    const checked = paths.filter((path) => !withTensors.test(path));
    expect(checked.length).toBeGreaterThan(8);
    expect(await compiled(checked)).toEqual([]);
  }, 60_000);

  it("have types with tensors in which only those of tfjs are refused", async () => {
    const refused = await compiled(paths.filter((path) => withTensors.test(path)));
    expect(refused.filter((line) => !/@tensorflow\/|@webgpu\/|lib\.dom\.d\.ts/.test(line))).toEqual([]);
  }, 60_000);
});
