import type { ImportReport } from "@prismrec/core/data";
import type { Ablation } from "../pipeline/ablate.js";
import type { EvaluationReport } from "../pipeline/evaluate.js";
import type { LearningCurve } from "../pipeline/networks.js";
import type { WithPrior } from "../pipeline/prior.js";
import type { TuneResult } from "../pipeline/tune.js";
import type { UserTable } from "./user-table.js";

/** Everything the report shows. Titles, labels and ids are untrusted text. */
export interface ReportData {
  readonly name: string;
  readonly date: string;
  readonly imported: ImportReport;
  readonly evaluation: EvaluationReport;
  /** Undefined for a model that is not trained by steps. */
  readonly curve: LearningCurve | undefined;
  /** What was tried of the own model's settings; undefined where nothing was. */
  readonly tuning: TuneResult | undefined;
  /** What was tried of priors; undefined where none was asked for. */
  readonly prior: WithPrior["choice"] | undefined;
  /** Finished trials of `prismrec ablate` on this run's data; undefined where there are none. */
  readonly ablation: Ablation | undefined;
  readonly clusterer: {
    readonly name: string | undefined;
    readonly model: string | undefined;
    readonly meanClusters: number | undefined;
    readonly notice: string | undefined;
  };
  readonly crowd:
    | { readonly coverage: readonly number[]; readonly bound: number; readonly candidates: number }
    | undefined;
  readonly users: UserTable;
  readonly stages: readonly { readonly name: string; readonly seconds: number; readonly fingerprint: string }[];
  readonly reproduce: {
    /** For a POSIX shell. */
    readonly command: string;
    /** SHA-256 of every file that was read, by what it was read as. */
    readonly files: Readonly<Record<string, string>>;
  };
  readonly environment: Readonly<Record<string, string>>;
}
