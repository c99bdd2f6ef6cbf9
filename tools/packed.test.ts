import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { packedFolder } from "./lib/packed.mjs";
import { root, run } from "./lib/run.mjs";

/** Every path that one of the packages exports. */
async function exportedPaths(): Promise<string[]> {
  const manifests = ["core", "llm", "trainer", "service", "cli"].map((name) =>
    join(root, "packages", name, "package.json"),
  );
  const paths: string[] = [];
  for (const path of manifests) {
    const { name, exports } = JSON.parse(await readFile(path, "utf8"));
    paths.push(...Object.keys(exports).map((subpath) => (subpath === "." ? name : `${name}/${subpath.slice(2)}`)));
  }
  return paths;
}

describe("the packed packages in an empty folder", () => {
  let packed: Awaited<ReturnType<typeof packedFolder>>;
  let paths: string[];
  beforeAll(async () => {
    [packed, paths] = [await packedFolder(), await exportedPaths()];
  }, 120_000);
  afterAll(() => packed?.remove());

  /** Runs a file there and gives what it printed. */
  async function runThere(name: string, program: string): Promise<string> {
    await writeFile(join(packed.dir, name), program);
    // The tarballs hold no addon yet: where this repository has built one, it is lent.
    const addon = join(root, "native/build/Release/prismrec_native.node");
    const lent = existsSync(addon) ? { PRISMREC_NATIVE_PATH: addon } : { PRISMREC_NATIVE: "off" };
    const env = { ...process.env, ...lent };
    const { code, output } = await run(process.execPath, ["--no-warnings", name], { cwd: packed.dir, env });
    expect(output).not.toMatch(/Error/);
    expect(code).toBe(0);
    return output;
  }

  it("hold code, types and READMEs, and nothing of the tests", () => {
    for (const [name, files] of packed.files) {
      expect(files, name).toContain("README.md");
      expect(files.filter((path) => /\.test\.|(^|\/)testing\//.test(path) && !path.startsWith("src/"))).toEqual([]);
    }
    expect([...packed.files.keys()]).toHaveLength(6);
  });

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

  // The types of tfjs, which these floors speak of, are refused by the compiler that this repository uses.
  const withTensors = /^@prismrec\/(core\/(nn|models)|trainer.*|llm)$|^prismrec\/(pipeline|command-line)$/;

  it("have types that a strict program checks without skipping any", async () => {
    const checked = paths.filter((path) => !withTensors.test(path));
    expect(checked.length).toBeGreaterThan(8);
    const lines = checked.map(
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
    expect(output).toBe("");
    expect(code).toBe(0);
  }, 60_000);
});
