import { access } from "node:fs/promises";
import { join } from "node:path";
import { PrismrecError, yieldToEventLoop } from "@prismrec/core/base";
import { type Dataset, userHistory } from "@prismrec/core/data";
import { readTimedEvents, type TimedEvents } from "@prismrec/core/data/import";
import {
  bootstrapMeans,
  type Difference,
  type Exposure as Exposed,
  ExposureMeter,
  type Interval,
  unpairedBootstrap,
} from "@prismrec/core/metrics";
import { type Exposure, readExposures } from "@prismrec/service/exposures";
import { EVENTS_FILE } from "../service-files.js";

/** What a shown list is judged by, and over which lists. */
export const LOG_METRICS = {
  "hit-rate": "share of the lists with an item that was engaged with later",
  precision: "share of the shown items that were engaged with later",
  recall: "share of what was engaged with later that the list had shown; lists after which nothing was have none",
  ndcg: "gain of the hits at the positions where they were shown, over the best order of the same positions; as recall",
} as const;
export type LogMetric = keyof typeof LOG_METRICS;
const METRICS = Object.keys(LOG_METRICS) as LogMetric[];

export interface JudgeLogOptions {
  /** Exposure log. */
  readonly log: string;
  /** Table of events with times; absent: the journal of the run's service. */
  readonly events?: string;
  /** Run directory. */
  readonly run: string;
  /** Microseconds after a list in which an event counts for it. */
  readonly within: bigint;
  readonly seed: number;
  readonly signal: AbortSignal;
}

export interface JudgedVariant {
  readonly lists: number;
  /** Users whose lists are judged. */
  readonly users: number;
  /** Judged lists after which their user engaged with anything, shown or not. */
  readonly engaged: number;
  /** Mean over users of the mean over their lists; a metric that no list has is left out. */
  readonly metrics: Partial<Record<LogMetric, Interval>>;
  /** What the lists do to the catalog, whatever came of them. */
  readonly exposure: Exposed & { readonly n: number };
}

/** `metrics` of `a` less those of `b`: other users, resampled each by themselves. */
export interface VariantDifference {
  readonly a: string;
  readonly b: string;
  readonly metrics: Partial<Record<LogMetric, Difference>>;
}

/** What was shown, and what became of it. */
export interface LogReport {
  readonly lists: number;
  /** ISO times of the first and the last list. */
  readonly from: string;
  readonly to: string;
  readonly withinHours: number;
  readonly events: number;
  /** By name, ascending; `all` where no variants were served. */
  readonly variants: Readonly<Record<string, JudgedVariant>>;
  readonly differences: readonly VariantDifference[];
  /** What was left out or cannot be told. */
  readonly notes: readonly string[];
}

/** Lists that were shown without an experiment. */
const WITHOUT = "all";
const LISTS_PER_TURN = 2000;

/**
 * Judges the lists of an exposure log by what their users engaged with later: an event counts for every list of its user that
 * was shown before it, by no more than `within`.
 *
 * @throws PrismrecError DATA_FORMAT with the line of the log that cannot be read, DATA_EMPTY, FILE_NOT_FOUND; an aborted signal
 *   rejects with its reason
 */
export async function judgeLog(dataset: Dataset, options: JudgeLogOptions): Promise<LogReport> {
  const { log, within, seed, signal } = options;
  const lists: Exposure[] = [];
  const { torn } = await readExposures(log, (exposure) => lists.push(exposure));
  const [firstList] = lists;
  if (firstList === undefined) {
    throw new PrismrecError("DATA_EMPTY", `${log} holds no list`, {
      expected: "a line for each list that was shown",
      received: torn === 0 ? "an empty file" : "a line without an end",
      hint: "prismrec serve RUN --log FILE writes one.",
    });
  }
  const eventsPath = options.events ?? (await journalOf(options.run));
  const events = await readTimedEvents(eventsPath, {}, { signal });
  const later = eventsByUser(events);
  const groups = new Map<string, Group>();
  let [withoutUser, unknownItems, unfinished] = [0, 0, 0];
  const longest = lists.reduce((most, { items }) => Math.max(most, items.length), 1);
  let lastEvent = events.times[0]!;
  for (const time of events.times) if (time > lastEvent) lastEvent = time;
  const variantsOf = new Map<string, Set<string>>();
  for (const [n, list] of lists.entries()) {
    if (n % LISTS_PER_TURN === 0) await yieldToEventLoop(signal);
    const name = list.variant ?? WITHOUT;
    const group = groups.get(name) ?? new Group(dataset, longest);
    groups.set(name, group);
    unknownItems += group.show(list, dataset);
    if (list.user === null) {
      withoutUser++;
      continue;
    }
    const shownAt = BigInt(Date.parse(list.time)) * 1000n;
    if (shownAt + within > lastEvent) unfinished++;
    group.judge(list, engagedWith(later.get(list.user) ?? [], shownAt, within));
    const own = variantsOf.get(list.user) ?? new Set();
    variantsOf.set(list.user, own.add(name));
  }
  const names = [...groups.keys()].sort();
  const variants: Record<string, JudgedVariant> = {};
  for (const name of names) variants[name] = await groups.get(name)!.value(seed, signal);
  const several = [...variantsOf.values()].filter(({ size }) => size > 1).length;
  const times = lists.map(({ time }) => time).sort();
  return {
    lists: lists.length,
    from: times[0]!,
    to: times.at(-1)!,
    withinHours: Number(within) / 3.6e9,
    events: events.times.length,
    variants,
    differences: names.flatMap((b, n) =>
      names.slice(n + 1).map((a) => ({ a, b, metrics: differenceOf(groups.get(a)!, groups.get(b)!, seed) })),
    ),
    notes: [
      ...said(torn > 0 ? 1 : 0, `${torn} bytes at the end of the log are a line without an end: left out`),
      ...said(withoutUser, `${withoutUser} lists were for no user: what became of them cannot be told`),
      ...said(unfinished, `${unfinished} lists were shown too shortly before the last event to be judged in full`),
      ...said(
        unknownItems,
        `${unknownItems} shown items are not in the run's catalog: coverage, novelty and popularity are without them`,
      ),
      ...said(several, `${several} users had lists of several variants: they count with each`),
      ...events.warnings,
    ],
  };
}

const said = (count: number, note: string): string[] => (count === 0 ? [] : [note]);

async function journalOf(run: string): Promise<string> {
  const path = join(run, EVENTS_FILE);
  try {
    await access(path);
    return path;
  } catch (error) {
    throw new PrismrecError("FILE_NOT_FOUND", "there are no events to judge the lists by", {
      expected: "a table of events with times",
      received: `no ${path}`,
      hint: "Name one with --events FILE: what users did after the lists were shown.",
      cause: error,
    });
  }
}

interface Later {
  readonly time: bigint;
  readonly item: string;
}

/** Each user's events, by time. */
function eventsByUser({ userIds, itemIds, users, items, times }: TimedEvents): Map<string, Later[]> {
  const all = new Map<string, Later[]>();
  for (const [n, user] of users.entries()) {
    const id = userIds[user]!;
    const own = all.get(id) ?? [];
    all.set(id, own);
    own.push({ time: times[n]!, item: itemIds[items[n]!]! });
  }
  for (const own of all.values()) own.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  return all;
}

function engagedWith(events: readonly Later[], from: bigint, within: bigint): ReadonlySet<string> {
  let [low, high] = [0, events.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (events[middle]!.time < from) low = middle + 1;
    else high = middle;
  }
  const engaged = new Set<string>();
  for (let at = low; at < events.length && events[at]!.time <= from + within; at++) engaged.add(events[at]!.item);
  return engaged;
}

const discount = (position: number): number => 1 / Math.log2(position + 1);
const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** The value of one list by each metric; a metric that says nothing of it is left out. */
function valuesOf({ items }: Exposure, engaged: ReadonlySet<string>): Partial<Record<LogMetric, number>> {
  const hits = items.filter(({ id }) => engaged.has(id));
  const ideal = items
    .map(({ position }) => position)
    .sort((a, b) => a - b)
    .slice(0, engaged.size);
  return {
    "hit-rate": hits.length > 0 ? 1 : 0,
    ...(items.length === 0 ? {} : { precision: hits.length / items.length }),
    ...(engaged.size === 0 ? {} : { recall: hits.length / engaged.size }),
    ...(ideal.length === 0
      ? {}
      : { ndcg: sum(hits.map(({ position }) => discount(position))) / sum(ideal.map(discount)) }),
  };
}

/** The lists of one variant. */
class Group {
  readonly #meter: ExposureMeter;
  /** By user and metric: sum and number of lists. */
  readonly #users = new Map<string, Map<LogMetric, { sum: number; lists: number }>>();
  #lists = 0;
  #engaged = 0;

  constructor(
    dataset: Dataset,
    private readonly longest: number,
  ) {
    this.#meter = new ExposureMeter(longest, dataset.catalog, dataset.split.train.users.length);
  }

  /** @returns how many of the items the catalog lacks */
  show({ items, user }: Exposure, { catalog, log }: Dataset): number {
    this.#lists++;
    const known = items.map(({ id }) => catalog.idOf(id)).filter((id) => id !== undefined);
    const index = user === null ? undefined : log.indexOf(user);
    this.#meter.add(known, index === undefined ? [] : userHistory(log, index).items);
    return items.length - known.length;
  }

  judge(list: Exposure, engaged: ReadonlySet<string>): void {
    if (engaged.size > 0) this.#engaged++;
    const own = this.#users.get(list.user!) ?? new Map<LogMetric, { sum: number; lists: number }>();
    this.#users.set(list.user!, own);
    for (const [metric, value] of Object.entries(valuesOf(list, engaged)) as [LogMetric, number][]) {
      const before = own.get(metric) ?? { sum: 0, lists: 0 };
      own.set(metric, { sum: before.sum + value, lists: before.lists + 1 });
    }
  }

  /** [users who have it] a metric, mean over each one's lists. */
  perUser(metric: LogMetric): number[] {
    return [...this.#users.values()].flatMap((own) => {
      const value = own.get(metric);
      return value === undefined ? [] : [value.sum / value.lists];
    });
  }

  async value(seed: number, signal: AbortSignal): Promise<JudgedVariant> {
    const metrics: Partial<Record<LogMetric, Interval>> = {};
    for (const metric of METRICS) {
      const values = this.perUser(metric);
      if (values.length > 0) Object.assign(metrics, await bootstrapMeans({ [metric]: values }, { seed, signal }));
    }
    return {
      lists: this.#lists,
      users: this.#users.size,
      engaged: this.#engaged,
      metrics,
      exposure: { n: this.longest, ...this.#meter.value() },
    };
  }
}

function differenceOf(a: Group, b: Group, seed: number): Partial<Record<LogMetric, Difference>> {
  return Object.fromEntries(
    METRICS.flatMap((metric) => {
      const [of, other] = [a.perUser(metric), b.perUser(metric)];
      return of.length === 0 || other.length === 0 ? [] : [[metric, unpairedBootstrap(of, other, { seed })]];
    }),
  );
}
