import { PrismrecError } from "../base/errors.js";
import { createRandom } from "../base/random.js";
import { newItems } from "./training-matrix.js";
import type { EvaluationPart, Split, SplitProtocol, TrainingPart } from "./types.js";

export interface SplitOptions {
  /** Default `user-disjoint`. */
  readonly protocol?: SplitProtocol;
  /** Shuffles the users of `user-disjoint` (default 2026); the other protocols draw nothing. */
  readonly seed?: number;
  /**
   * Shares of users (`user-disjoint`), of each user's events (`user-ratio`) or of all events (`temporal`) that go to
   * train and valid; the rest is test. Default 0.8 and 0.1.
   */
  readonly trainShare?: number;
  readonly validShare?: number;
  /** Leading share of an evaluated user's events that is history under `user-disjoint` (default 0.8, rounded down). */
  readonly historyShare?: number;
  /** Part of each external user id: fixes a `user-disjoint` split; users that it does not name are left out. */
  readonly assignment?: ReadonlyMap<string, SplitPart>;
  /**
   * Parts that users of a `user-disjoint` split have from before, by external id: they stay there, and each other user's part is
   * drawn by itself, so that whoever comes moves nobody.
   */
  readonly known?: ReadonlyMap<string, SplitPart>;
}

export const DEFAULT_SPLIT_SEED = 2026;

export type SplitPart = "train" | "valid" | "test";

/** The users to split, each one's events oldest first. `userIds` is in id order. */
export interface Sequences {
  readonly userIds: readonly string[];
  /** [users + 1] */
  readonly indptr: Uint32Array;
  /** [events]; `temporal` needs them. */
  readonly timestamps?: BigInt64Array;
  /** [events] Where a user may hold an item several times: somebody whose targets are all old news is not asked about. */
  readonly items?: Uint32Array;
}

export interface SplitOutcome {
  readonly split: Split;
  /** Users that no part holds: outside the assignment, or too short to have both a history and a target. */
  readonly leftOut: Uint32Array;
}

/**
 * Splits users' sequences under one of four protocols:
 * - `user-disjoint`: users are shuffled with the seed and shared out (`known`: stay where they were); of a valid or test user the first
 *   floor(historyShare * n) events are the history and the rest the targets;
 * - `leave-one-out`: the last event is the test target, the one before it the valid target, the rest is trained on;
 * - `user-ratio`: the same with floor(trainShare * n) and floor((trainShare + validShare) * n) leading events;
 * - `temporal`: two instants cut all events into train, valid and test; a user is evaluated where both sides of a cut
 *   hold events, so nothing that is learned from lies after anything that is asked for.
 * Throws SPLIT_INVALID where a part would hold nobody, CONFIG_INVALID for impossible shares.
 */
export function applySplit(sequences: Sequences, options: SplitOptions = {}): SplitOutcome {
  const { protocol = "user-disjoint", trainShare = 0.8, validShare = 0.1, historyShare = 0.8 } = options;
  for (const [name, share] of Object.entries({ trainShare, validShare, historyShare })) {
    if (!(share > 0 && share < 1)) {
      throw new PrismrecError("CONFIG_INVALID", `${name} is not a share`, {
        expected: "a number between 0 and 1, both excluded",
        received: String(share),
      });
    }
  }
  if (trainShare + validShare >= 1) {
    throw new PrismrecError("CONFIG_INVALID", "train and valid leave nothing for the test part", {
      expected: "trainShare + validShare < 1",
      received: `${trainShare} + ${validShare}`,
    });
  }
  if (options.assignment !== undefined && protocol !== "user-disjoint") {
    throw new PrismrecError("SPLIT_INVALID", "a split file assigns whole users to parts", {
      expected: "protocol user-disjoint",
      received: protocol,
    });
  }
  const builder = new SplitBuilder(sequences, protocol);
  switch (protocol) {
    case "user-disjoint":
      splitUsers(sequences, builder, { trainShare, validShare, historyShare, ...options });
      break;
    case "leave-one-out":
      builder.cutEach((n) => [n - 2, n - 1]);
      break;
    case "user-ratio":
      builder.cutEach((n) => [floorShare(trainShare, n), floorShare(trainShare + validShare, n)]);
      break;
    case "temporal":
      splitByTime(sequences, builder, trainShare, validShare);
      break;
  }
  return builder.finish();
}

/** floor(share * n) that a share such as 0.8 + 0.1 = 0.9 - 1e-16 does not push one too low. */
function floorShare(share: number, n: number): number {
  return Math.floor(share * n + 1e-9);
}

function splitUsers(
  sequences: Sequences,
  builder: SplitBuilder,
  options: Required<Pick<SplitOptions, "trainShare" | "validShare" | "historyShare">> & SplitOptions,
): void {
  const count = sequences.userIds.length;
  const parts = new Map<number, SplitPart>();
  if (options.assignment !== undefined) {
    sequences.userIds.forEach((id, user) => {
      const part = options.assignment?.get(id);
      if (part !== undefined) parts.set(user, part);
    });
  } else if (options.known !== undefined) {
    const { known, trainShare, validShare, seed = DEFAULT_SPLIT_SEED } = options;
    sequences.userIds.forEach((id, user) => {
      const drawn = createRandom(seed, `split/${id}`).uniform();
      const part = drawn < trainShare ? "train" : drawn < trainShare + validShare ? "valid" : "test";
      parts.set(user, known.get(id) ?? part);
    });
  } else {
    const shuffled = createRandom(options.seed ?? DEFAULT_SPLIT_SEED, "split").shuffle(
      Uint32Array.from({ length: count }, (_, u) => u),
    );
    const trainEnd = floorShare(options.trainShare, count);
    const validEnd = trainEnd + floorShare(options.validShare, count);
    shuffled.forEach((user, place) => {
      parts.set(user, place < trainEnd ? "train" : place < validEnd ? "valid" : "test");
    });
  }
  for (let user = 0; user < count; user++) {
    const n = sequences.indptr[user + 1]! - sequences.indptr[user]!;
    const part = parts.get(user);
    if (part === "train") builder.train(user, n);
    else if (part !== undefined) builder.evaluate(part, user, floorShare(options.historyShare, n), n);
  }
}

function splitByTime(sequences: Sequences, builder: SplitBuilder, trainShare: number, validShare: number): void {
  const { timestamps, indptr } = sequences;
  if (timestamps === undefined) {
    throw new PrismrecError("SPLIT_INVALID", "a temporal split needs timestamps", {
      expected: "a timestamp column",
      received: "events without times",
      hint: "Name the column, or choose another split.",
    });
  }
  const all = timestamps.slice().sort();
  const cut = (share: number): bigint => all[Math.min(all.length - 1, floorShare(share, all.length))] ?? 0n;
  const [validFrom, testFrom] = [cut(trainShare), cut(trainShare + validShare)];
  for (let user = 0; user + 1 < indptr.length; user++) {
    const own = timestamps.subarray(indptr[user]!, indptr[user + 1]!);
    const before = (instant: bigint): number => {
      const first = own.findIndex((time) => time >= instant);
      return first === -1 ? own.length : first;
    };
    const [trainEnd, validEnd] = [before(validFrom), before(testFrom)];
    if (trainEnd > 0) builder.train(user, trainEnd);
    builder.evaluate("valid", user, trainEnd, validEnd);
    builder.evaluate("test", user, validEnd, own.length);
  }
}

class SplitBuilder {
  readonly #train: { user: number; end: number }[] = [];
  readonly #parts: Record<"valid" | "test", { user: number; historyEnd: number; targetEnd: number }[]> = {
    valid: [],
    test: [],
  };
  readonly #placed = new Set<number>();

  constructor(
    readonly sequences: Sequences,
    readonly protocol: SplitProtocol,
  ) {}

  train(user: number, end: number): void {
    this.#placed.add(user);
    this.#train.push({ user, end });
  }

  /** A user without a history or without a new target cannot be asked about and stays out of the part. */
  evaluate(part: "valid" | "test", user: number, historyEnd: number, targetEnd: number): void {
    if (historyEnd < 1 || targetEnd <= historyEnd) return;
    const { items, indptr } = this.sequences;
    if (items !== undefined) {
      const own = items.subarray(indptr[user]!, indptr[user + 1]!);
      if (newItems(own.subarray(0, historyEnd), own.subarray(historyEnd, targetEnd)).length === 0) return;
    }
    this.#placed.add(user);
    this.#parts[part].push({ user, historyEnd, targetEnd });
  }

  /** Cuts every sequence in three; one too short for that is trained on whole. */
  cutEach(cuts: (length: number) => readonly [number, number]): void {
    const { indptr } = this.sequences;
    for (let user = 0; user + 1 < indptr.length; user++) {
      const n = indptr[user + 1]! - indptr[user]!;
      const [trainEnd, validEnd] = cuts(n);
      const whole = trainEnd < 1 || validEnd <= trainEnd || n <= validEnd;
      this.train(user, whole ? n : trainEnd);
      if (whole) continue;
      this.evaluate("valid", user, trainEnd, validEnd);
      this.evaluate("test", user, validEnd, n);
    }
  }

  finish(): SplitOutcome {
    const train: TrainingPart = {
      users: Uint32Array.from(this.#train, ({ user }) => user),
      ends: Uint32Array.from(this.#train, ({ end }) => end),
    };
    const part = (name: "valid" | "test"): EvaluationPart => ({
      users: Uint32Array.from(this.#parts[name], ({ user }) => user),
      historyEnds: Uint32Array.from(this.#parts[name], ({ historyEnd }) => historyEnd),
      targetEnds: Uint32Array.from(this.#parts[name], ({ targetEnd }) => targetEnd),
    });
    const split: Split = { protocol: this.protocol, train, valid: part("valid"), test: part("test") };
    const users = this.sequences.userIds.length;
    for (const name of ["train", "valid", "test"] as const) {
      if (split[name].users.length > 0) continue;
      throw new PrismrecError("SPLIT_INVALID", `the ${name} part of the ${this.protocol} split holds nobody`, {
        expected: "at least one user in each of train, valid and test",
        received: `${users} users, ${this.sequences.indptr[users] ?? 0} events`,
        hint: "More data, a lower core, or another split is needed; with a split file, check that its ids are the data's.",
      });
    }
    const leftOut = Uint32Array.from({ length: users }, (_, user) => user).filter((user) => !this.#placed.has(user));
    return { split, leftOut };
  }
}
