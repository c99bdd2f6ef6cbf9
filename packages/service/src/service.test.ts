import { appendFile, mkdtemp, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fitEase, MostPopular } from "@prismrec/core/models";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { trainingData } from "../../core/src/testing/training-data.js";
import { exposureSchema } from "./exposures.js";
import { problemSchema } from "./problems.js";
import {
  batchAnswer,
  eventsAnswer,
  interestsAnswer,
  itemAnswer,
  liveAnswer,
  readyAnswer,
  recommendAnswer,
  similarAnswer,
  variantsAnswer,
} from "./schemas.js";
import type { Served } from "./served.js";
import { Service, type ServiceOptions } from "./service.js";
import { ITEMS, NASTY, Shelves, servedModel } from "./testing/shelves.js";
import { parseVariants, placeOfUser, type ServedVariants } from "./variants.js";

let folder: string;
const inside = (...parts: string[]): string => join(folder, ...parts);
const made: Service[] = [];
const unforeseen: unknown[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-service-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(async () => {
  for (const service of made.splice(0)) await service.close();
  expect(unforeseen.splice(0)).toEqual([]);
});

async function started(options: Partial<ServiceOptions> = {}): Promise<Service> {
  const service = await Service.create({
    open: async () => servedModel(new Shelves()),
    onError: (error) => unforeseen.push(error),
    ...options,
  });
  made.push(service);
  await service.load();
  return service;
}

interface Reply<Body> {
  readonly status: number;
  readonly body: Body;
  readonly headers: Readonly<Record<string, unknown>>;
}

/** Sends a request and holds what comes back to its schema: to the verb's own, or to that of problems. */
async function ask<Schema extends z.ZodType>(
  service: Service,
  schema: Schema,
  url: string,
  payload?: unknown,
  headers: Record<string, string> = {},
): Promise<Reply<z.output<Schema>>> {
  const reply = await service.app.inject({
    method: payload === undefined ? "GET" : "POST",
    url,
    headers,
    ...(payload === undefined ? {} : { payload: payload as object }),
  });
  const body = JSON.parse(reply.body);
  if (reply.statusCode >= 400) expect(reply.headers["content-type"]).toMatch(/^application\/problem\+json/);
  return { status: reply.statusCode, body: schema.parse(body) as z.output<Schema>, headers: reply.headers };
}

const recommend = (service: Service, payload: unknown) => ask(service, recommendAnswer, "/v1/recommend", payload);
const refused = (service: Service, url: string, payload?: unknown, headers = {}) =>
  ask(service, problemSchema, url, payload, headers);
const ids = (items: readonly { readonly id: string }[]): string[] => items.map(({ id }) => id);

describe("recommend", () => {
  it("answers as the library does, and says what stands behind each item", async () => {
    const service = await started();
    const library = servedModel(new Shelves());
    for (const whom of [
      { user: "ada" },
      { history: ["i1", "i5", "i9", { item: "i4", time: 3, event: "buy" }].slice(0, 3) },
    ]) {
      const options = { k: 6, filter: { price: { to: 25 } }, exclude: ["i10"] };
      const expected = await library.recommend(whom as { user: string }, options);
      const { status, body } = await recommend(service, { ...whom, ...options });
      expect(status).toBe(200);
      expect(
        body.items.map(({ id, title, score, because }) => [id, title, score, because.interest, ids(because.evidence)]),
      ).toEqual(expected.items.map(({ id, title, score, interest, because }) => [id, title, score, interest, because]));
      expect(body.considered).toBe(expected.considered);
      expect(body).toMatchObject({
        exact: true,
        fallback: null,
        warnings: [],
        model: { name: "shelves", hash: "hash" },
      });
      for (const { because, prior } of body.items) {
        expect(because.label).toBe(body.interests.find(({ index }) => index === because.interest)?.label);
        expect(prior).toBeNull();
      }
    }
  });

  it("takes events with kinds and times, in the order of time", async () => {
    const service = await started();
    const history = [
      { item: "i4", event: "buy", time: "2026-03-02T00:00:00Z" },
      { item: "i1", time: "2026-03-01T00:00:00Z" },
    ];
    expect((await recommend(service, { history })).status).toBe(200);
    const { body } = await refused(service, "/v1/recommend", { history: [...history, "i2"] });
    expect(body).toMatchObject({ code: "INVALID_ARGUMENT", status: 400, received: expect.stringContaining("2 of 3") });
  });

  it("goes on page by page without an item twice, as one long list would, whatever happens meanwhile", async () => {
    const service = await started({ events: inside("pages.jsonl") });
    const { body: whole } = await recommend(service, { user: "ada", k: ITEMS });
    expect(whole.cursor).toBeNull();
    let cursor: string | null = null;
    const pages: string[][] = [];
    do {
      const payload = { user: "ada", k: 4, ...(cursor === null ? {} : { cursor }) };
      const { body }: Reply<z.output<typeof recommendAnswer>> = await recommend(service, payload);
      pages.push(ids(body.items));
      cursor = body.cursor;
    } while (cursor !== null);
    expect(pages.flat()).toEqual(ids(whole.items));
    const { body: first } = await recommend(service, { user: "ada", k: 4 });
    await ask(service, eventsAnswer, "/v1/events", { events: [{ id: "1", user: "ada", item: "i30" }] });
    await service.load();
    const { body: next } = await recommend(service, { user: "ada", k: 30, cursor: first.cursor });
    expect(ids(next.items).filter((id) => ids(first.items).includes(id) || id === "i30")).toEqual([]);
    expect(next.items.length).toBe(ITEMS - 5 - 4 - 1);
  });

  it("refuses the cursor of another request, and ends where the pages are long enough", async () => {
    const service = await started({ settings: { pagedMax: 6 } });
    const { body } = await recommend(service, { user: "ada", k: 4 });
    for (const cursor of [body.cursor, "nonsense", ""]) {
      const { status, body: problem } = await refused(service, "/v1/recommend", { user: "bo b/ü", k: 4, cursor });
      expect(status).toBe(400);
      expect(problem.errors).toMatchObject([{ pointer: "#/cursor" }]);
    }
    const { body: last } = await recommend(service, { user: "ada", k: 4, cursor: body.cursor });
    expect(last.cursor).toBeNull();
    expect(last.warnings).toMatchObject([{ detail: expect.stringContaining("6 items together") }]);
  });

  it.each([
    [{ user: "nobody" }, "unknown-user", 0],
    [{ history: [] }, "empty-history", 0],
    [{ history: ["gone", { item: "lost" }] }, "empty-history", 2],
    [{ user: "nobody", interests: { mute: [0] } }, "unknown-user", 1],
  ])("gives %j the most popular items, and says so", async (whom, reason, warnings) => {
    const service = await started();
    const { body } = await recommend(service, { ...whom, k: 3, exclude: ["i2"], filter: { price: { to: 10 } } });
    expect(ids(body.items)).toEqual(["i1", "i3", "i4"]);
    expect(body.fallback).toMatchObject({ kind: "popular", reason });
    expect(body.considered).toBe(9);
    expect(body.warnings).toHaveLength(warnings);
    const { body: next } = await recommend(service, {
      ...whom,
      k: 3,
      exclude: ["i2"],
      filter: { price: { to: 10 } },
      cursor: body.cursor,
    });
    expect(ids(next.items)).toEqual(["i5", "i6", "i7"]);
  });

  it("names unknown items of a history by their place", async () => {
    const { body } = await recommend(await started(), { history: ["i1", "gone", "i2"] });
    expect(body.fallback).toBeNull();
    expect(body.warnings).toMatchObject([{ code: "UNKNOWN_ITEM", pointer: "#/history/1" }]);
  });

  it("mutes and boosts interests as the library does, by index and by label", async () => {
    const service = await started();
    const library = servedModel(new Shelves());
    const { body: before } = await recommend(service, { user: "ada" });
    expect(before.interests.map(({ label }) => label)).toEqual(["crime", "garden"]);
    const mute = [before.interests[0]!.index];
    const { body: muted } = await recommend(service, { user: "ada", interests: { mute } });
    expect(muted).toMatchObject({ interests: [{ label: "crime", factor: 0 }, { label: "garden" }] });
    expect(new Set(muted.items.map(({ because }) => because.label))).toEqual(new Set(["garden"]));
    const boost = [{ interest: "garden", factor: 50 }];
    const { body: boosted } = await recommend(service, { user: "ada", interests: { boost } });
    const expected = await library.recommend({ user: "ada" }, { interests: { boost } });
    expect(boosted.items.map(({ id, score }) => [id, score])).toEqual(
      expected.items.map(({ id, score }) => [id, score]),
    );
    expect(ids(boosted.items)).not.toEqual(ids(before.items));
    const all = before.interests.map(({ index }) => index);
    const { body: nothing } = await recommend(service, { user: "ada", interests: { mute: all } });
    expect(nothing.items).toEqual([]);
    expect(nothing.warnings).toMatchObject([{ pointer: "#/interests" }]);
  });

  it("serves models without interests: those that read histories and those that read none", async () => {
    const lists = Array.from({ length: 20 }, (_, u) => [1 + (u % ITEMS), 1 + ((u + 3) % ITEMS), 1 + ((2 * u) % ITEMS)]);
    const ease = await fitEase(
      trainingData(
        lists.map((list) => [...new Set(list)]),
        ITEMS,
      ),
      { lambda: 1 },
    );
    const service = await started({ open: async () => servedModel(ease) });
    const { body } = await recommend(service, { user: "ada", k: 3 });
    expect(body.interests).toEqual([]);
    expect(body.items[0]!.because).toMatchObject({ interest: null, label: null });
    expect(body.items[0]!.because.evidence.length).toBeGreaterThan(0);
    const { status, body: problem } = await refused(service, "/v1/recommend", {
      user: "ada",
      interests: { mute: [0] },
    });
    expect([status, problem.code]).toEqual([422, "MODEL_UNSUPPORTED"]);
    const popular = await started({
      open: async () => servedModel(new MostPopular(Uint32Array.from({ length: ITEMS + 1 }, (_, n) => n))),
    });
    expect((await recommend(popular, { user: "ada", k: 1 })).body.items).toMatchObject([{ id: "i30" }]);
    expect((await refused(popular, "/v1/similar", { item: "i1" })).status).toBe(422);
  });
});

describe("what cannot be", () => {
  it.each<[unknown, string[]]>([
    [{ user: "ada", k: 101 }, ["#/k"]],
    [{ user: "ada", k: 0 }, ["#/k"]],
    [{ user: "ada", k: "4" }, ["#/k"]],
    [{}, ["#"]],
    [{ user: "ada", history: [] }, ["#"]],
    [{ user: "ada", profile: { age: 3 } }, ["#/profile"]],
    [{ user: "ada", "a/b~c": 1, kk: 2 }, ["#/a~1b~0c", "#/kk"]],
    [{ history: ["i1", { itme: "i2" }] }, ["#/history/1"]],
    [{ user: "ada", filter: { price: { below: 3 } } }, ["#/filter/price/below"]],
    [{ user: "ada", interests: { boost: [{ interest: 0, factor: -1 }] } }, ["#/interests/boost/0/factor"]],
    [{ history: Array.from({ length: 1001 }, () => "i1") }, ["#/history"]],
    [[], ["#"]],
  ])("are refused with a pointer to each: %#", async (payload, pointers) => {
    const { status, body } = await refused(await started(), "/v1/recommend", payload);
    expect(status).toBe(400);
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual(pointers);
    expect(body).toMatchObject({ code: "INVALID_ARGUMENT", type: "urn:prismrec:error:INVALID_ARGUMENT" });
    expect(body.expected?.length).toBeGreaterThan(0);
    expect(body.received?.length).toBeGreaterThan(0);
    expect(body.hint?.length).toBeGreaterThan(0);
  });

  it.each([
    ["{", "application/json", 400, "BODY_INVALID"],
    ["", "application/json", 400, "BODY_INVALID"],
    [`{"__proto__": {"k": 1}}`, "application/json", 400, "BODY_INVALID"],
    ["k=1", "application/x-www-form-urlencoded", 415, "BODY_INVALID"],
    [JSON.stringify({ user: "a".repeat(3000) }), "application/json", 413, "BODY_TOO_LARGE"],
  ])("as a body is refused: %#", async (payload, type, status, code) => {
    const service = await started({ settings: { bodyMax: 2000 } });
    const headers = { "content-type": type };
    const reply = await service.app.inject({ method: "POST", url: "/v1/recommend", payload, headers });
    expect(reply.statusCode).toBe(status);
    expect(problemSchema.parse(reply.json()).code).toBe(code);
  });

  it("by the library's word is refused with it: a filter's column, an interest", async () => {
    const service = await started();
    const { body } = await refused(service, "/v1/recommend", { user: "ada", filter: { prise: 1 } });
    expect(body).toMatchObject({ code: "INVALID_ARGUMENT", status: 400, hint: 'Did you mean "price"?' });
    const { body: none } = await refused(service, "/v1/recommend", { user: "ada", interests: { mute: ["x"] } });
    expect(none).toMatchObject({ code: "INVALID_ARGUMENT", expected: expect.stringContaining("crime") });
  });

  it("is told to be nowhere", async () => {
    const service = await started();
    for (const url of ["/v2/recommend", "/v1/recommend", "/v1/items", "/../etc/passwd"]) {
      expect((await refused(service, url)).body).toMatchObject({ status: 404, code: "NOT_FOUND" });
    }
  });

  it("that nobody foresaw tells nothing of the service's insides, but to its log", async () => {
    const told: unknown[] = [];
    const failure = new Error("secret path /etc/x");
    const open = async (): Promise<Served> => {
      const served = servedModel(new Shelves());
      return {
        ...served,
        recommend: async (whom, options) => {
          if ("user" in whom) throw failure;
          return served.recommend(whom, options);
        },
      };
    };
    const service = await started({ open, onError: (error) => told.push(error) });
    const { status, body } = await refused(service, "/v1/recommend", { user: "ada" });
    expect([status, body.code]).toEqual([500, "INTERNAL"]);
    expect(JSON.stringify(body)).not.toContain("secret");
    expect(told).toEqual([failure]);
  });
});

describe("the other verbs", () => {
  it("answer a batch entry by entry, each with its own status", async () => {
    const service = await started();
    const requests = [
      { user: "ada", k: 3 },
      { user: "ada", k: -1 },
      { user: "nobody", k: 1 },
      7,
      { user: "ada", filter: { no: 1 } },
    ];
    const { status, body } = await ask(service, batchAnswer, "/v1/recommend/batch", { requests });
    expect(status).toBe(200);
    expect(body.results.map((result) => result.status)).toEqual([200, 400, 200, 400, 400]);
    const [first, second] = body.results;
    const { body: alone } = await recommend(service, requests[0]);
    expect(first).toMatchObject({ answer: { items: alone.items } });
    expect(second).toMatchObject({ problem: { errors: [{ pointer: "#/requests/1/k" }] } });
    const many = { requests: Array.from({ length: 65 }, () => ({ user: "ada" })) };
    expect((await refused(service, "/v1/recommend/batch", many)).status).toBe(400);
  });

  it("list similar items as the library does", async () => {
    const service = await started();
    const options = { k: 4, filter: { price: { from: 5 } }, exclude: ["i7"] };
    const { body } = await ask(service, similarAnswer, "/v1/similar", { item: "i1", ...options });
    expect(body.items).toEqual(await servedModel(new Shelves()).similarItems("i1", options));
    expect(body.item).toEqual({ id: "i1", title: "Title 1" });
    expect((await refused(service, "/v1/similar", { item: "gone" })).body).toMatchObject({
      status: 404,
      code: "UNKNOWN_ITEM",
    });
  });

  it("tell a user's interests and an item, by any id", async () => {
    const service = await started();
    const { body } = await ask(service, interestsAnswer, `/v1/users/${encodeURIComponent("bo b/ü")}/interests`);
    expect(body.user).toBe("bo b/ü");
    expect(body.interests.map(({ label, share }) => [label, share])).toEqual([[`space & ${NASTY}`, 1]]);
    expect((await refused(service, "/v1/users/nobody/interests")).body).toMatchObject({
      status: 404,
      code: "UNKNOWN_USER",
    });
    const { body: item } = await ask(service, itemAnswer, "/v1/items/i5");
    expect(item).toEqual({
      id: "i5",
      title: NASTY,
      categories: ["garden"],
      popularity: ITEMS - 4,
      columns: { price: 5 },
    });
    expect((await refused(service, "/v1/items/gone")).body).toMatchObject({ status: 404, code: "UNKNOWN_ITEM" });
  });

  it("say that they are there, and whether they answer", async () => {
    const service = await Service.create({ open: async () => servedModel(new Shelves()) });
    made.push(service);
    expect((await ask(service, liveAnswer, "/health/live")).status).toBe(200);
    const { status, headers, body } = await refused(service, "/health/ready");
    expect([status, headers["retry-after"], body.code]).toEqual([503, "1", "NOT_READY"]);
    expect((await refused(service, "/v1/recommend", { user: "ada" })).body.code).toBe("NOT_READY");
    await service.load();
    expect((await ask(service, readyAnswer, "/health/ready")).body).toMatchObject({ items: ITEMS, users: 2 });
  });

  it("count every status and route, and describe themselves", async () => {
    const service = await started({ version: "1.2.3" });
    await recommend(service, { user: "ada" });
    await refused(service, "/v1/recommend", { k: 0 });
    await refused(service, "/nowhere");
    const { body, headers } = await service.app.inject({ url: "/metrics" });
    expect(headers["content-type"]).toMatch(/^text\/plain/);
    for (const [route, status] of [
      ["/v1/recommend", 200],
      ["/v1/recommend", 400],
      ["unmatched", 404],
    ]) {
      expect(body).toMatch(new RegExp(`duration_seconds_count\\{.*route="${route}",status="${status}"\\} 1`));
    }
    expect(body).toContain('prismrec_model_info{model="shelves",hash="hash"} 1');
    expect(body).toContain('prismrec_lists_total{made_by="model"} 1');
    const api = JSON.parse((await service.app.inject({ url: "/openapi.json" })).body);
    expect(api).toMatchObject({ openapi: "3.1.0", info: { version: "1.2.3" } });
    expect(Object.keys(api.paths).sort()).toEqual([
      ...["/health/live", "/health/ready", "/v1/events", "/v1/items/{id}", "/v1/recommend", "/v1/recommend/batch"],
      ...["/v1/similar", "/v1/users/{id}/interests", "/v1/variants"],
    ]);
    expect(
      api.paths["/v1/recommend/batch"].post.requestBody.content["application/json"].schema.properties.requests.items
        .properties,
    ).toHaveProperty("history");
  });
});

describe("events", () => {
  it("are known to the next answer, count once, and are refused one by one", async () => {
    const path = inside("events.jsonl");
    const service = await started({ events: path });
    const { body: before } = await recommend(service, { user: "ada", k: ITEMS });
    const events = [
      { id: "a", user: "ada", item: "i6", event: "buy", time: "2026-03-01T00:00:00Z" },
      { id: "a", user: "ada", item: "i6", event: "buy" },
      { id: "a", user: "ada", item: "i9" },
      { id: "b", user: "ada", item: "gone" },
      { id: "c", user: "ada", item: "i9", time: "soon" },
      { user: "ada" },
      { id: "d", user: "new", item: "i3" },
    ];
    const { body } = await ask(service, eventsAnswer, "/v1/events", { events });
    expect(body).toMatchObject({ accepted: 2, repeated: 1 });
    expect(body.rejected.map(({ index, problem }) => [index, problem.code])).toEqual([
      [2, "INVALID_ARGUMENT"],
      [3, "UNKNOWN_ITEM"],
      [4, "INVALID_ARGUMENT"],
      [5, "INVALID_ARGUMENT"],
    ]);
    expect(body.rejected[3]!.problem.errors?.map(({ pointer }) => pointer)).toEqual([
      "#/events/5/id",
      "#/events/5/item",
    ]);
    const again = await ask(service, eventsAnswer, "/v1/events", { events: [events[0], events[6]] });
    expect(again.body).toMatchObject({ accepted: 0, repeated: 2, rejected: [] });
    const { body: after } = await recommend(service, { user: "ada", k: ITEMS });
    expect(ids(before.items)).toContain("i6");
    expect(ids(after.items)).not.toContain("i6");
    expect(after.interests.map(({ label }) => label)).toContain(`space & ${NASTY}`);
    const { body: stranger } = await recommend(service, { user: "new" });
    expect(stranger).toMatchObject({ fallback: null, interests: [{ label: `space & ${NASTY}` }] });
    expect((await ask(service, interestsAnswer, "/v1/users/new/interests")).body.interests).toHaveLength(1);
    expect((await readFile(path, "utf8")).trim().split("\n")).toHaveLength(2);
    await service.close();
    const restarted = await started({ events: path });
    expect(restarted.events).toBe(2);
    expect((await recommend(restarted, { user: "ada", k: ITEMS })).body.items).toEqual(after.items);
    expect((await ask(restarted, eventsAnswer, "/v1/events", { events: [events[0]] })).body.repeated).toBe(1);
  });

  it("cut off in the middle of a line were never acknowledged, and are cut off; a damaged line stops the start", async () => {
    const path = inside("torn.jsonl");
    const line = JSON.stringify({ id: "a", user: "ada", item: "i6", time: 4 });
    await writeFile(path, `${line}\n${line.slice(0, 20)}`);
    const service = await started({ events: path });
    expect([service.events, service.torn]).toEqual([1, 20]);
    await ask(service, eventsAnswer, "/v1/events", { events: [{ id: "b", user: "ada", item: "i9", time: 5 }] });
    await service.close();
    expect((await readFile(path, "utf8")).split("\n").map((text) => text && JSON.parse(text).id)).toEqual([
      "a",
      "b",
      "",
    ]);
    await appendFile(path, `{"id": 3}\n${line}\n`);
    await expect(Service.create({ open: async () => servedModel(new Shelves()), events: path })).rejects.toMatchObject({
      code: "DATA_FORMAT",
      message: expect.stringContaining("line 3"),
    });
  });

  it("that come together from many are each kept once", async () => {
    const path = inside("together.jsonl");
    const service = await started({ events: path, settings: { ratePerMinute: 0 } });
    const replies = await Promise.all(
      Array.from({ length: 120 }, (_, n) =>
        ask(service, eventsAnswer, "/v1/events", {
          events: [{ id: `e${n % 40}`, user: `u${n % 40}`, item: `i${1 + (n % 30)}`, time: n % 40 }].map((event) => ({
            ...event,
            item: `i${1 + (Number(event.id.slice(1)) % 30)}`,
          })),
        }),
      ),
    );
    expect(replies.reduce((sum, { body }) => sum + body.accepted, 0)).toBe(40);
    expect(replies.reduce((sum, { body }) => sum + body.repeated, 0)).toBe(80);
    expect((await readFile(path, "utf8")).trim().split("\n")).toHaveLength(40);
  });

  it("are refused where there is no journal, and a device is none", async () => {
    const events = [{ id: "a", user: "ada", item: "i6" }];
    expect((await refused(await started(), "/v1/events", { events })).body).toMatchObject({ status: 422 });
    // What is written to a device cannot be read back.
    await expect(started({ events: "/dev/null" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("limits", () => {
  /** A recommender whose lists wait until they are let go. */
  function slow() {
    const held: (() => void)[] = [];
    const aborted: unknown[] = [];
    const open = async (): Promise<Served> => {
      const served = servedModel(new Shelves());
      return {
        ...served,
        recommend: async (whom, options) => {
          if ("user" in whom) {
            await new Promise<void>((resolve, reject) => {
              held.push(resolve);
              options?.signal?.addEventListener("abort", () => {
                aborted.push(options.signal?.reason);
                reject(options.signal?.reason);
              });
            });
          }
          return served.recommend(whom, options);
        },
      };
    };
    return { held, aborted, open };
  }
  const until = async (holds: () => boolean): Promise<void> => {
    while (!holds()) await new Promise((resolve) => setTimeout(resolve, 2));
  };

  it("let so many work and so many wait, and refuse the others", async () => {
    const { held, open } = slow();
    const service = await started({ open, settings: { concurrency: 2, queueMax: 1 } });
    const asked = Array.from({ length: 4 }, () =>
      service.app.inject({ method: "POST", url: "/v1/recommend", payload: { user: "ada" } }),
    );
    const first = await Promise.race(asked);
    expect(first.statusCode).toBe(503);
    expect(first.headers["retry-after"]).toBe("1");
    expect(problemSchema.parse(first.json()).code).toBe("BUSY");
    await until(() => held.length === 2);
    held[0]!();
    await until(() => held.length === 3);
    for (const go of held) go();
    expect((await Promise.all(asked)).map(({ statusCode }) => statusCode).sort()).toEqual([200, 200, 200, 503]);
  });

  it("end a request that takes too long, and what it began", async () => {
    const { aborted, open } = slow();
    const service = await started({ open, settings: { timeoutMs: 20 } });
    const { status, body } = await refused(service, "/v1/recommend", { user: "ada" });
    expect([status, body.code]).toEqual([504, "TIMED_OUT"]);
    expect(aborted).toHaveLength(1);
  });

  it("let go of a request whose client has gone", async () => {
    const { held, aborted, open } = slow();
    const service = await started({ open });
    const url = await service.listen({ port: 0 });
    const request = httpRequest(`${url}/v1/recommend`, {
      method: "POST",
      headers: { "content-type": "application/json" },
    });
    request.on("error", () => {});
    request.end(JSON.stringify({ user: "ada" }));
    await until(() => held.length === 1);
    expect(aborted).toEqual([]);
    request.destroy();
    await until(() => aborted.length === 1);
    expect(aborted).toMatchObject([{ fault: { code: "CLIENT_GONE" } }]);
    const { body } = await service.app.inject({ url: "/metrics" });
    expect(body).toMatch(/duration_seconds_count\{.*route="\/v1\/recommend",status="499"\} 1/);
  });

  it("hold for one client's requests a minute, not for its health checks", async () => {
    const service = await started({ settings: { ratePerMinute: 2 } });
    const statuses: number[] = [];
    for (let n = 0; n < 3; n++) {
      const { statusCode } = await service.app.inject({
        method: "POST",
        url: "/v1/recommend",
        payload: { user: "ada" },
      });
      statuses.push(statusCode);
    }
    expect(statuses).toEqual([200, 200, 429]);
    const { body, headers } = await refused(service, "/v1/recommend", { user: "ada" });
    expect(body.code).toBe("TOO_MANY_REQUESTS");
    expect(Number(headers["retry-after"])).toBeGreaterThan(0);
    expect((await ask(service, readyAnswer, "/health/ready")).status).toBe(200);
  });

  it("that mean nothing are refused before anything starts", async () => {
    const open = async (): Promise<Served> => servedModel(new Shelves());
    await expect(Service.create({ open, settings: { kMax: 0 } })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      received: "0",
    });
    await expect(Service.create({ open, settings: { kmax: 3 } as never })).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});

describe("an API key", () => {
  it("is asked of every verb, in either header, and stands in no answer", async () => {
    const service = await started({ apiKey: "s3cret" });
    const payload = { user: "ada" };
    for (const headers of [
      {},
      { authorization: "Bearer wrong" },
      { "x-api-key": "s3cre" },
      { authorization: "s3cret" },
    ]) {
      const { status, body, headers: sent } = await refused(service, "/v1/recommend", payload, headers);
      expect([status, body.code, sent["www-authenticate"]]).toEqual([401, "UNAUTHORIZED", "Bearer"]);
    }
    for (const url of ["/metrics", "/openapi.json", "/v1/items/i1"])
      expect((await refused(service, url)).status).toBe(401);
    for (const headers of [{ authorization: "Bearer s3cret" }, { "x-api-key": "s3cret" }] as Record<string, string>[]) {
      expect((await ask(service, recommendAnswer, "/v1/recommend", payload, headers)).status).toBe(200);
    }
    expect((await service.app.inject({ url: "/" })).statusCode).toBe(200);
    expect((await ask(service, readyAnswer, "/health/ready")).status).toBe(200);
    const headers = { authorization: "Bearer s3cret" };
    for (const url of ["/metrics", "/openapi.json"])
      expect((await service.app.inject({ url, headers })).body).not.toContain("s3cret");
  });

  it("cannot be tried without end", async () => {
    const service = await started({ apiKey: "s3cret", settings: { ratePerMinute: 3 } });
    const statuses: number[] = [];
    for (let n = 0; n < 5; n++)
      statuses.push((await refused(service, "/v1/items/i1", undefined, { "x-api-key": `k${n}` })).status);
    expect(statuses).toEqual([401, 401, 401, 429, 429]);
  });
});

describe("other origins", () => {
  const preflight = (service: Service) =>
    service.app.inject({
      method: "OPTIONS",
      url: "/v1/recommend",
      headers: { origin: "https://shop.example", "access-control-request-method": "POST" },
    });

  it("are let in only where they are named", async () => {
    expect((await preflight(await started())).headers).not.toHaveProperty("access-control-allow-origin");
    const open = await started({ settings: { corsOrigins: ["https://shop.example"] }, apiKey: "k" });
    const { statusCode, headers } = await preflight(open);
    expect([statusCode, headers["access-control-allow-origin"]]).toEqual([204, "https://shop.example"]);
  });
});

describe("a reload", () => {
  it("lets requests under way end with the old one, which is given back then, and sends the next to the new one", async () => {
    const closed: string[] = [];
    let release = () => {};
    let opened = 0;
    const open = async (): Promise<Served> => {
      const hash = `model ${++opened}`;
      const served = servedModel(new Shelves(), { hash, onClose: () => closed.push(hash) });
      return {
        ...served,
        recommend: async (whom, options) => {
          if ("user" in whom && hash === "model 1") await new Promise<void>((resolve) => (release = resolve));
          return served.recommend(whom, options);
        },
      };
    };
    const service = await started({ open });
    const underWay = recommend(service, { user: "ada" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    await service.load();
    const { body: next } = await recommend(service, { user: "ada" });
    expect(next.model.hash).toBe("model 2");
    expect(closed).toEqual([]);
    release();
    expect((await underWay).body.model.hash).toBe("model 1");
    expect((await underWay).body.items).toEqual(next.items);
    await new Promise((resolve) => setTimeout(resolve, 0));
    expect(closed).toEqual(["model 1"]);
    await service.close();
    expect(closed).toEqual(["model 1", "model 2"]);
  });

  it("that fails leaves the old one, and is counted", async () => {
    let opened = 0;
    const failure = new Error("half a model");
    const closed: number[] = [];
    const open = async (): Promise<Served> => {
      const n = ++opened;
      const served = servedModel(new Shelves(), { hash: `model ${n}`, onClose: () => closed.push(n) });
      // The second cannot be warmed up.
      return n === 2 ? { ...served, recommend: () => Promise.reject(failure) } : served;
    };
    const service = await started({ open });
    await expect(service.load()).rejects.toBe(failure);
    expect(closed).toEqual([2]);
    expect((await recommend(service, { user: "ada" })).body.model.hash).toBe("model 1");
    expect((await service.load()).hash).toBe("model 3");
    const { body } = await service.app.inject({ url: "/metrics" });
    expect(body).toContain('prismrec_reloads_total{outcome="failed"} 1');
    expect(body).toContain('prismrec_reloads_total{outcome="done"} 1');
  });
});

describe("diversity", () => {
  it("gives the library's list page by page, says that it is not by score, and at 0 changes nothing", async () => {
    const service = await started();
    const library = servedModel(new Shelves());
    const { body: byScore } = await recommend(service, { user: "ada", k: 8 });
    const { body: zero } = await recommend(service, { user: "ada", k: 8, diversity: 0 });
    expect({ ...zero, requestId: "", cursor: "" }).toEqual({ ...byScore, requestId: "", cursor: "" });
    const asked = { filter: { price: { from: 3 } }, exclude: ["i10"], diversity: 0.6 };
    const expected = await library.recommend({ user: "ada" }, { ...asked, k: 12 });
    const { body } = await recommend(service, { user: "ada", k: 12, ...asked });
    expect(body.exact).toBe(false);
    expect(body.items.map(({ id, score }) => [id, score])).toEqual(expected.items.map(({ id, score }) => [id, score]));
    expect(ids(body.items)).not.toEqual(
      ids((await library.recommend({ user: "ada" }, { ...asked, diversity: 0, k: 12 })).items),
    );
    const { body: first } = await recommend(service, { user: "ada", k: 5, ...asked });
    const { body: rest } = await recommend(service, { user: "ada", k: 7, ...asked, cursor: first.cursor });
    expect([...ids(first.items), ...ids(rest.items)]).toEqual(ids(body.items));
    const { status } = await refused(service, "/v1/recommend", { user: "ada", k: 7, cursor: first.cursor });
    expect(status).toBe(400);
  });

  it("is refused where it is none or the model has no vectors, and has no part in popular items", async () => {
    const service = await started();
    const { body } = await refused(service, "/v1/recommend", { user: "ada", diversity: 1.5 });
    expect(body.errors).toMatchObject([{ pointer: "#/diversity" }]);
    const { body: popular } = await recommend(service, { user: "nobody", diversity: 0.5 });
    expect(popular).toMatchObject({ exact: true, warnings: [{ pointer: "#/diversity" }] });
    const counts = new MostPopular(Uint32Array.from({ length: ITEMS + 1 }, (_, n) => n));
    const without = await started({ open: async () => servedModel(counts) });
    expect((await refused(without, "/v1/recommend", { user: "ada", diversity: 0.5 })).body).toMatchObject({
      status: 422,
      code: "MODEL_UNSUPPORTED",
    });
  });
});

describe("rules", () => {
  const rules = {
    pin: [
      { name: "launch", item: "i30", position: 2 },
      { item: "i29", position: 5 },
    ],
    bury: [{ where: { price: { to: 6 } } }],
    limit: [{ column: "categories", most: 2, within: 4 }],
  };
  const open = async (): Promise<Served> => servedModel(new Shelves(), { rules });

  it("act on lists, over all their pages, and the answer says which did", async () => {
    const service = await started({ open });
    const { body: whole } = await recommend(service, { user: "ada", k: 12 });
    expect(ids(whole.items)).toEqual(ids((await (await open()).recommend({ user: "ada" }, { k: 12 })).items));
    expect(whole.items.map(({ pinned }, n) => (pinned ? n + 1 : 0)).filter((place) => place > 0)).toEqual([2, 5]);
    expect([whole.items[1]!.id, whole.items[4]!.id]).toEqual(["i30", "i29"]);
    expect(whole.exact).toBe(false);
    expect(whole.rules).toEqual(
      expect.arrayContaining([
        { rule: "#/pin/0", name: "launch", items: 1 },
        { rule: "#/pin/1", items: 1 },
      ]),
    );
    const pages: string[] = [];
    let cursor: string | null = null;
    for (const k of [1, 3, 4, 4]) {
      const payload = { user: "ada", k, ...(cursor === null ? {} : { cursor }) };
      const { body }: Reply<z.output<typeof recommendAnswer>> = await recommend(service, payload);
      pages.push(...ids(body.items));
      cursor = body.cursor;
    }
    expect(pages).toEqual(ids(whole.items));
    expect((await ask(service, variantsAnswer, "/v1/variants")).body.variants).toMatchObject([
      { name: null, share: 1, rules: 4 },
    ]);
  });

  it("yield to what the request filters out and excludes, and hold for popular items", async () => {
    const service = await started({ open });
    const { body } = await recommend(service, { user: "ada", k: 4, exclude: ["i30"], filter: { price: { to: 28 } } });
    expect(body.items.filter(({ pinned }) => pinned)).toEqual([]);
    expect(body.rules.map(({ rule }) => rule)).not.toContain("#/pin/0");
    const { body: popular } = await recommend(service, { user: "nobody", k: 3 });
    expect(ids(popular.items)).toEqual(["i7", "i30", "i8"]);
    expect(popular).toMatchObject({ exact: false, fallback: { kind: "popular" } });
  });

  it("are opened anew at a reload; those that cannot be leave the old ones", async () => {
    let raw: unknown = { pin: [{ item: "i30", position: 1 }] };
    const service = await started({ open: async () => servedModel(new Shelves(), { rules: raw }) });
    const first = async (): Promise<string> => (await recommend(service, { user: "ada", k: 3 })).body.items[0]!.id;
    expect(await first()).toBe("i30");
    raw = { pin: [{ item: "i28", position: 1 }] };
    await service.load();
    expect(await first()).toBe("i28");
    raw = { pin: [{ item: "gone", position: 1 }] };
    await expect(service.load()).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("#/pin/0/item"),
    });
    expect(await first()).toBe("i28");
  });
});

describe("variants", () => {
  const experiment =
    (shares: readonly number[], salt = "spring", byRequest = false, closed: string[] = []) =>
    async (): Promise<ServedVariants> => {
      const variants = shares.map((share, n) => {
        const hash = `model ${n}`;
        const rules = { pin: n === 1 ? [{ item: "i30", position: 1 }] : [] };
        return { name: `v${n}`, share, served: servedModel(new Shelves(), { hash, rules }) };
      });
      return {
        salt,
        byRequest,
        variants: variants as unknown as ServedVariants["variants"],
        close: async () => {
          for (const { name, served } of variants) {
            await served.close();
            closed.push(name);
          }
        },
      };
    };
  const variantsOf = async (service: Service, users: readonly string[]): Promise<(string | undefined)[]> => {
    const { body } = await ask(service, batchAnswer, "/v1/recommend/batch", {
      requests: users.map((user) => ({ user, k: 1 })),
    });
    return body.results.map((result) => ("answer" in result ? result.answer.variant?.name : undefined));
  };
  const users = Array.from({ length: 60 }, (_, n) => `user ${n}`);

  it("are each user's own over restarts, and a share that grows takes nobody's away", async () => {
    const before = await variantsOf(await started({ open: experiment([0.3, 0.7]) }), users);
    expect(new Set(before)).toEqual(new Set(["v0", "v1"]));
    expect(await variantsOf(await started({ open: experiment([0.3, 0.7]) }), users)).toEqual(before);
    const grown = await variantsOf(await started({ open: experiment([0.6, 0.4]) }), users);
    expect(grown.filter((_, n) => before[n] === "v0").every((name) => name === "v0")).toBe(true);
    expect(await variantsOf(await started({ open: experiment([0.3, 0.7], "autumn") }), users)).not.toEqual(before);
    expect(new Set(await variantsOf(await started({ open: experiment([1, 0]) }), users))).toEqual(new Set(["v0"]));
  });

  it("split users as their shares say", () => {
    const places = Array.from({ length: 20_000 }, (_, n) => placeOfUser("salt", `u${n}`));
    // Four standard deviations of a binomial share.
    for (const share of [0.1, 0.5, 0.9]) {
      const part = places.filter((place) => place < share).length / places.length;
      expect(Math.abs(part - share)).toBeLessThan(4 * Math.sqrt((share * (1 - share)) / places.length));
    }
    expect(Math.min(...places)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...places)).toBeLessThan(1);
  });

  it("stand in answers, the exposure log, metrics and a verb of their own", async () => {
    const path = inside("variants.jsonl");
    const closed: string[] = [];
    const service = await started({ open: experiment([0.5, 0.5], "spring", false, closed), exposures: path });
    const of = async (user: string) => (await recommend(service, { user, k: 2 })).body;
    const answers = await Promise.all(users.slice(0, 12).map(of));
    for (const { variant, model, items } of answers) {
      expect(model.hash).toBe(variant?.name === "v0" ? "model 0" : "model 1");
      expect(items[0]!.id === "i30").toBe(variant?.name === "v1");
      expect(variant?.by).toBe("user");
    }
    const { body: anonymous } = await recommend(service, { history: ["i1"], k: 1 });
    expect(anonymous.variant).toEqual({ name: "v0", by: "default" });
    const { body: listed } = await ask(service, variantsAnswer, "/v1/variants");
    expect(listed).toMatchObject({
      byRequest: false,
      variants: [
        { name: "v0", share: 0.5, model: { hash: "model 0" }, rules: 0 },
        { name: "v1", share: 0.5, model: { hash: "model 1" }, rules: 1 },
      ],
    });
    const { body: metrics } = await service.app.inject({ url: "/metrics" });
    const ofFirst = answers.filter(({ variant }) => variant?.name === "v0").length;
    expect(metrics).toContain(`prismrec_lists_total{made_by="popularity",variant="v0"} ${ofFirst}`);
    expect(metrics).toContain(`prismrec_lists_total{made_by="model",variant="v0"} 1`);
    expect(metrics).toContain('prismrec_model_info{model="shelves",hash="model 1",variant="v1"} 1');
    expect(metrics).toContain(`prismrec_list_duration_seconds_count{variant="v1"} ${12 - ofFirst}`);
    await service.load();
    expect(closed).toEqual(["v0", "v1"]);
    await service.close();
    const lines = (await readFile(path, "utf8"))
      .trim()
      .split("\n")
      .map((line) => exposureSchema.parse(JSON.parse(line)));
    const logged = new Map(lines.map(({ requestId, variant }) => [requestId, variant]));
    for (const { requestId, variant } of answers) expect(logged.get(requestId)).toBe(variant?.name);
  });

  it("are named by a request only where that is allowed", async () => {
    const closedTo = await started({ open: experiment([0.5, 0.5]) });
    const { status, body } = await refused(closedTo, "/v1/recommend", { user: "ada", variant: "v1" });
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, "#/variant"]);
    expect((await refused(await started(), "/v1/recommend", { user: "ada", variant: "v1" })).status).toBe(400);
    const openTo = await started({ open: experiment([1, 0], "spring", true) });
    const { body: named } = await recommend(openTo, { user: "ada", k: 2, variant: "v1" });
    expect(named).toMatchObject({ variant: { name: "v1", by: "request" }, model: { hash: "model 1" } });
    const { body: unknown } = await refused(openTo, "/v1/recommend", { user: "ada", variant: "v9" });
    expect(unknown).toMatchObject({ code: "INVALID_ARGUMENT", expected: "one of v0, v1" });
    // A cursor goes on in the variant that began it.
    const next = { user: "ada", k: 2, cursor: named.cursor };
    expect((await refused(openTo, "/v1/recommend", next)).status).toBe(400);
    expect((await recommend(openTo, { ...next, variant: "v1" })).body.variant?.name).toBe("v1");
  });

  it.each<[unknown, string]>([
    [{}, "#/salt"],
    [{ salt: "s", variants: [] }, "#/variants"],
    [{ salt: "s", variants: [{ name: "a", share: 0.5 }] }, "#/variants"],
    [{ salt: "s", variants: [{ name: "a b", share: 1 }] }, "#/variants/0/name"],
    [{ salt: "s", variants: [{ name: "a", share: 1, runs: "x" }] }, "#/variants/0/runs"],
    [{ salt: "s", variants: ["a", "a"].map((name) => ({ name, share: 0.5 })) }, "#/variants"],
  ])("that cannot be are refused with a pointer: %j", (raw, pointer) => {
    expect(() => parseVariants(raw, "variants.json")).toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.stringContaining(`variants.json, ${pointer}: `),
      }),
    );
  });
});

describe("the exposure log", () => {
  it("has a line for each list, by which an answer is joined to what was shown", async () => {
    const path = inside("shown.jsonl");
    const service = await started({ exposures: path });
    const { body } = await recommend(service, { user: "ada", k: 2 });
    await ask(service, batchAnswer, "/v1/recommend/batch", {
      requests: [
        { user: "nobody", k: 1 },
        { history: ["i1"], k: 1 },
      ],
    });
    await service.close();
    const lines = (await readFile(path, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines[0]).toMatchObject({
      requestId: body.requestId,
      user: "ada",
      model: "hash",
      variant: null,
      exact: true,
      rules: [],
      items: body.items.map(({ id, because }, n) => ({ id, position: n + 1, interest: because.interest })),
      interests: body.interests.map(({ index, label }) => ({ index, label })),
    });
    expect(lines.map(({ user, fallback }) => [user, fallback])).toEqual([
      ["ada", null],
      ["nobody", "unknown-user"],
      [null, null],
    ]);
  });

  it("counts positions on over the pages, and has only lines that can be read", async () => {
    const path = inside("positions.jsonl");
    // A process was killed in the middle of its second line.
    await writeFile(path, `{"whole": true}\n{"torn": tr`);
    const service = await started({ exposures: path });
    expect(service.exposuresTorn).toBe(11);
    const { body: first } = await recommend(service, { user: "ada", k: 3 });
    const { body: second } = await recommend(service, { user: "ada", k: 3, cursor: first.cursor });
    await service.close();
    const [kept, ...lines] = (await readFile(path, "utf8"))
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(kept).toEqual({ whole: true });
    for (const line of lines) exposureSchema.parse(line);
    expect(lines.map(({ items }) => items.map(({ position }: { position: number }) => position))).toEqual([
      [1, 2, 3],
      [4, 5, 6],
    ]);
    expect(lines[1].items.map(({ id }: { id: string }) => id)).toEqual(ids(second.items));
  });

  it("is begun anew at a reload where it has been moved away, and goes on where it has not", async () => {
    const path = inside("rotated.jsonl");
    const service = await started({ exposures: path });
    await recommend(service, { user: "ada", k: 1 });
    await service.load();
    await recommend(service, { user: "ada", k: 2 });
    while ((await readFile(path, "utf8")).split("\n").length < 3)
      await new Promise((resolve) => setTimeout(resolve, 2));
    await rename(path, inside("rotated.1"));
    await service.load();
    await recommend(service, { user: "ada", k: 4 });
    await service.close();
    const lengths = async (name: string) =>
      (await readFile(inside(name), "utf8"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).items.length);
    expect(await lengths("rotated.1")).toEqual([1, 2]);
    expect(await lengths("rotated.jsonl")).toEqual([4]);
  });

  it("that cannot be written costs no answer, and is told", async () => {
    if ((await stat("/dev/full").catch(() => undefined)) === undefined) return;
    const told: unknown[] = [];
    const service = await started({ exposures: "/dev/full", onError: (error) => told.push(error) });
    expect((await recommend(service, { user: "ada" })).status).toBe(200);
    while (told.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(told).toMatchObject([{ code: "DISK_FULL" }]);
    expect((await service.app.inject({ url: "/metrics" })).body).toContain("prismrec_exposures_unlogged_total 1");
  });
});

describe("the page", () => {
  it("comes from this service alone, and lets in nothing else", async () => {
    const service = await started();
    for (const [url, type] of [
      ["/", /^text\/html/],
      ["/page.js", /^text\/javascript/],
      ["/page.css", /^text\/css/],
    ] as const) {
      const { statusCode, headers, body } = await service.app.inject({ url });
      expect(statusCode).toBe(200);
      expect(headers["content-type"]).toMatch(type);
      const policy = String(headers["content-security-policy"]);
      expect(policy).toContain("default-src 'none'");
      expect(policy).not.toMatch(/unsafe|https?:|\*/);
      expect(headers["x-content-type-options"]).toBe("nosniff");
      expect(body).not.toMatch(/https?:\/\/(?!www\.w3\.org)/);
      expect(body).not.toMatch(
        /innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<script>|\sstyle=|\son\w+=/,
      );
    }
  });
});
