import type { Ranking } from "../metrics/ranking.js";
import { type Arrangement, arrange, COMPETING, type Preference } from "./arrange.js";
import { type ActiveRules, bitsOf } from "./rules.js";

/** Ranks some of the users of a batch: `k` items each, or as many as there are. */
export type RankUsers = (
  users: { readonly from: number; readonly to: number },
  k: number,
  filter: Uint32Array | undefined,
) => Promise<Ranking>;

export interface ListRequest {
  readonly users: number;
  readonly k: number;
  readonly itemCount: number;
  /** Which items may be listed at all; undefined: any. */
  readonly filter: Uint32Array | undefined;
  /** Dense ids of the pages before. */
  readonly shown: readonly number[];
  readonly rules: ActiveRules;
  readonly rank: RankUsers;
  /**
   * What counts beside the score for a user, made anew for each attempt.
   *
   * @param ranking in whose row the user's candidates stand
   */
  preferences(user: number, ranking: Ranking, row: number): readonly Preference[];
}

export interface PlacedLists {
  readonly ranking: Ranking;
  /** Of each user. */
  readonly arrangements: readonly Arrangement[];
}

/**
 * The lists of a batch by rules and preferences. So much of the exact ranking is asked for as decides every place: first what
 * usually does, then twice as much for whom that is too little, to the whole catalog if need be.
 */
export async function placeLists(request: ListRequest): Promise<PlacedLists> {
  const { users, k, itemCount, filter, shown, rules, rank, preferences } = request;
  const pins = rules.pins.map(({ item }) => item);
  // Searched among the pinned alone, they have their scores, and history, filter and exclusions hold for them too.
  const pinned =
    pins.length === 0
      ? undefined
      : await rank({ from: 0, to: users }, Math.min(pins.length, itemCount), both(filter, bitsOf(pins, itemCount)));
  let depth = Math.min(itemCount, k + COMPETING + pins.length);
  const first = await rank({ from: 0, to: users }, depth, filter);
  const sources = Array.from({ length: users }, (_, row) => ({ ranking: first, row }));
  const arrangements: (Arrangement | undefined)[] = [];
  for (;;) {
    for (const [user, { ranking, row }] of sources.entries()) {
      if (arrangements[user] !== undefined) continue;
      const from = row * ranking.k;
      const count = ranking.counts[row]!;
      arrangements[user] = arrange(
        {
          ids: ranking.ids.subarray(from, from + count),
          scores: ranking.scores.subarray(from, from + count),
          whole: count < ranking.k || ranking.k === itemCount,
        },
        {
          k,
          shown,
          rules,
          pinnable: new Set(pinned === undefined ? [] : idsOf(pinned, user)),
          preferences: preferences(user, ranking, row),
        },
      );
    }
    const short = [...sources.keys()].filter((user) => arrangements[user] === undefined);
    if (short.length === 0) break;
    depth = Math.min(itemCount, 2 * depth);
    for (const user of short) {
      sources[user] = { ranking: await rank({ from: user, to: user + 1 }, depth, filter), row: 0 };
    }
  }
  const decided = arrangements.map((arrangement) => arrangement!);
  return { ranking: merged(k, decided, sources, pinned), arrangements: decided };
}

interface Source {
  readonly ranking: Ranking;
  readonly row: number;
}

/** The lists as a ranking, with all that the searches said of their items. */
function merged(
  k: number,
  arrangements: readonly Arrangement[],
  sources: readonly Source[],
  pinned: Ranking | undefined,
): Ranking {
  const rows = arrangements.length;
  const named = sources[0]?.ranking.interests !== undefined;
  const shared = sources[0]?.ranking.priorShares !== undefined;
  const list = {
    k,
    ids: new Uint32Array(rows * k),
    scores: new Float32Array(rows * k),
    counts: Uint32Array.from(arrangements, ({ items }) => items.length),
    ...(named ? { interests: new Uint16Array(rows * k) } : {}),
    ...(shared ? { priorShares: new Float32Array(rows * k) } : {}),
  };
  for (const [user, { items }] of arrangements.entries()) {
    const own = sources[user]!;
    const places = new Map(idsOf(own.ranking, own.row).map((item, place) => [item, own.row * own.ranking.k + place]));
    for (const [place, item] of items.entries()) {
      const found = places.get(item);
      const ranking = found === undefined ? pinned! : own.ranking;
      const from = found ?? user * ranking.k + idsOf(ranking, user).indexOf(item);
      const to = user * k + place;
      list.ids[to] = item;
      list.scores[to] = ranking.scores[from]!;
      if (list.interests !== undefined) list.interests[to] = ranking.interests![from]!;
      if (list.priorShares !== undefined) list.priorShares[to] = ranking.priorShares![from]!;
    }
  }
  return list;
}

const idsOf = ({ k, ids, counts }: Ranking, row: number): number[] =>
  Array.from(ids.subarray(row * k, row * k + counts[row]!));

function both(filter: Uint32Array | undefined, bits: Uint32Array): Uint32Array {
  return filter === undefined ? bits : bits.map((word, n) => word & filter[n]!);
}
