// A model that reads users' profiles, from the files to a process that has only what was saved. In a file of its own,
// because a model has to be registered before `prismrec` is imported.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRandom } from "@prismrec/core/base";
import { loadDataset } from "@prismrec/core/data";
import { registerModel } from "@prismrec/core/models";
import { defaultTrainConfig, evaluate, train } from "@prismrec/trainer";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root, run } from "../lib/run.mjs";
import { profilePool } from "./profile-model.mjs";

const COUNTRIES = ["DE", "FR", "IT"];
/** Items that anybody takes, and for every country and age group four of its own. */
const COMMON = 20;
const OWN = 4;

/** Histories that say nothing: the last item of each depends on the user's country and age alone. */
function shop(users: number) {
  const random = createRandom(7, "profiles");
  const people = Array.from({ length: users }, (_, u) => ({
    id: `u${u}`,
    country: COUNTRIES[u % 3]!,
    age: random.integer(0, 2) === 0 ? 20 + random.integer(0, 10) : 55 + random.integer(0, 10),
  }));
  const interactions = people.flatMap(({ id: user, country, age }) => {
    const common = random.shuffle(Array.from({ length: COMMON }, (_, i) => `c${i}`)).slice(0, 6);
    const last = `${country}-${age < 40 ? "young" : "old"}-${random.integer(0, OWN)}`;
    return [...common, last].map((item, time) => ({ user, item, time }));
  });
  return { people, interactions };
}

const { people, interactions } = shop(900);
const settings = { train: { network: { dim: 16 }, minHistory: 6, batchSize: 64, stopping: { epochs: 25 } } };
/** The last event of seven is the target. */
const split = { historyShare: 0.9 };
const built = existsSync(join(root, "packages", "cli", "dist", "index.js"));

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "prismrec-profile-"));
  registerModel(profilePool);
});
afterAll(() => rm(dir, { recursive: true, force: true }));

describe("a model that reads profiles", () => {
  it("learns from them what nothing else tells, is saved, and serves with and without them in a process of its own", async () => {
    const prismrec = await import("prismrec");
    const where = join(dir, "run");
    const options = { model: "profile-pool", llm: "none", dir: where, settings: { ...settings, split } };
    await using shop = await prismrec.fit({ interactions, users: people }, options);

    const { dataset } = await loadDataset(join(where, "import"));
    expect([...dataset.log.profile!.keys()]).toEqual(["country", "age"]);
    const recallOf = async (profile: boolean): Promise<number> => {
      const { network, ...rest } = settings.train;
      const config = defaultTrainConfig("profile-pool", dataset, { ...rest, network: { ...network, profile } });
      const { model } = await train({ dataset }, config, { dir: join(dir, `profile ${profile}`) });
      const { metrics } = await evaluate(model, dataset, { part: "test", metrics: [`recall@${OWN}`] });
      return metrics[`recall@${OWN}`]!;
    };
    // Where the profile is not read, four of the 24 items that come last are a guess.
    expect(await recallOf(true)).toBeGreaterThan(0.9);
    expect(await recallOf(false)).toBeLessThan(0.35);

    const history = ["c1", "c2", "c3", "c4", "c5", "c6"];
    const requests = [
      people[5]!.id,
      { history, profile: { country: "FR", age: 25 } },
      { history, profile: { country: "IT", age: 61 } },
      { history, profile: { country: "XX", age: null } },
      { history },
    ];
    const answers = await shop.recommendMany(requests, { k: OWN });
    const [ofUser, french, italian, unknown, none] = answers.map(({ items }) => items.map(({ id }) => id).sort());
    const own = (country: string, age: string) => Array.from({ length: OWN }, (_, i) => `${country}-${age}-${i}`);
    const taken = interactions.filter(({ user }) => user === people[5]!.id).map(({ item }) => item);
    const group = own(people[5]!.country, people[5]!.age < 40 ? "young" : "old");
    expect(ofUser).toEqual(expect.arrayContaining(group.filter((id) => !taken.includes(id))));
    expect(french).toEqual(own("FR", "young"));
    expect(italian).toEqual(own("IT", "old"));
    expect(unknown).toEqual(none);
    expect(answers[3]).toEqual(answers[4]);

    if (!built) return;
    const saved = join(dir, "saved");
    await shop.save(saved);
    const script = [
      `const { registerModel } = await import("@prismrec/core/models");`,
      `registerModel((await import(${JSON.stringify(join(root, "tools/seams/profile-model.mjs"))})).profilePool);`,
      `const { open } = await import("prismrec");`,
      `const shop = await open(${JSON.stringify(saved)});`,
      `console.log(JSON.stringify(await shop.recommendMany(${JSON.stringify(requests)}, { k: ${OWN} })));`,
      `await shop.close();`,
    ].join("\n");
    const { code, output } = await run(process.execPath, ["--input-type=module", "-e", script]);
    expect(code, output).toBe(0);
    expect(JSON.parse(output)).toEqual(answers);
  });

  it("refuses a column that users do not have, and a value that is not of its kind", async () => {
    const prismrec = await import("prismrec");
    await using shop = await prismrec.open(join(dir, "run"));
    const ask = (profile: Record<string, unknown>) => shop.recommend({ history: ["c1"], profile: profile as never });
    await expect(ask({ contry: "DE" })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      hint: 'Did you mean "country"?',
    });
    await expect(ask({ age: "25" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT", expected: "a finite number" });
  });

  it("is asked from the command line", async () => {
    const { PassThrough } = await import("node:stream");
    const { EventEmitter } = await import("node:events");
    const { main } = await import("prismrec/command-line");
    const call = async (...args: string[]) => {
      const [stdout, stderr] = [new PassThrough(), new PassThrough()];
      const io = { stdout, stderr, env: {}, cwd: dir, signals: new EventEmitter(), quit: () => undefined };
      const code = await main(["node", "prismrec", "recommend", "run", "--json", ...args], io);
      return { code, stdout: String(stdout.read() ?? ""), stderr: String(stderr.read() ?? "") };
    };
    const found = await call("--history", "c1,c2,c3", "--profile", "country=FR", "age=25", "-k", String(OWN));
    expect(found).toMatchObject({ code: 0 });
    const ids = JSON.parse(found.stdout).items.map(({ id }: { id: string }) => id);
    expect(ids.sort()).toEqual(Array.from({ length: OWN }, (_, i) => `FR-young-${i}`));
    expect(await call("--history", "c1", "--profile", "age=young")).toMatchObject({ code: 2 });
    expect(await call("--user", "u1", "--profile", "age=3")).toMatchObject({ code: 2 });
  });
});
