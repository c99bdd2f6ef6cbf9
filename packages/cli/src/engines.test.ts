import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LlamaCppModel } from "@prismrec/llm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { OpenAiServer } from "../../llm/src/testing/openai-server.js";
import { type TinyModels, tinyModels } from "../../llm/src/testing/tiny-model.js";
import { fakeIo, prismrec } from "./testing/fake-io.js";
import { writeSmallData } from "./testing/small-data.js";

const KEY = "sk-of-the-tests-98765";
const LIMIT = 300_000;

let files: TinyModels;
let models: LlamaCppModel[];
let server: OpenAiServer;
let folder: string;
let run: string;
beforeAll(async () => {
  files = await tinyModels();
  models = await Promise.all(
    [files.llama, files.bert].map((modelPath) => LlamaCppModel.open({ modelPath, threads: 1 })),
  );
  server = await OpenAiServer.start({ models: { tiny: models[0]!, bert: models[1]! }, key: KEY });
  folder = await mkdtemp(join(tmpdir(), "prismrec-engines-"));
  run = join(folder, "run");
  await writeSmallData(folder);
  process.env.PRISMREC_LLM_KEY = KEY;
  const args = ["--interactions", join(folder, "events.csv"), "--items", join(folder, "items.csv"), "--out", run];
  expect((await prismrec(["import", ...args, "--quiet"])).code).toBe(0);
}, LIMIT);
afterAll(async () => {
  delete process.env.PRISMREC_LLM_KEY;
  await server.close();
  await Promise.all(models.map((model) => model.close()));
  await files.remove();
  await rm(folder, { recursive: true });
});

describe("a language model of a server", () => {
  it(
    "is asked within a fifth of what a dry run says, and then reads the run's items",
    async () => {
      const args = ["cluster", run, "--llm", `${server.base}#bert`, "--clusterer", "embedding", "--json"];
      const dry = await prismrec([...args, "--dry-run"]);
      expect(dry.code, dry.stderr).toBe(0);
      const cost = JSON.parse(dry.stdout) as { calls: number; kept: number; tokens: number; sampled: number };
      expect(cost).toMatchObject({ clusterer: "embedding", model: "bert", calls: 48 });
      expect(cost.kept).toBeGreaterThan(0);
      expect(cost.kept).toBeLessThan(16);
      server.seen.length = 0;
      const { code, stdout, stderr } = await prismrec(args);
      expect(code, stderr).toBe(0);
      expect(JSON.parse(stdout)).toMatchObject({ clusterer: "embedding", model: { path: `${server.base}#bert` } });
      const texts = server.take("/embeddings").flatMap(({ body }) => body.input as string[]);
      // One word is asked to see what the server can do.
      const read = texts.filter((text) => text.startsWith("Title"));
      expect(read).toHaveLength(cost.calls - cost.kept);
      expect(Math.abs(read.join("").length - cost.tokens) / cost.tokens).toBeLessThan(0.2);
    },
    LIMIT,
  );

  it(
    "is read no further where nothing has changed, and its key is in no file",
    async () => {
      server.seen.length = 0;
      const { code } = await prismrec(["cluster", run, "--json"]);
      expect(code).toBe(0);
      // Who the model is, as a file is hashed again.
      expect(server.seen.map(({ path }) => path)).toEqual(["/models"]);
      const names = await readdir(run, { recursive: true });
      expect(names).toContain(join("cache", "llm", "answers.sqlite"));
      for (const name of names) {
        const path = join(run, name);
        if ((await stat(path)).isFile()) expect((await readFile(path)).includes(KEY), name).toBe(false);
      }
    },
    LIMIT,
  );

  it(
    "is tested where no clusterer is named, with no history of a user, and is not used where it fails",
    async () => {
      const fresh = join(folder, "fresh");
      const files = ["--interactions", join(folder, "events.csv"), "--items", join(folder, "items.csv")];
      expect((await prismrec(["import", ...files, "--out", fresh, "--quiet"])).code).toBe(0);
      server.seen.length = 0;
      const { code, stdout, stderr } = await prismrec(["cluster", fresh, "--llm", `${server.base}#tiny`, "--json"]);
      expect(code, stderr).toBe(0);
      const { clusterer, notice } = JSON.parse(stdout) as { clusterer: string; notice: string };
      expect(clusterer).toBe("category");
      expect(notice).toMatch(/tiny is not used: kinds: [^:]*; interests come from/);
      expect(server.seen.length).toBeGreaterThan(40);
      expect(JSON.stringify(server.seen)).not.toContain("Title 1");
    },
    LIMIT,
  );

  it(
    "is refused where it cannot do what is asked of it, or does not know the key, with a word on what to do",
    async () => {
      const facets = await prismrec(["cluster", run, "--llm", `${server.base}#tiny`, "--clusterer", "facets"]);
      expect(facets.code).toBe(4);
      expect(facets.stderr).toContain("--clusterer kinds");
      process.env.PRISMREC_LLM_KEY = `${KEY}-wrong`;
      const refused = await prismrec(["cluster", run, "--llm", `${server.base}#tiny`, "--clusterer", "partition"]);
      process.env.PRISMREC_LLM_KEY = KEY;
      expect(refused.code).toBe(4);
      expect(refused.stderr).toContain("PRISMREC_LLM_KEY");
      expect(refused.stderr).not.toContain(KEY);
      const inAddress = await prismrec(["cluster", run, "--llm", `http://me:${KEY}@localhost/v1`]);
      expect([inAddress.code, inAddress.stderr.includes(KEY)]).toEqual([2, false]);
    },
    LIMIT,
  );
});

describe("a budget and the kept answers", () => {
  const facets = (...more: string[]): string[] => [
    "cluster",
    run,
    "--llm",
    files.llama,
    "--clusterer",
    "facets",
    ...more,
  ];

  it(
    "leaves the rest of the items to their categories, says so, and reads on with a larger one",
    async () => {
      const { code, stdout, stderr } = await prismrec(facets("--llm-budget", "60c", "--json"));
      expect(code, stderr).toBe(0);
      const { unread } = JSON.parse(stdout) as { unread: { items: number; byCategory: number } };
      expect(unread.items).toBeGreaterThan(20);
      expect(stderr).toContain(`${unread.items} of 48 items were not read`);
      const whole = await prismrec(facets("--llm-budget", "10000c,60m", "--json"));
      expect(whole.code, whole.stderr).toBe(0);
      expect(JSON.parse(whole.stdout)).not.toHaveProperty("unread");
      expect((await prismrec(facets("--llm-budget", "ten"))).code).toBe(2);
    },
    LIMIT,
  );

  it(
    "go to another run, which then asks nothing",
    async () => {
      const file = join(folder, "answers.jsonl");
      const exported = await prismrec(["answers", "export", run, file, "--json"]);
      const { answers } = JSON.parse(exported.stdout) as { answers: number };
      expect(answers).toBeGreaterThan(96);
      const cache = join(folder, "elsewhere");
      const imported = await prismrec(["answers", "import", run, file, "--llm-cache", cache, "--json"]);
      expect(JSON.parse(imported.stdout)).toEqual({ added: answers, known: 0 });
      const dry = await prismrec(facets("--llm-cache", cache, "--dry-run", "--json"));
      expect(JSON.parse(dry.stdout)).toMatchObject({ tokens: 0, sampled: 0 });
    },
    LIMIT,
  );
});

it(
  "lists models with their licences and where they lie",
  async () => {
    const { code, stdout } = await prismrec(["models"], fakeIo({ env: { XDG_CACHE_HOME: folder } }));
    expect(code).toBe(0);
    expect(stdout).toMatch(/SmolLM2-135M-Instruct +98 MB +Apache-2\.0 .* not here/);
    const unknown = await prismrec(["models", "no-such-model"], fakeIo({ env: { XDG_CACHE_HOME: folder } }));
    expect([unknown.code, unknown.stderr.includes("SmolLM2-135M-Instruct")]).toEqual([2, true]);
  },
  LIMIT,
);
