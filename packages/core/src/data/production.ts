import { hashJson } from "../base/hash.js";
import type { Dataset } from "./types.js";

/**
 * The same data with nobody held out: every event of every user may be learned from, and there is nobody to evaluate.
 * For the model that is served, once a split has said how long to train. The catalog and its dense ids stay.
 */
export function productionDataset(dataset: Dataset): Dataset {
  const { log } = dataset;
  const users = Uint32Array.from({ length: log.userCount }, (_, user) => user);
  const nobody = { users: new Uint32Array(), historyEnds: new Uint32Array(), targetEnds: new Uint32Array() };
  return {
    ...dataset,
    fingerprint: hashJson({ dataset: dataset.fingerprint, users: "all" }),
    split: {
      protocol: dataset.split.protocol,
      train: { users, ends: users.map((user) => log.indptr[user + 1]! - log.indptr[user]!) },
      valid: nobody,
      test: nobody,
    },
  };
}
