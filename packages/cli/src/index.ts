export { CONFIG_FILE, type RawSettings } from "./config/load.js";
export { type Settings, settingsSchema } from "./config/schema.js";
export { main } from "./main.js";
export { type Ablation, type AblationSummary, runAblation, type Trial } from "./pipeline/ablate.js";
export type { ClusterContents, Clustered, OpenClusterer } from "./pipeline/cluster.js";
export { clusterStage } from "./pipeline/cluster.js";
export { type Crowded, type CrowdReport, crowdStage } from "./pipeline/crowd.js";
export { deliverReport } from "./pipeline/deliver-report.js";
export type { Evaluated, EvaluationReport } from "./pipeline/evaluate.js";
export type * from "./pipeline/events.js";
export { type Imported, importStage } from "./pipeline/import.js";
export type { Indexed } from "./pipeline/index-stage.js";
export { DEFAULT_BASELINES, DEFAULT_MODEL, MODEL_NAMES } from "./pipeline/models.js";
export type { LearningCurve } from "./pipeline/networks.js";
export type { Reported } from "./pipeline/report.js";
export {
  type OpenRunOptions,
  openRun,
  type Run,
  type StageResult,
  type StageState,
} from "./pipeline/run.js";
export type { RunPart } from "./pipeline/select.js";
export { openServing, type Serving } from "./pipeline/serving.js";
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
} from "./pipeline/stage.js";
export { ownStage, type StandardOutputs, servedStage, stagesOf } from "./pipeline/stages.js";
export { type TrainedModel, trainStage } from "./pipeline/train.js";
