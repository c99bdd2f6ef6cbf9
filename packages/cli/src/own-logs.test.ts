import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { missingShared, sharedPath } from "../../core/src/testing/shared.js";
import { buildPackages, spawnPrismrec } from "./testing/spawn.js";

const LIMIT = 240_000;
const MODEL = ["models", "SmolLM2-135M-Instruct.Q4_1.gguf"];
const model = sharedPath(...MODEL);

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-logs-"));
  await buildPackages();
}, LIMIT);

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function write(name: string, lines: readonly string[]): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `${lines.join("\n")}\n`);
  return path;
}

/** Sixty listeners of two of six styles, who play ten of their songs several times: thirty plays each. */
function plays(): string[] {
  const lines = ["listener_id,song_id,session_id,started,rating,event"];
  for (let user = 0; user < 60; user++) {
    for (let n = 0; n < 30; n++) {
      const style = n % 2 === 0 ? user % 6 : (user + 1) % 6;
      const song = style * 10 + ((user + (n >> 1) * (1 + (n % 3))) % 10);
      const time = new Date(1_600_000_000_000 + user * 1e7 + n * 1e5).toISOString().replace("T", " ").slice(0, 19);
      lines.push(`u${user},s${song},x${user}-${n >> 3},${time},${(n % 5) + 1},${n % 4 === 0 ? "skip" : "play"}`);
    }
  }
  return lines;
}

const COLUMNS = ["--user-column", "listener_id", "--time-column", "started"];

describe("prismrec import of an ordinary log", () => {
  it(
    "prints the columns it took, what it passed over and what it left out, and says the same as JSON",
    async () => {
      const log = await write("plays.csv", plays());
      const out = join(folder, "told");
      const filters = ["--events", "play=2", "--min-rating", "2"];
      const { code, stdout, stderr } = await spawnPrismrec([
        ...["import", "-i", log, ...COLUMNS, ...filters, "--out", out, "--json"],
      ]);
      expect(code).toBe(0);
      expect(stderr).toContain(
        'columns: user "listener_id", item "song_id", time "started", rating "rating", event "event"; 100.0 % of rows have a time',
      );
      expect(stderr).toContain("rows rated 2 or more count, all alike");
      expect(stderr).toContain("events that count, all alike: 1,080 play");
      expect(stderr).toContain("times without a zone are taken as UTC");
      expect(stderr).toContain('passed over: "session_id" (--user-column session_id)');
      const report = JSON.parse(stdout);
      expect(report.events).toEqual([{ name: "play", weight: 2, rows: 1080 }]);
      expect(report.drops.map(({ reason }: { reason: string }) => reason)).toEqual([
        "other-event",
        "below-min-rating",
        "duplicate",
      ]);
      const config = JSON.parse(await readFile(join(out, "prismrec.config.json"), "utf8"));
      expect(config).toMatchObject({ events: ["play=2"], minRating: 2 });
    },
    LIMIT,
  );

  it(
    "reads the same times whatever the machine's zone",
    async () => {
      const log = await write("zones.csv", plays());
      const times = await Promise.all(
        ["UTC", "America/New_York", "Asia/Kathmandu"].map(async (TZ, n) => {
          const out = join(folder, `zone-${n}`);
          const { code } = await spawnPrismrec(["import", "-i", log, ...COLUMNS, "--out", out], { env: { TZ } });
          expect(code).toBe(0);
          return (await readFile(join(out, "import", "timestamps.i64"))).toString("base64");
        }),
      );
      expect(new Set(times).size).toBe(1);
      expect(Buffer.from(times[0]!, "base64").readBigInt64LE()).toBe(1_600_000_000_000_000n);
    },
    LIMIT,
  );

  it(
    "says that the order was drawn, and imports again when it is to be the file's",
    async () => {
      const log = await write(
        "untimed.csv",
        plays().map((line) => line.split(",").slice(0, 2).join(",")),
      );
      const out = join(folder, "drawn");
      const args = ["import", "-i", log, "--user-column", "listener_id", "--out", out, "--json"];
      const drawn = await spawnPrismrec(args);
      expect(drawn.stderr).toContain("each user's order is drawn from the seed (--order file takes the file's)");
      const filed = await spawnPrismrec([...args, "--order", "file"]);
      expect(filed.stderr).not.toContain("as before");
      expect(JSON.parse(filed.stdout).order).toEqual({ by: "file", ties: "file", timedShare: 0 });
      expect(JSON.parse(filed.stdout).dataset).not.toBe(JSON.parse(drawn.stdout).dataset);
    },
    LIMIT,
  );

  it("refuses a filter that cannot be read, before anything is", async () => {
    const { code, stderr } = await spawnPrismrec([
      "import",
      "-i",
      "absent.csv",
      "--min-rating",
      "high",
      "--out",
      folder,
    ]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("Give a number")]);
  });
});

describe("prismrec run with repeats kept", () => {
  it(
    "trains, evaluates, reports and recommends, and never counts a repeat twice",
    async () => {
      const log = await write("repeats.csv", plays());
      const styles = Array.from({ length: 60 }, (_, song) => `s${song},Song ${song},style ${Math.floor(song / 10)}`);
      const items = await write("songs.csv", ["song_id,title,categories", ...styles]);
      const out = join(folder, "repeats");
      const { code, stdout, stderr } = await spawnPrismrec([
        ...["run", "-i", log, "--items", items, ...COLUMNS, "--repeats", "keep", "--json"],
        ...["--clusterer", "category", "--epochs", "1", "--out", out],
      ]);
      expect([code, stderr.includes("✖")]).toEqual([0, false]);
      const { models } = JSON.parse(stdout);
      for (const model of ["ldmi", "most-popular", "item-knn", "ease"]) {
        for (const value of Object.values<number>(models[model])) expect(value >= 0 && value <= 1).toBe(true);
      }
      const imported = JSON.parse(await readFile(join(out, "import", "report.json"), "utf8"));
      expect(imported).toMatchObject({ repeats: "keep", kept: { events: 1800 } });
      expect(await readFile(join(out, "report", "report.html"), "utf8")).toContain(
        "ratings in &quot;rating&quot; are ignored",
      );
      const recommended = await spawnPrismrec(["recommend", out, "--user", "u1", "-k", "5", "--json"]);
      const found = JSON.parse(recommended.stdout).items.map(({ id }: { id: string }) => id);
      const own = plays().flatMap((line) => (line.startsWith("u1,") ? [line.split(",")[1]] : []));
      expect(found.length).toBe(5);
      expect(found.filter((id: string) => own.includes(id))).toEqual([]);
    },
    LIMIT,
  );
});

describe("a language model without titles", () => {
  it.skipIf(model === undefined)(
    `is warned of before it reads anything${model === undefined ? ` (${missingShared(...MODEL)})` : ""}`,
    async () => {
      const log = await write("untitled.csv", plays());
      const args = ["run", "-i", log, ...COLUMNS, "--llm", model!, "--out", join(folder, "untitled")];
      const { code, stderr } = await spawnPrismrec(args, { interruptAt: "to read titles" });
      expect(code).toBe(130);
      expect(stderr).toContain("a language model is to read titles, but 0.0 % of the items have one");
      expect(stderr).not.toContain("✔ cluster");
    },
    LIMIT,
  );
});
