import { itemFilterSchema } from "@prismrec/core/recommend";
import { z } from "zod";
import { problemSchema } from "./problems.js";
import type { ServiceSettings } from "./settings.js";

const id = z.string().min(1).max(512);
const interestName = z.union([z.int().min(0), z.string()]).describe("an interest's index, or its label");

const historyEntry = z.union([
  id,
  z.strictObject({
    item: id,
    event: z.string().exactOptional(),
    time: z.union([z.number(), z.string()]).exactOptional(),
  }),
]);

const scalar = z.union([z.string(), z.number(), z.boolean()]);

const profile = z
  .record(z.string(), z.union([scalar, z.array(z.string()), z.null()]))
  .describe("what is known of somebody beside the history, by column of the users file");

/** What each verb takes, within the limits of the settings. */
export function requestSchemas({ kMax, historyMax, batchMax, eventsMax }: ServiceSettings) {
  const k = z.int().min(1).max(kMax).default(10).describe("length of the list");
  const exclude = z.array(id).max(10_000).describe("ids of items that must not be listed");
  const recommend = z
    .strictObject({
      user: id.describe("a user of the run, or of events that were sent").exactOptional(),
      history: z
        .array(historyEntry)
        .max(historyMax)
        .describe("anybody's history in place of a user: ids, or events with kind and time; oldest first")
        .exactOptional(),
      profile: profile.exactOptional(),
      k,
      filter: itemFilterSchema.exactOptional(),
      exclude: exclude.exactOptional(),
      interests: z
        .strictObject({
          mute: z.array(interestName).max(100).describe("left out of the search").exactOptional(),
          boost: z
            .array(z.strictObject({ interest: interestName, factor: z.number().positive() }))
            .max(100)
            .describe("counted so many times: above 1 more, below 1 less")
            .exactOptional(),
        })
        .describe("interests that are left out, or count more (a factor above 1) or less (below 1)")
        .exactOptional(),
      diversity: z
        .number()
        .min(0)
        .max(1)
        .describe("0: the list by score; up to 1: places go to items that are less like those before them")
        .exactOptional(),
      variant: z
        .string()
        .max(64)
        .describe("which variant is to answer, where the service lets requests say so")
        .exactOptional(),
      explain: z
        .boolean()
        .default(true)
        .describe("whether a model without interests is asked which events are behind each item"),
      cursor: z
        .string()
        .max(100_000)
        .describe("of the page before; the rest of the request stays as it was")
        .exactOptional(),
    })
    .refine(({ user, history }) => (user === undefined) !== (history === undefined), {
      message: "either user or history",
    })
    .refine(({ user, profile }) => user === undefined || profile === undefined, {
      message: "a profile goes with a history; that of a user is known",
      path: ["profile"],
    });
  return {
    recommend,
    batch: z.strictObject({
      requests: z
        .array(z.unknown())
        .min(1)
        .max(batchMax)
        .meta({ items: z.toJSONSchema(recommend, { io: "input" }) })
        .describe("each as /v1/recommend takes it; one that cannot be costs no other"),
    }),
    similar: z.strictObject({
      item: id.describe("what the others are to be like"),
      k,
      filter: itemFilterSchema.exactOptional(),
      exclude: exclude.exactOptional(),
    }),
    events: z.strictObject({
      events: z
        .array(z.unknown())
        .min(1)
        .max(eventsMax)
        .meta({ items: z.toJSONSchema(eventSchema) })
        .describe("one that cannot be costs no other"),
    }),
    id: z.strictObject({ id }),
  };
}
export type RequestSchemas = ReturnType<typeof requestSchemas>;
export type RecommendBody = z.output<RequestSchemas["recommend"]>;

export const eventSchema = z.strictObject({
  id: z.string().min(1).max(128).describe("made by the client: an event that is sent again under its id is one event"),
  user: id,
  item: id,
  event: z.string().max(128).describe("what happened (view, cart, buy), in the words of the log").exactOptional(),
  time: z
    .union([z.number(), z.string().max(64)])
    .describe("a number as in the log, or a date; absent: when the service received it")
    .exactOptional(),
});
export type EventBody = z.output<typeof eventSchema>;

const item = z.strictObject({ id: z.string(), title: z.string() });
const model = z
  .strictObject({ name: z.string(), hash: z.string() })
  .describe("what answered; the same answers, the same hash");

const interest = z.strictObject({
  index: z.int(),
  label: z.string(),
  kind: z.enum(["semantic", "collaborative"]).describe("of a cluster of the history, or learned from behaviour alone"),
  share: z.number(),
  factor: z.number().describe("what the request made it count, 0: muted").exactOptional(),
  evidence: z.array(item).describe("items of the history that it rests on, strongest first"),
});

const requestId = z.string().describe("also the header x-request-id, and the line of the exposure log");

export const recommendAnswer = z.strictObject({
  requestId,
  model,
  variant: z
    .strictObject({
      name: z.string(),
      by: z
        .enum(["user", "request", "default"])
        .describe("user: it is the user's; request: the request named it; default: no user was named"),
    })
    .nullable()
    .describe("which variant answered; null: there are none"),
  exact: z
    .boolean()
    .describe("the list is the best by score of all items considered; false: diversity or rules have changed it"),
  considered: z.int().describe("items that history, exclude and filter let through"),
  fallback: z
    .strictObject({ kind: z.literal("popular"), reason: z.enum(["unknown-user", "empty-history"]), detail: z.string() })
    .nullable()
    .describe("why the list is of the most popular items; null: it is the model's"),
  interests: z.array(interest).describe("of the user, largest share first"),
  items: z.array(
    z.strictObject({
      id: z.string(),
      title: z.string(),
      score: z.number(),
      because: z
        .strictObject({
          interest: z.int().nullable(),
          label: z.string().nullable(),
          evidence: z.array(item),
        })
        .describe("the interest behind it, and the items of the history that it rests on; null without interests"),
      prior: z
        .number()
        .nullable()
        .describe("the part of its lead that a linear prior gives, 0 to 1; null: there is none"),
      pinned: z.boolean().describe("a rule has put it in its place"),
    }),
  ),
  rules: z
    .array(
      z.strictObject({
        rule: z.string().describe("JSON pointer into the rules, such as #/pin/0"),
        name: z.string().exactOptional(),
        items: z.int().describe("how many items it put into the list or held back"),
      }),
    )
    .describe("rules that made a difference to the list"),
  cursor: z.string().nullable().describe("for the next page; null: there is none"),
  warnings: z
    .array(z.strictObject({ code: z.string(), detail: z.string(), pointer: z.string().exactOptional() }))
    .describe("what was left out of the request, with a pointer to it"),
});
export type RecommendAnswer = z.output<typeof recommendAnswer>;

export const batchAnswer = z.strictObject({
  requestId,
  results: z.array(
    z.union([
      z.strictObject({ status: z.literal(200), answer: recommendAnswer }),
      z.strictObject({ status: z.int(), problem: problemSchema }),
    ]),
  ),
});

export const similarAnswer = z.strictObject({
  requestId,
  model,
  item,
  items: z.array(z.strictObject({ id: z.string(), title: z.string(), score: z.number() })),
});

export const variantsAnswer = z.strictObject({
  requestId,
  byRequest: z.boolean().describe("whether a request may name its variant"),
  variants: z.array(
    z.strictObject({
      name: z.string().nullable().describe("null: there are no variants, all users have the same"),
      share: z.number().describe("of the users"),
      model,
      items: z.int(),
      users: z.int(),
      rules: z.int().describe("how many business rules its lists follow"),
    }),
  ),
});

export const interestsAnswer = z.strictObject({
  requestId,
  model,
  user: z.string(),
  interests: z.array(interest),
});

export const itemAnswer = z.strictObject({
  id: z.string(),
  title: z.string(),
  categories: z.array(z.string()),
  popularity: z.int().describe("training users who took it"),
  columns: z.record(z.string(), z.union([scalar, z.array(z.string()), z.null()])),
});

export const eventsAnswer = z.strictObject({
  requestId,
  accepted: z.int().describe("new events, on the disk by now"),
  repeated: z.int().describe("events that had been sent before"),
  rejected: z.array(z.strictObject({ index: z.int(), problem: problemSchema })),
});

export const readyAnswer = z.strictObject({
  status: z.literal("ready"),
  model,
  items: z.int(),
  users: z.int(),
});

export const liveAnswer = z.strictObject({ status: z.literal("live") });
