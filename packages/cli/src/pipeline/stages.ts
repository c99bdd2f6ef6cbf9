import type { Settings } from "../config/schema.js";
import { type Clustered, clusterStage } from "./cluster.js";
import { type Crowded, crowdStage } from "./crowd.js";
import { type Evaluated, evaluateStage } from "./evaluate.js";
import { type Imported, importStage } from "./import.js";
import { type Indexed, indexStage } from "./index-stage.js";
import { priorNames } from "./models.js";
import { priorStage, type WithPrior } from "./prior.js";
import { madeStages, type Reported, type ReportParts, reportStage } from "./report.js";
import type { Stage } from "./stage.js";
import { type TrainedModel, trainStage, trainStageName } from "./train.js";
import { trainAllStage } from "./train-all.js";
import { isTuned, type Tuned, tuneStage } from "./tune.js";

/** What each standard stage leaves, by the name it is opened by; `train`: that of the run's own model. */
export interface StandardOutputs {
  readonly import: Imported;
  readonly cluster: Clustered;
  readonly crowd: Crowded;
  readonly train: TrainedModel;
  readonly tune: Tuned;
  readonly prior: WithPrior;
  readonly evaluate: Evaluated;
  readonly index: Indexed;
  readonly report: Reported;
}

/** The settings that say which stages there are. */
type StageSettings = Pick<Settings, "model" | "baselines" | "trainAll" | "prior" | "effort" | "preset">;

/** The stage that trains the run's own model. */
export function ownStage(settings: Omit<StageSettings, "baselines">): Stage<TrainedModel> {
  return reportParts({ ...settings, baselines: [] }).trained;
}

/** The stage whose model is served: the run's own model with its prior, or the same trained on everybody. */
export function servedStage(settings: Omit<StageSettings, "baselines">): Stage<TrainedModel> {
  return reportParts({ ...settings, baselines: [] }).served;
}

/** What the report of a run under these settings tells of. */
export function reportParts(settings: StageSettings): ReportParts {
  const { model, baselines, trainAll } = settings;
  const tune = isTuned(settings) ? tuneStage(settings) : undefined;
  const trained = trainStage(model, { own: true, ...(tune === undefined ? {} : { tune }) });
  const priors = priorNames(settings);
  const stages = [...new Set(baselines)]
    .filter((name) => name !== model)
    .map((name) => trainStage(name, { own: false }));
  const named = settings.prior !== "auto";
  const prior = priors.length === 0 ? undefined : priorStage(trained, priors, { named, tune });
  const own = prior ?? trained;
  const others = prior === undefined ? stages : [trained, ...stages];
  const served = trainAll ? trainAllStage(model, trained, prior) : own;
  return { tune, trained, prior, own, served, others, evaluate: evaluateStage(own, others), index: indexStage(served) };
}

/** The stages of a run under these settings, in the order in which a person would tell them. */
export function stagesOf(settings: StageSettings): Stage[] {
  const parts = reportParts(settings);
  return [importStage, clusterStage, crowdStage, ...madeStages(parts), reportStage(parts)];
}

/** A listed stage by its name, `train` for the run's own model; undefined where there is none. */
export function stageNamed(
  name: string,
  stages: readonly Stage[],
  { model }: Pick<Settings, "model">,
): Stage | undefined {
  return stages.find((stage) => stage.name === name || (name === "train" && stage.name === trainStageName(model)));
}
