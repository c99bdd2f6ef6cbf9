import { percent } from "./format.js";
import type { EvaluationReport } from "./pipeline/evaluate.js";

type Key = Exclude<keyof EvaluationReport["exposure"][string], "n">;

/** What is shown of lists beside what they hit, in the terminal and in the report. */
export const EXPOSURE: readonly {
  readonly key: Key;
  readonly title: string;
  readonly definition: string;
  text(value: number): string;
}[] = [
  {
    key: "coverage",
    title: "coverage",
    definition: "share of the catalog that stands in at least one list",
    text: (value) => percent(value),
  },
  {
    key: "gini",
    title: "Gini",
    definition: "how unevenly the items share the places in the lists: 0 all alike, 1 one item takes all",
    text: (value) => value.toFixed(3),
  },
  {
    key: "novelty",
    title: "novelty",
    definition: "mean self-information of a recommended item in bits: -log2 of the share of training users who took it",
    text: (value) => value.toFixed(2),
  },
  {
    key: "averagePopularity",
    title: "popularity",
    definition: "mean share of the training users who took a recommended item",
    text: (value) => percent(value),
  },
  {
    key: "popularityLift",
    title: "lift",
    definition:
      "by how much that is above the popularity of what the same users took before: 0 as popular, 1 twice as popular",
    text: (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(2)}`,
  },
];
