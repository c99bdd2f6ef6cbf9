import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TinyModels, tinyModels } from "../../llm/src/testing/tiny-model.js";
import { openRun } from "./pipeline/index.js";
import { writeSmallData } from "./testing/small-data.js";

const LIMIT = 120_000;

let folder: string;
let models: TinyModels;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-kinds-"));
  await writeSmallData(folder);
  models = await tinyModels();
}, LIMIT);
afterAll(async () => {
  await models.remove();
  await rm(folder, { recursive: true });
});

/** A run as far as its clusters: what it says, what it warns of, and the report of the stage. */
async function clustered(name: string, settings: object) {
  const dir = join(folder, name);
  const said: string[] = [];
  const inputs = { interactions: join(folder, "events.csv"), items: join(folder, "items.csv") };
  const run = async () => {
    await using opened = await openRun(
      dir,
      { ...inputs, ...settings },
      { onEvent: (event) => void ("text" in event && said.push(`${event.type}: ${event.text}`)) },
    );
    return await opened.run({ to: "cluster" });
  };
  const stages = await run();
  const report = JSON.parse(await readFile(join(dir, "cluster", "cluster.json"), "utf8"));
  return { stages, said, report, again: run };
}

describe("the cluster stage", () => {
  it(
    "goes by recorded kinds joined with the words of titles, is made again for other kinds, and says what is not known",
    async () => {
      const kinds = join(folder, "kinds.csv");
      const write = (last: string): Promise<void> => {
        const rows = Array.from({ length: 47 }, (_, item) => `i${item},"topic ${item % 3}, thing"`);
        return writeFile(kinds, `${["id,kind", ...rows, `i47,${last}`].join("\n")}\n`);
      };
      await write("");
      const clusterer = "recorded-kinds+title-words";
      const { report, said, again } = await clustered("recorded", { clusterer, kinds });
      expect(report.clusterer).toBe(clusterer);
      expect(report.clusters.mean).toBeGreaterThan(1);
      expect(said.join("\n")).toContain("1 of 48 items have nothing");
      expect((await again()).map(({ reused }) => reused)).toEqual([true, true]);
      await write("topic 2");
      expect((await again()).map(({ reused }) => reused)).toEqual([true, false]);
    },
    LIMIT,
  );

  it(
    "tests a language model before it uses it, says in a line why it does not, and does not test it twice",
    async () => {
      const { report, said, again } = await clustered("refused", { llm: models.llama });
      expect(report.clusterer).toBe("category");
      expect(report.notice).toMatch(/is not used: kinds: .*; facets: .*; interests come from the items' categories/);
      expect(said.filter((line) => line.startsWith("warning"))).toEqual([expect.stringContaining("is not used")]);
      expect((await again()).map(({ reused }) => reused)).toEqual([true, true]);
    },
    LIMIT,
  );

  it(
    "reads titles with the embedding model of its own setting, without a language model",
    async () => {
      const { report } = await clustered("embedded", {
        clusterer: "embedding+category",
        embedder: models.bert,
        llm: "none",
      });
      expect(report).toMatchObject({ clusterer: "embedding+category", embedder: { path: models.bert } });
    },
    LIMIT,
  );

  it("refuses names that are none, joins of what cannot be joined, and kinds without a file", async () => {
    for (const [clusterer, received] of [
      ["magic", "must be one of"],
      ["kinds+magic", "no clusterer called"],
      ["kinds+partition", "cannot be a member"],
      ["recorded-kinds", "needs a file of kinds"],
    ] as const) {
      await expect(clustered("none", { clusterer })).rejects.toMatchObject({
        code: "CONFIG_INVALID",
        received: expect.stringContaining(received),
      });
    }
  });
});
