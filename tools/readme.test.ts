import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
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

beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("the documents' snippets", async () => {
  for (const file of await readmes()) {
    const text = await readFile(join(root, file), "utf8");
    for (const [i, code] of snippets(text, "ts").entries()) {
      it(`snippet ${i + 1} of ${file} runs and prints something`, async () => {
        const path = join(folder, `${file.replaceAll("/", "-")}-${i}.ts`);
        await writeFile(path, code);
        const lines: unknown[][] = [];
        const original = console.log;
        console.log = (...values: unknown[]) => void lines.push(values);
        try {
          await import(path);
        } finally {
          console.log = original;
        }
        expect(lines.length).toBeGreaterThan(0);
      });
    }
  }

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
