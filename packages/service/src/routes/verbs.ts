import type { FastifyReply, FastifyRequest } from "fastify";
import { answerRecommend, interestsOf, modelOf, titledItems, userOf } from "../answer.js";
import { readCursor } from "../cursor.js";
import { labelOf } from "../metrics.js";
import { problemOf, problemSchema, RequestError, validationError } from "../problems.js";
import {
  batchAnswer,
  eventsAnswer,
  interestsAnswer,
  itemAnswer,
  type RecommendAnswer,
  type RecommendBody,
  recommendAnswer,
  requestSchemas,
  similarAnswer,
  variantsAnswer,
} from "../schemas.js";
import type { App, Context } from "../service.js";
import type { Lineup } from "../variants.js";

/** What every verb may answer instead. */
const PROBLEMS = { "4xx": problemSchema, "5xx": problemSchema };

export function addVerbs(app: App, context: Context): void {
  const { holder, events, gate, metrics, settings, exposures } = context;
  const schemas = requestSchemas(settings);

  /** Waits for a turn and works with what answers now, until the client goes away or the time is up. */
  function withLineup<Result>(
    reply: FastifyReply,
    work: (lineup: Lineup, signal: AbortSignal) => Promise<Result>,
  ): Promise<Result> {
    const signal = requestSignal(reply, settings.timeoutMs);
    return gate.pass(() => holder.use((lineup) => work(lineup, signal)), signal);
  }

  async function recommend(
    body: RecommendBody,
    lineup: Lineup,
    { id: requestId }: FastifyRequest,
    signal: AbortSignal,
  ): Promise<RecommendAnswer> {
    const { served, variant } = lineup.choose(body);
    const label = labelOf(variant?.name ?? null);
    const done = metrics.listSeconds.startTimer(label);
    const answer = { requestId, variant, ...(await answerRecommend(body, { served, events, settings }, signal)) };
    done();
    metrics.lists.inc({ made_by: answer.fallback === null ? "model" : "popularity", ...label });
    logExposure(body, answer);
    return answer;
  }

  /** A list is given even where it cannot be logged; that it was not is counted and told. */
  function logExposure(body: RecommendBody, answer: RecommendAnswer): void {
    if (exposures === undefined) return;
    const before = readCursor(body).length;
    const exposure = {
      time: new Date().toISOString(),
      requestId: answer.requestId,
      user: body.user ?? null,
      variant: answer.variant?.name ?? null,
      model: answer.model.hash,
      fallback: answer.fallback?.reason ?? null,
      exact: answer.exact,
      rules: answer.rules.map(({ rule }) => rule),
      items: answer.items.map(({ id, because: { interest } }, n) => ({ id, position: before + n + 1, interest })),
      interests: answer.interests.map(({ index, label, share }) => ({ index, label, share })),
    };
    exposures.record(exposure, (error) => {
      metrics.unlogged.inc();
      context.onError(error, answer.requestId);
    });
  }

  app.post(
    "/v1/recommend",
    {
      schema: {
        summary: "The best items for a user or a history, each with the interest behind it",
        body: schemas.recommend,
        response: { 200: recommendAnswer, ...PROBLEMS },
      },
    },
    (request, reply) => withLineup(reply, (lineup, signal) => recommend(request.body, lineup, request, signal)),
  );

  app.post(
    "/v1/recommend/batch",
    {
      schema: {
        summary: "Several lists, each with a status of its own",
        body: schemas.batch,
        response: { 200: batchAnswer, ...PROBLEMS },
      },
    },
    (request, reply) =>
      withLineup(reply, async (lineup, signal) => {
        const results: (typeof batchAnswer)["_output"]["results"] = [];
        for (const [index, entry] of request.body.requests.entries()) {
          try {
            const parsed = schemas.recommend.safeParse(entry);
            if (!parsed.success) throw validationError(parsed.error, entry, ["requests", String(index)]);
            results.push({ status: 200, answer: await recommend(parsed.data, lineup, request, signal) });
          } catch (error) {
            signal.throwIfAborted();
            const problem = problemOf(error, request.id);
            if (problem.status >= 500) context.onError(error, request.id);
            results.push({ status: problem.status, problem });
          }
        }
        return { requestId: request.id, results };
      }),
  );

  app.post(
    "/v1/similar",
    {
      schema: {
        summary: "The items most like one",
        body: schemas.similar,
        response: { 200: similarAnswer, ...PROBLEMS },
      },
    },
    (request, reply) =>
      withLineup(reply, async ({ first: served }, signal) => {
        const { item, k, ...rest } = request.body;
        const { id, title } = served.item(item);
        const items = await served.similarItems(item, { k, ...rest, signal });
        return { requestId: request.id, model: modelOf(served), item: { id, title }, items };
      }),
  );

  app.get(
    "/v1/users/:id/interests",
    {
      schema: {
        summary: "What a user is interested in, largest share first",
        params: schemas.id,
        response: { 200: interestsAnswer, ...PROBLEMS },
      },
    },
    (request, reply) =>
      withLineup(reply, async (lineup, signal) => {
        const user = request.params.id;
        const { served } = lineup.choose({ user });
        const interests = await served.interests(userOf(user, served, events), { unknownItems: "skip", signal });
        return {
          requestId: request.id,
          model: modelOf(served),
          user,
          interests: interestsOf(interests, titledItems(served)),
        };
      }),
  );

  app.get(
    "/v1/items/:id",
    {
      schema: {
        summary: "What is known of an item",
        params: schemas.id,
        response: { 200: itemAnswer, ...PROBLEMS },
      },
    },
    (request) =>
      holder.use(async ({ first: served }) => {
        const { categories, columns, ...item } = served.item(request.params.id);
        return {
          ...item,
          categories: [...categories],
          columns: columns as (typeof itemAnswer)["_output"]["columns"],
        };
      }),
  );

  app.get(
    "/v1/variants",
    {
      schema: {
        summary: "What is served, and to which share of the users",
        response: { 200: variantsAnswer, ...PROBLEMS },
      },
    },
    (request) =>
      holder.use(async ({ all, byRequest }) => ({
        requestId: request.id,
        byRequest,
        variants: all.map(({ name, share, served }) => {
          const { items, users, rules = 0 } = served;
          return { name, share, model: modelOf(served), items, users, rules };
        }),
      })),
  );

  app.post(
    "/v1/events",
    {
      schema: {
        summary: "What users have done: on the disk when it is acknowledged, and known to the next answer",
        body: schemas.events,
        response: { 200: eventsAnswer, ...PROBLEMS },
      },
    },
    async (request) => {
      const hasItem = await holder.use(
        async ({ all }) =>
          (id: string) =>
            all.some(({ served }) => served.hasItem(id)),
      );
      const { accepted, repeated, rejected } = await events.record(request.body.events, hasItem, new Date());
      metrics.events.inc({ outcome: "accepted" }, accepted);
      metrics.events.inc({ outcome: "repeated" }, repeated);
      metrics.events.inc({ outcome: "rejected" }, rejected.length);
      return {
        requestId: request.id,
        accepted,
        repeated,
        rejected: rejected.map(({ index, error }) => ({ index, problem: problemOf(error, request.id) })),
      };
    },
  );
}

/** Nobody reads it: it ends what is under way, and is what the metrics count. */
const CLIENT_GONE = new RequestError({ code: "CLIENT_GONE", status: 499, detail: "the client went away" });

/** Aborted when the client goes away before its answer, or when its time is up. */
function requestSignal(reply: FastifyReply, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  const late = setTimeout(() => {
    controller.abort(
      new RequestError({
        code: "TIMED_OUT",
        status: 504,
        detail: `the request took longer than ${timeoutMs} ms`,
        hint: "Ask for less at once, or start the service with a larger --timeout.",
      }),
    );
  }, timeoutMs);
  reply.raw.once("close", () => {
    clearTimeout(late);
    if (!reply.raw.writableEnded) controller.abort(CLIENT_GONE);
  });
  return controller.signal;
}
