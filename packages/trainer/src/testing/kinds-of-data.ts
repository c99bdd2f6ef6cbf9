import { createRandom, type Random } from "@prismrec/core/base";
import { createLog, type Dataset, type InteractionLog, userItems } from "@prismrec/core/data";
import { plantedData } from "../planted/planted-data.js";

const BEGINNING = 1_700_000_000;
const DAY = 86_400;
/** Probability that an event is followed by one more with an item that the user has had. */
const REPEATED = 0.4;
const BASKET = 4;

/** Users of a small shop, in the kinds that logs come in. For tests only. */
export const KINDS_OF_DATA = {
  /** A tenth of what the interests need to be told apart well. */
  "few users": (seed: number): Dataset => shop(seed, { users: 250 }),
  "histories of five": (seed: number): Dataset => shop(seed, { medianLength: 4 }),
  /** The same item again and again. */
  repeats: (seed: number): Dataset => rewritten(shop(seed), seed, withRepeats),
  /** Sets, in an order that was drawn. */
  "no order": (seed: number): Dataset => withoutOrder(shop(seed), seed),
  /** Several items at once, in the order of their ids. */
  baskets: (seed: number): Dataset => rewritten(shop(seed), seed, inBaskets),
} as const;

function shop(seed: number, shape: { readonly users?: number; readonly medianLength?: number } = {}): Dataset {
  const size = { users: 700, items: 120, interests: 6, medianLength: 10, trainShare: 0.7 };
  return plantedData({ ...size, ...shape, seed }).dataset;
}

interface Rewritten {
  readonly items: readonly number[];
  readonly times?: readonly number[];
  /** Events that stand for the leading `end` ones of before. */
  endOf(end: number): number;
}

/** The events of every user rewritten, history and targets apart. */
function rewritten(
  { log, split, ...rest }: Dataset,
  seed: number,
  rewrite: (items: Uint32Array, historyEnd: number, random: Random) => Rewritten,
): Dataset {
  const historyEnds = new Map(
    [split.valid, split.test].flatMap(({ users, historyEnds: ends }) =>
      [...users].map((user, j) => [user, ends[j]!] as const),
    ),
  );
  const users = log.userIds.map((id, user) => {
    const items = userItems(log, user);
    return rewrite(items, historyEnds.get(user) ?? items.length, createRandom(seed, `kind of data/${id}`));
  });
  const indptr = new Uint32Array(users.length + 1);
  for (const [user, { items }] of users.entries()) indptr[user + 1] = indptr[user]! + items.length;
  const times = users.flatMap((user) => user.times ?? []);
  const endsOf = (of: Uint32Array, ends: Uint32Array): Uint32Array => ends.map((end, j) => users[of[j]!]!.endOf(end));
  const evaluated = (part: Dataset["split"]["test"]) => ({
    users: part.users,
    historyEnds: endsOf(part.users, part.historyEnds),
    targetEnds: endsOf(part.users, part.targetEnds),
  });
  return {
    ...rest,
    log: createLog({
      userIds: log.userIds,
      indptr,
      items: Uint32Array.from(users.flatMap(({ items }) => items)),
      ...(times.length === 0 ? {} : { timestamps: BigInt64Array.from(times, BigInt) }),
    }),
    split: {
      ...split,
      train: { users: split.train.users, ends: endsOf(split.train.users, split.train.ends) },
      valid: evaluated(split.valid),
      test: evaluated(split.test),
    },
  };
}

function withRepeats(given: Uint32Array, _historyEnd: number, random: Random): Rewritten {
  const items: number[] = [];
  const ends = [0];
  for (const item of given) {
    items.push(item);
    while (random.uniform() < REPEATED) items.push(items[random.integer(0, items.length)]!);
    ends.push(items.length);
  }
  return { items, endOf: (end) => ends[end]! };
}

/** Baskets of one to four events within a minute, sorted by item; none holds both history and targets. */
function inBaskets(given: Uint32Array, historyEnd: number, random: Random): Rewritten {
  const items: number[] = [];
  const times: number[] = [];
  for (let at = 0, day = 0; at < given.length; day++) {
    const limit = at < historyEnd ? historyEnd : given.length;
    const end = Math.min(limit, at + 1 + random.integer(0, BASKET));
    items.push(...[...given.subarray(at, end)].sort((a, b) => a - b));
    for (; at < end; at++) times.push(BEGINNING + day * DAY + random.integer(0, 2) * 20);
  }
  times.sort((a, b) => a - b);
  return { items, times, endOf: (end) => end };
}

function withoutOrder({ log, split, ...rest }: Dataset, seed: number): Dataset {
  const shuffled: InteractionLog = { ...log, items: log.items.slice(), unordered: true };
  for (const [user, id] of log.userIds.entries()) {
    createRandom(seed, `kind of data/${id}`).shuffle(userItems(shuffled, user));
  }
  return { ...rest, log: shuffled, split };
}
