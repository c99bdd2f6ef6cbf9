import type { ImportReport } from "@prismrec/core/data";
import type { EvaluationReport } from "../pipeline/evaluate.js";
import type { LearningCurve } from "../pipeline/networks.js";
import type { WithPrior } from "../pipeline/prior.js";
import type { TuneResult } from "../pipeline/tune.js";

/** One interest of a user: what it is called, how much it weighs, what it rests on. */
export interface ReportInterest {
  readonly index: number;
  readonly kind: "semantic" | "collaborative";
  readonly labels: readonly string[];
  readonly share: number;
  /** A few titles of the history that belong to it. */
  readonly because: readonly string[];
}

export interface ReportUser {
  readonly id: string;
  readonly events: number;
  readonly interests: readonly ReportInterest[];
  readonly items: readonly { readonly title: string; readonly interest: number | null; readonly hit: boolean }[];
}

/** Everything the report shows. Titles, labels and ids are untrusted text. */
export interface ReportData {
  readonly name: string;
  readonly date: string;
  readonly command: string;
  readonly imported: ImportReport;
  readonly evaluation: EvaluationReport;
  /** Undefined for a model that is not trained by steps. */
  readonly curve: LearningCurve | undefined;
  /** What was tried of the own model's settings; undefined where nothing was. */
  readonly tuning: TuneResult | undefined;
  /** What was tried of priors; undefined where none was asked for. */
  readonly prior: WithPrior["choice"] | undefined;
  readonly clusterer: {
    readonly name: string | undefined;
    readonly model: string | undefined;
    readonly meanClusters: number | undefined;
    readonly notice: string | undefined;
  };
  readonly crowd:
    | { readonly coverage: readonly number[]; readonly bound: number; readonly candidates: number }
    | undefined;
  readonly users: readonly ReportUser[];
  readonly stages: readonly { readonly name: string; readonly seconds: number; readonly fingerprint: string }[];
  readonly environment: Readonly<Record<string, string>>;
}
