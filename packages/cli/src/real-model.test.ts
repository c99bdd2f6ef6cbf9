import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingShared, sharedPath } from "../../core/src/testing/shared.js";
import { buildPackages, type Outcome, spawnPrismrec } from "./testing/spawn.js";

const ITEMS = 90;
const USERS = 120;
/** Films that come with an update. */
const LATER = 8;
const LIMIT = 600_000;

const data = sharedPath("data", "movietweetings-100k");
const model = sharedPath("models", "SmolLM2-135M-Instruct.Q4_1.gguf");
const missing = [
  ...(data === undefined ? [missingShared("data", "movietweetings-100k")] : []),
  ...(model === undefined ? [missingShared("models", "SmolLM2-135M-Instruct.Q4_1.gguf")] : []),
];

/** The most rated films and the first users with at least eight ratings of them; what they rated of further films comes later. */
async function writeSlice(from: string, to: string): Promise<void> {
  const [header = "", ...rows] = (await readFile(join(from, "interactions.csv"), "utf8")).trim().split("\n");
  const itemOf = (row: string): string => row.split(",")[1] ?? "";
  const userOf = (row: string): string => row.split(",")[0] ?? "";
  const counts = new Map<string, number>();
  for (const row of rows) counts.set(itemOf(row), (counts.get(itemOf(row)) ?? 0) + 1);
  const films = [...counts].sort(([, a], [, b]) => b - a).map(([item]) => item);
  const kept = new Set(films.slice(0, ITEMS));
  const byUser = new Map<string, string[]>();
  for (const row of rows) if (kept.has(itemOf(row))) byUser.set(userOf(row), [...(byUser.get(userOf(row)) ?? []), row]);
  const users = [...byUser.values()].filter((own) => own.length >= 8).slice(0, USERS);
  await writeFile(join(to, "events.csv"), `${[header, ...users.flat()].join("\n")}\n`);
  const further = new Set(films.slice(ITEMS, ITEMS + LATER));
  const chosen = new Set(users.map(([row = ""]) => userOf(row)));
  const later = rows.filter((row) => further.has(itemOf(row)) && chosen.has(userOf(row)));
  await writeFile(join(to, "later.csv"), `${[header, ...later].join("\n")}\n`);
}

describe.skipIf(missing.length > 0)(
  `prismrec run with a real model${missing.map((why) => `: ${why}`).join("")}`,
  () => {
    let folder: string;
    let outcome: Outcome;

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "prismrec-real-"));
      await Promise.all([writeSlice(data ?? "", folder), buildPackages()]);
      const inputs = ["--interactions", join(folder, "events.csv"), "--items", join(data ?? "", "items.csv")];
      outcome = await spawnPrismrec(
        ["run", ...inputs, "--llm", model ?? "", "--epochs", "1", "--out", join(folder, "run")],
        { env: { PRISMREC_THREADS: "2" } },
      );
    }, LIMIT);

    afterAll(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    it("reads real films, names interests by what the model said and finishes with a report", async () => {
      expect([outcome.code, outcome.stderr.includes("✖")]).toEqual([0, false]);
      expect(outcome.stderr).toContain("(facets, SmolLM2-135M-Instruct.Q4_1.gguf)");
      const cluster = JSON.parse(await readFile(join(folder, "run/cluster/cluster.json"), "utf8"));
      expect(cluster.facets.length).toBeGreaterThan(5);
      const words = new Set(cluster.facets);
      const labels: string[] = cluster.labels.test.flat();
      expect(labels.length).toBeGreaterThan(0);
      for (const label of labels) {
        if (label !== "mixed") for (const word of label.split(", ")) expect(words.has(word)).toBe(true);
      }
    });

    it("recommends with the model's own words, the model being needed no more", async () => {
      const users = (await readFile(join(folder, "events.csv"), "utf8")).split("\n");
      const user = users[1]?.split(",")[0] ?? "";
      const { code, stdout } = await spawnPrismrec(["recommend", join(folder, "run"), "--user", user, "--json"]);
      expect(code).toBe(0);
      const { items, interests } = JSON.parse(stdout);
      expect(items.length).toBe(10);
      expect(interests.some(({ labels }: { labels: string[] }) => labels.length > 0)).toBe(true);
    });

    it(
      "asks the model nothing twice",
      async () => {
        await rm(join(folder, "run/cluster"), { recursive: true });
        const inputs = ["--interactions", join(folder, "events.csv"), "--items", join(data ?? "", "items.csv")];
        const again = await spawnPrismrec(
          ["run", ...inputs, "--llm", model ?? "", "--epochs", "1", "--out", join(folder, "run"), "--verbose"],
          {},
        );
        expect(again.code).toBe(0);
        expect(again.stderr).toMatch(/\d+ answers of the model are kept/);
        expect(again.stdout).toBe(outcome.stdout);
      },
      LIMIT,
    );

    it(
      "reads new films alone when the run is updated, each once, whatever they do to the catalog",
      async () => {
        const run = join(folder, "run");
        const answers = async (): Promise<Set<string>> => {
          const file = join(folder, "answers.jsonl");
          const { code } = await spawnPrismrec(["answers", "export", run, file]);
          expect(code).toBe(0);
          return new Set((await readFile(file, "utf8")).trim().split("\n"));
        };
        const items = async (): Promise<number> =>
          JSON.parse(await readFile(join(run, "import/items.json"), "utf8")).length;
        const [known, before] = [await answers(), await items()];
        const { code, stdout } = await spawnPrismrec(["update", run, "-i", join(folder, "later.csv"), "--json"], {
          env: { PRISMREC_THREADS: "2" },
        });
        expect(code).toBe(0);
        const { added } = JSON.parse(stdout);
        expect(added.items).toBe((await items()) - before);
        expect(added.items).toBeGreaterThan(3);
        const read = [...(await answers())].filter((answer) => !known.has(answer));
        expect(read).toHaveLength(added.items);
      },
      LIMIT,
    );
  },
);
