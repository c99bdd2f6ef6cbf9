import { join } from "node:path";
import type { Dataset } from "@prismrec/core/data";
import type { TrainConfig } from "../config.js";
import type { TrainEvent } from "../training/events.js";
import { train } from "../training/train.js";
import { PriorJudge, type PriorJudgeOptions, type PriorPart } from "./choose-prior.js";
import { FOLDS, type FoldInput, holdOut } from "./folds.js";

/** Validation users from which on it matters little that the same users have stopped the training. */
const MANY_USERS = 1000;
/** Users that a choice is to be made by, where there are as many. */
const ENOUGH_USERS = 300;

/**
 * How many parts of the training users are to be held out in turn, so that enough users choose who have not stopped the
 * training: none where many validate, or where a split asks training users already.
 */
export function foldsWanted({ split }: Dataset): number {
  const usersOfFold = Math.floor(split.train.users.length / FOLDS);
  if (split.protocol !== "user-disjoint" || split.valid.users.length >= MANY_USERS || usersOfFold === 0) return 0;
  return Math.min(FOLDS, Math.ceil(ENOUGH_USERS / usersOfFold));
}

export interface FoldNetworksOptions extends Pick<PriorJudgeOptions, "cutoffs" | "signal"> {
  /** Folder of the trainings, each of which can go on. */
  readonly dir: string;
  /** Most steps of all together. */
  readonly budget: number;
  readonly historyShare?: number;
  readonly onEvent?: (fold: number, epochs: number, event: TrainEvent) => void;
}

/** A training that others are to be like, and what it took. */
export interface OwnTraining {
  readonly config: TrainConfig;
  readonly bestEpoch: number;
  readonly epochs: number;
  readonly steps: number;
}

export interface FoldNetworks {
  readonly parts: readonly PriorPart[];
  /** Of the trainings together. */
  readonly steps: number;
}

/**
 * Networks like one that has been trained, each without a part of the training users and for as long as that was found
 * best: as many as `foldsWanted` and the budget have room for, for `PriorChoice`. They learn from no crowd, whose users are
 * made of those held out as well.
 *
 * @throws what `train` throws; an aborted signal rejects with its reason
 */
export async function trainFolds(
  input: FoldInput,
  own: OwnTraining,
  { dir, budget, historyShare, onEvent, ...options }: FoldNetworksOptions,
): Promise<FoldNetworks> {
  const { config } = own;
  const { signal } = options;
  const wanted = foldsWanted(input.dataset);
  const epochs = Math.max(1, own.bestEpoch);
  const stopping = { ...config.stopping, epochs, patience: epochs };
  const parts: PriorPart[] = [];
  let [steps, each] = [0, epochs * Math.ceil(own.steps / Math.max(1, own.epochs))];
  while (parts.length < wanted && steps + each <= budget) {
    const fold = parts.length;
    const share = historyShare === undefined ? {} : { historyShare };
    const { learn, judge } = holdOut(input, fold, { ...share, seed: config.seed });
    const result = await train(
      learn,
      { ...config, stopping },
      {
        dir: join(dir, `fold-${fold + 1}`),
        ...(signal === undefined ? {} : { signal }),
        ...(onEvent === undefined ? {} : { onEvent: (event: TrainEvent) => onEvent(fold, epochs, event) }),
      },
    );
    if (result.stoppedBy === "signal") signal?.throwIfAborted();
    each = result.steps;
    steps += each;
    const partition = judge.partitions?.valid;
    const asked = { ...options, ...(partition === undefined ? {} : { partition }) };
    parts.push({ learn: learn.dataset, judge: await PriorJudge.open(result.model, judge.dataset, asked) });
  }
  return { parts, steps };
}
