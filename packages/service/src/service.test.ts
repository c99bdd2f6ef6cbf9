import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fitEase, MostPopular } from "@prismrec/core/models";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { trainingData } from "../../core/src/testing/training-data.js";
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
} from "./schemas.js";
import type { Served } from "./served.js";
import { Service, type ServiceOptions } from "./service.js";
import { ITEMS, NASTY, Shelves, servedModel } from "./testing/shelves.js";

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
      ...["/v1/similar", "/v1/users/{id}/interests"],
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
      items: body.items.map(({ id, because }) => ({ id, interest: because.interest })),
      interests: body.interests.map(({ index, label }) => ({ index, label })),
    });
    expect(lines.map(({ user, fallback }) => [user, fallback])).toEqual([
      ["ada", null],
      ["nobody", "unknown-user"],
      [null, null],
    ]);
  });

  it("that cannot be written costs no answer, and is told", async () => {
    if ((await stat("/dev/full").catch(() => undefined)) === undefined) return;
    const told: unknown[] = [];
    const service = await started({ exposures: "/dev/full", onError: (error) => told.push(error) });
    expect((await recommend(service, { user: "ada" })).status).toBe(200);
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
