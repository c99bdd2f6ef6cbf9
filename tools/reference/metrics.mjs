// docs/reference/metrics.md: every ranking metric, from its definition.
import { RANKING_METRICS } from "@prismrec/core/metrics";
import { cell } from "../lib/setting-tables.mjs";

export function metricsPage() {
  return [
    "# Ranking metrics",
    "",
    "Generated from the definitions by `node tools/generate-docs.mjs`. A metric is asked for with its cut-off, as in `ndcg@20`: N is the cut-off, ranks count",
    "from 1, a hit is a target among the first N of the list, and a list without one has the value 0. Padding and repeats in a list do not count. Means are",
    "over users; a user without targets is an error.",
    "",
    "| metric | value |",
    "|---|---|",
    ...RANKING_METRICS.map(({ name, description }) => `| \`${name}\` | ${cell(description)} |`),
    "",
  ].join("\n");
}
