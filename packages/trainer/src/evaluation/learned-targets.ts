import { type Dataset, userItems } from "@prismrec/core/data";

/**
 * Users of `dataset` who are asked, in valid or test, for an item that `former` let its models learn from them: a model that
 * goes on from what was learned there has seen their answers. Users and items are matched by their external ids.
 *
 * @returns external ids
 */
export function learnedTargets(former: Dataset, dataset: Dataset): string[] {
  /** [users of `former`] events that were learned from. */
  const ends = new Uint32Array(former.log.userCount);
  former.split.train.users.forEach((user, j) => {
    ends[user] = former.split.train.ends[j]!;
  });
  const found = new Set<string>();
  for (const { users, historyEnds, targetEnds } of [dataset.split.valid, dataset.split.test]) {
    users.forEach((user, j) => {
      const id = dataset.log.userIds[user]!;
      const before = former.log.indexOf(id);
      if (before === undefined || ends[before] === 0) return;
      const learned = userItems(former.log, before).subarray(0, ends[before]);
      const own = new Set(Array.from(learned, (item) => former.catalog.items[item]!.id));
      const events = userItems(dataset.log, user);
      const history = new Set(events.subarray(0, historyEnds[j]));
      for (const item of events.subarray(historyEnds[j], targetEnds[j])) {
        // What stands in the history too is not asked for.
        if (!history.has(item) && own.has(dataset.catalog.items[item]!.id)) found.add(id);
      }
    });
  }
  return [...found];
}
