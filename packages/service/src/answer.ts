import type { RecommendationRequest, RecommendedItem, RecommendOptions, UserInterest } from "@prismrec/core/recommend";
import { cursorOf, readCursor } from "./cursor.js";
import type { EventStore } from "./events.js";
import type { RecommendAnswer, RecommendBody } from "./schemas.js";
import type { Served } from "./served.js";
import type { ServiceSettings } from "./settings.js";

type Warning = RecommendAnswer["warnings"][number];
type Answered = Omit<RecommendAnswer, "requestId" | "variant">;
type Interest = Answered["interests"][number];

interface Surroundings {
  readonly served: Served;
  readonly events: EventStore;
  readonly settings: ServiceSettings;
}

export const modelOf = ({ model, hash }: Served): Answered["model"] => ({ name: model, hash });

/**
 * The answer to one request for a list: the recommender's, or, where nothing is known of whom it is for, the most popular
 * items, which it says.
 *
 * @throws PrismrecError INVALID_ARGUMENT, MODEL_UNSUPPORTED; RequestError for a cursor of another request; an aborted
 *   signal rejects with its reason
 */
export async function answerRecommend(
  body: RecommendBody,
  { served, events, settings }: Surroundings,
  signal: AbortSignal,
): Promise<Answered> {
  const before = readCursor(body);
  const { k, filter, exclude = [], interests, diversity } = body;
  const list = { k: Math.min(k, served.items), exclude, shown: before, ...(filter === undefined ? {} : { filter }) };
  const found = whomOf(body, served, events);
  if ("reason" in found) {
    const { items, considered, exact, rules } = served.popularItems(list);
    const warnings = [...found.warnings];
    if (interests !== undefined) {
      warnings.push({
        code: "INVALID_ARGUMENT",
        detail: "there are no interests to control here",
        pointer: "#/interests",
      });
    }
    if (diversity !== undefined && diversity > 0) {
      const detail = "the most popular items are given as they are: diversity has no part in them";
      warnings.push({ code: "INVALID_ARGUMENT", detail, pointer: "#/diversity" });
    }
    return {
      model: modelOf(served),
      exact,
      considered,
      fallback: { kind: "popular", reason: found.reason, detail: found.detail },
      interests: [],
      items: items.map(({ pinned, ...item }) => ({
        ...item,
        because: { interest: null, label: null, evidence: [] },
        prior: null,
        pinned: pinned === true,
      })),
      rules: [...rules],
      ...paged(body, before, items, settings, warnings),
    };
  }
  const options: RecommendOptions = {
    ...list,
    explain: body.explain,
    unknownItems: "skip",
    signal,
    ...(interests === undefined ? {} : { interests }),
    ...(diversity === undefined ? {} : { diversity }),
  };
  const { items, interests: own, considered, exact, rules } = await served.recommend(found.whom, options);
  const titled = titledItems(served);
  const told = interestsOf(own, titled);
  const warnings = [...found.warnings];
  if (own.length > 0 && own.every(({ factor }) => factor === 0)) {
    warnings.push({
      code: "INVALID_ARGUMENT",
      detail: "every interest is muted: nothing is left",
      pointer: "#/interests",
    });
  }
  return {
    model: modelOf(served),
    exact,
    considered,
    fallback: null,
    interests: told,
    items: items.map((item) => recommended(item, told, titled)),
    rules: [...rules],
    ...paged(body, before, items, settings, warnings),
  };
}

type Found =
  | { readonly whom: RecommendationRequest; readonly warnings: readonly Warning[] }
  | {
      readonly reason: "unknown-user" | "empty-history";
      readonly detail: string;
      readonly warnings: readonly Warning[];
    };

/** Whose history a list is made from, or why there is none. */
function whomOf({ user, history = [], profile }: RecommendBody, served: Served, events: EventStore): Found {
  if (user !== undefined) {
    const since = events.of(user);
    const warnings = since
      .filter(({ item }) => !served.hasItem(item))
      .map(({ item }) => unknownItem(`an event of this user is of an item that the model does not know: ${item}`));
    if (served.knowsUser(user) || warnings.length < since.length)
      return { whom: userOf(user, served, events), warnings };
    return { reason: "unknown-user", detail: "nothing is known of this user: the most popular items", warnings };
  }
  const warnings = history.flatMap((entry, place) => {
    const item = typeof entry === "string" ? entry : entry.item;
    if (served.hasItem(item)) return [];
    return [unknownItem(`the catalog has no item ${item}: left out`, `#/history/${place}`)];
  });
  if (warnings.length === history.length) {
    const detail =
      history.length === 0
        ? "the history is empty: the most popular items"
        : "the catalog knows no item of the history: the most popular items";
    return { reason: "empty-history", detail, warnings };
  }
  return { whom: { history, ...(profile === undefined ? {} : { profile }) }, warnings };
}

/** A user by what the model's log and later events know. */
export function userOf(user: string, served: Served, events: EventStore): RecommendationRequest {
  const since = events.of(user);
  if (since.length === 0) return { user };
  return served.knowsUser(user) ? { user, since } : { history: since };
}

const unknownItem = (detail: string, pointer?: string): Warning => ({
  code: "UNKNOWN_ITEM",
  detail,
  ...(pointer === undefined ? {} : { pointer }),
});

interface TitledItem {
  readonly id: string;
  readonly title: string;
}

/** Ids with their titles; an answer names the same few items many times. */
export function titledItems(served: Served): (ids: readonly string[]) => TitledItem[] {
  const known = new Map<string, TitledItem>();
  const titled = (id: string): TitledItem => {
    const item = known.get(id) ?? { id, title: served.item(id).title };
    known.set(id, item);
    return item;
  };
  return (ids) => ids.map(titled);
}

type Titled = ReturnType<typeof titledItems>;

export function interestsOf(interests: readonly UserInterest[], titled: Titled): Interest[] {
  return interests.map(({ index, kind, labels, share, because, factor }) => ({
    index,
    label: labels.join(", "),
    kind,
    share,
    ...(factor === undefined ? {} : { factor }),
    evidence: titled(because),
  }));
}

function recommended(
  { id, title, score, interest, because, prior, pinned }: RecommendedItem,
  interests: readonly Interest[],
  titled: Titled,
): Answered["items"][number] {
  const label = interests.find(({ index }) => index === interest)?.label ?? null;
  return {
    id,
    title,
    score,
    because: { interest, label, evidence: titled(because) },
    prior: prior ?? null,
    pinned: pinned === true,
  };
}

/** The cursor of the next page; a list that fell short of `k` has none. */
function paged(
  body: RecommendBody,
  before: readonly string[],
  items: readonly { readonly id: string }[],
  { pagedMax }: ServiceSettings,
  warnings: readonly Warning[],
): Pick<Answered, "cursor" | "warnings"> {
  if (items.length < body.k) return { cursor: null, warnings: [...warnings] };
  const ids = [...before, ...items.map(({ id }) => id)];
  if (ids.length < pagedMax) return { cursor: cursorOf(body, ids), warnings: [...warnings] };
  const detail = `the pages of a list hold ${pagedMax} items together at most: this is the last`;
  return { cursor: null, warnings: [...warnings, { code: "INVALID_ARGUMENT", detail }] };
}
