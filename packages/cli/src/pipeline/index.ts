export { CONFIG_FILE, type RawSettings } from "../config/load.js";
export { type Settings, settingsSchema } from "../config/schema.js";
export {
  type Ablation,
  type AblationSummary,
  type BaselineSummary,
  runAblation,
  type SeedsComparison,
  type Trial,
} from "./ablate.js";
export type { ClusterContents, Clustered, OpenClusterer } from "./cluster.js";
export { clusterStage } from "./cluster.js";
export {
  type ComparedSystem,
  type CompareOptions,
  type Comparison,
  compareRuns,
  type SystemDifference,
} from "./compare.js";
export { type Crowded, type CrowdReport, crowdStage } from "./crowd.js";
export { deliverReport } from "./deliver-report.js";
export type { Evaluated, EvaluationReport } from "./evaluate.js";
export type * from "./events.js";
export { type ForgetOptions, type ForgetResult, forgetUsers } from "./forget.js";
export { type Imported, importStage } from "./import.js";
export type { Indexed } from "./index-stage.js";
export type { TableName } from "./inputs.js";
export { DEFAULT_BASELINES, DEFAULT_MODEL, MODEL_NAMES } from "./models.js";
export type { LearningCurve } from "./networks.js";
export { priorStage, type WithPrior } from "./prior.js";
export type { Reported } from "./report.js";
export {
  type OpenRunOptions,
  openRun,
  type Run,
  type StageResult,
  type StageState,
} from "./run.js";
export type { RunDirectory, StageManifest } from "./run-directory/run-directory.js";
export type { RunPart } from "./select.js";
export { openServing, type Serving } from "./serving.js";
export {
  type Description,
  defineStage,
  inOrder,
  type Made,
  type OutsideFile,
  type Stage,
  type StageContext,
  type StageDefinition,
  type StageOutput,
  type StagePlan,
} from "./stage.js";
export { ownStage, type StandardOutputs, servedStage, stagesOf } from "./stages.js";
export { type TrainedModel, trainStage } from "./train.js";
export { spentSteps, type Tuned, type TuneResult, tuneStage } from "./tune.js";
export { type UpdateFiles, type UpdateOptions, type UpdateResult, updateRun } from "./update.js";
