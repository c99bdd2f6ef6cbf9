import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root, run } from "./lib/run.mjs";

// Snippets run as they stand in the documents, from a folder inside the workspace, so that imports resolve.
const folder = join(root, "tools", ".readme-snippets");

async function readmes(): Promise<string[]> {
  const packages = await readdir(join(root, "packages"));
  return ["README.md", "native/README.md", ...packages.map((name) => `packages/${name}/README.md`)];
}

function snippets(text: string, language: string): string[] {
  return Array.from(text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, "gms")), ([, code]) => code ?? "");
}

/** Runs a program that was written here and gives the lines that it printed. */
async function printed(name: string, code: string): Promise<unknown[][]> {
  const path = join(folder, name);
  await writeFile(path, code);
  const lines: unknown[][] = [];
  const original = console.log;
  console.log = (...values: unknown[]) => void lines.push(values);
  try {
    await import(path);
  } finally {
    console.log = original;
  }
  return lines;
}

beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Documents that people read, below the root; what is generated from sources has a test of its own. */
async function documents(): Promise<string[]> {
  const docs = (await readdir(join(root, "docs"), { recursive: true })).filter(
    (name) => name.endsWith(".md") && !name.startsWith("api"),
  );
  return [...(await readmes()), "CONTRIBUTING.md", "CHANGELOG.md", ...docs.map((name) => `docs/${name}`)];
}

/** The anchors of a document's headings, as GitHub makes them. */
const anchors = (text: string): string[] =>
  Array.from(text.matchAll(/^#+ (.*)$/gm), ([, title = ""]) =>
    title
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .replaceAll(" ", "-"),
  );

it("the documents' links lead to files that are there, and to headings in them", async () => {
  const broken: string[] = [];
  let followed = 0;
  for (const file of await documents()) {
    const text = await readFile(join(root, file), "utf8");
    for (const [, link = ""] of text.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)) {
      const [path = "", anchor] = link.split("#");
      const target = path === "" ? join(root, file) : join(root, dirname(file), path);
      const found = await stat(target).catch(() => undefined);
      const there =
        anchor === undefined || (found?.isFile() && anchors(await readFile(target, "utf8")).includes(anchor));
      if (found === undefined || !there) broken.push(`${file}: ${link}`);
      followed++;
    }
  }
  expect(broken).toEqual([]);
  expect(followed).toBeGreaterThan(50);
});

it("CONTRIBUTING names only files that are there", async () => {
  const text = await readFile(join(root, "CONTRIBUTING.md"), "utf8");
  const named = Array.from(
    text.matchAll(/`((?:packages|tools|docs|native|benchmarks)\/[\w./-]+)`/g),
    ([, path = ""]) => path,
  );
  expect(named.length).toBeGreaterThan(8);
  const generated = ["docs/api"];
  const missing = named.filter(
    (path) => !path.includes("NAME") && !generated.includes(path) && !existsSync(join(root, path)),
  );
  expect(missing).toEqual([]);
});

describe("the documents' snippets", async () => {
  for (const file of await readmes()) {
    const text = await readFile(join(root, file), "utf8");
    for (const [i, code] of snippets(text, "ts").entries()) {
      it(`snippet ${i + 1} of ${file} runs and prints something`, async () => {
        const lines = await printed(`${file.replaceAll("/", "-")}-${i}.ts`, code);
        expect(lines.length).toBeGreaterThan(0);
      });
    }
  }

  it("the program of the guide to the library runs from its first piece to its last", async () => {
    const text = await readFile(join(root, "docs/guides/library-in-ten-minutes.md"), "utf8");
    const here = process.cwd();
    const place = await mkdtemp(join(tmpdir(), "prismrec-guide-"));
    process.chdir(place);
    try {
      const lines = await printed("library-in-ten-minutes.ts", snippets(text, "ts").join("\n"));
      const all = lines.map((values) => values.map((value) => JSON.stringify(value)).join(" ")).join("\n");
      expect(all).toContain("ldmi: 300 users, 90 items");
      expect(all).toMatch(/A thing of \w+, number \d+: .*because of i\d+/);
      expect(all).toContain('"unknown:" ["gone"]');
      expect(all).toMatch(/A thing of (chess|knitting), number \d*[0-4]" /);
      expect(all).toContain("UNKNOWN_USER");
      // What was saved and opened answers as before.
      expect(lines).toContainEqual([true]);
      expect(lines).not.toContainEqual([false]);
    } finally {
      process.chdir(here);
      await rm(place, { recursive: true, force: true });
    }
  });

  it("names only commands that the command line has", async () => {
    const help = (await run(process.execPath, [join(root, "packages/cli/bin/prismrec.js"), "--help"])).output;
    const named = new Set<string>();
    for (const file of await readmes()) {
      const text = await readFile(join(root, file), "utf8");
      for (const [, command] of text.matchAll(/^(?:npx )?prismrec ([a-z][a-z-]*)/gm)) named.add(command ?? "");
    }
    expect(named.size).toBeGreaterThan(3);
    for (const command of named) expect(help).toMatch(new RegExp(`^\\s+${command}\\b`, "m"));
  });
});
