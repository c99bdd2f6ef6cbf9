import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { MODEL_LIST } from "@prismrec/core/model-names";
import { describe, expect, it } from "vitest";
import { root } from "./lib/run.mjs";

const CORE = join(root, "packages/core/src");
/** From the ground up: a floor imports only those before it. `testing` holds what tests share. */
const FLOORS = ["base", "ops", "data", "metrics", "nn", "models", "interests", "recommend", "testing"];

interface Import {
  readonly from: string;
  readonly to: string;
}

/** Every import of core's sources, tests apart: `to` is a path below core's sources, or a package. */
function imports(): Import[] {
  const found: Import[] = [];
  for (const entry of readdirSync(CORE, { recursive: true, encoding: "utf8" })) {
    if (!entry.endsWith(".ts") || entry.endsWith(".test.ts")) continue;
    const text = readFileSync(join(CORE, entry), "utf8");
    for (const [, specifier = ""] of text.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)) {
      found.push({
        from: entry,
        to: specifier.startsWith(".") ? normalize(join(dirname(entry), specifier)) : specifier,
      });
    }
  }
  return found;
}

const floorOf = (path: string): number => FLOORS.indexOf(path.split("/")[0] ?? "");

describe("core", () => {
  const all = imports();

  it("has the floors that are listed and no other", () => {
    const folders = readdirSync(CORE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).sort()).toEqual([...FLOORS].sort());
    expect(all.length).toBeGreaterThan(300);
  });

  it("imports from one floor only those below it", () => {
    const upward = all.filter(({ from, to }) => floorOf(from) >= 0 && floorOf(to) > floorOf(from));
    expect(upward).toEqual([]);
  });

  it("keeps what serving does not need out of the way: the import floor is nobody's but its own and the root's", () => {
    const outside = all.filter(({ from, to }) => to.startsWith("data/import/") && !from.startsWith("data/import/"));
    expect(outside.filter(({ from }) => from !== "index.ts" && !from.startsWith("testing/"))).toEqual([]);
  });

  it.each([
    ["@duckdb/node-api", "data/import/"],
    ["@tensorflow/", "nn/"],
    ["@prismrec/native", "ops/"],
    ["pure-rand", "base/"],
  ])("lets only one folder import %s: %s", (name, folder) => {
    const users = all.filter(({ to }) => to.startsWith(name)).map(({ from }) => from);
    expect(users).not.toEqual([]);
    expect(users.filter((from) => !from.startsWith(folder) && !from.startsWith("testing/"))).toEqual([]);
  });

  it("begins on ground that depends on nothing but a generator of random numbers", () => {
    const outside = all.filter(({ from, to }) => from.startsWith("base/") && !/^(base\/|node:)/.test(to));
    expect([...new Set(outside.map(({ to }) => to.split("/")[0]))]).toEqual(["pure-rand"]);
  });

  it("hands test builders to tests alone", () => {
    expect(all.filter(({ from, to }) => to.startsWith("testing/") && !from.startsWith("testing/"))).toEqual([]);
  });
});

describe("a model's name", () => {
  /** Sources of the packages, tests and what only they use apart. */
  const sources = ["core", "llm", "trainer", "service", "cli"].flatMap((name) => {
    const folder = join(root, "packages", name, "src");
    return readdirSync(folder, { recursive: true, encoding: "utf8" })
      .filter((entry) => entry.endsWith(".ts") && !entry.endsWith(".test.ts") && !entry.includes("testing/"))
      .map((entry) => join(name, entry));
  });

  it.each(MODEL_LIST.map(({ name }) => name))(
    "%s stands in its own file and in the written list of names alone",
    (name) => {
      const literal = new RegExp(`["'\`]${name}["'\`]`);
      const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
      const users = sources.filter((path) => {
        return literal.test(withoutComments(readFileSync(join(root, "packages", path.replace("/", "/src/")), "utf8")));
      });
      expect(users.sort()).toEqual([`core/models/${name}.ts`, "core/models/names.ts"].sort());
    },
  );
});

/** What a process has loaded that imports a module: its CommonJS files and its shared libraries. */
function loadedBy(module: string): string[] {
  const script = `
    import { createRequire } from "node:module";
    await import(${JSON.stringify(module)});
    const { sharedObjects } = process.report.getReport();
    const { cache } = createRequire(process.cwd() + "/");
    console.log(JSON.stringify([...Object.keys(cache), ...sharedObjects]));`;
  const env = { ...process.env, PRISMREC_NATIVE: "off" };
  const out = execFileSync(process.execPath, ["--input-type=module", "-e", script], {
    cwd: join(root, "packages/cli"),
    env,
  });
  return JSON.parse(out.toString());
}

describe("importing", () => {
  const heavy = /duckdb|packages\/(trainer|llm|service|cli)\//;

  it("DuckDB is seen by this test where it is loaded", () => {
    expect(loadedBy("@duckdb/node-api").filter((path) => heavy.test(path))).not.toEqual([]);
  });

  it.each(["", "/recommend", "/models", "/data", "/data/import"])("@prismrec/core%s loads no DuckDB", (floor) => {
    expect(loadedBy(`@prismrec/core${floor}`).filter((path) => heavy.test(path))).toEqual([]);
  });

  it.each(["/base", "/data", "/metrics"])("@prismrec/core%s loads no tensors either", (floor) => {
    expect(loadedBy(`@prismrec/core${floor}`).filter((path) => /tensorflow/.test(path))).toEqual([]);
  });
});
