import type { Settings } from "../config/schema.js";
import { type Clustered, clusterStage } from "./cluster.js";
import { type Crowded, crowdStage } from "./crowd.js";
import { type Evaluated, evaluateStage } from "./evaluate.js";
import { type Imported, importStage } from "./import.js";
import { type Indexed, indexStage } from "./index-stage.js";
import { type Reported, type ReportParts, reportStage } from "./report.js";
import type { Stage } from "./stage.js";
import { type TrainedModel, trainStage } from "./train.js";
import { trainAllStage } from "./train-all.js";

/** What each standard stage leaves, by the name it is opened by; `train`: that of the run's own model. */
export interface StandardOutputs {
  readonly import: Imported;
  readonly cluster: Clustered;
  readonly crowd: Crowded;
  readonly train: TrainedModel;
  readonly evaluate: Evaluated;
  readonly index: Indexed;
  readonly report: Reported;
}

/** The stage that trains the run's own model. */
export function ownStage({ model }: Pick<Settings, "model">): Stage<TrainedModel> {
  return trainStage(model, { own: true });
}

/** The stage whose model is served: that of the run's own model, or of the same trained on everybody. */
export function servedStage(
  settings: Pick<Settings, "model" | "trainAll">,
  own: Stage<TrainedModel> = ownStage(settings),
): Stage<TrainedModel> {
  return settings.trainAll ? trainAllStage(own, settings.model) : own;
}

/** What the report of a run under these settings tells of. */
export function reportParts(settings: Pick<Settings, "model" | "baselines" | "trainAll">): ReportParts {
  const own = ownStage(settings);
  const names = new Set(settings.baselines.filter((name) => name !== settings.model));
  const others = [...names].map((name) => trainStage(name, { own: false }));
  const served = servedStage(settings, own);
  return { own, served, others, evaluate: evaluateStage(own, others), index: indexStage(served) };
}

/** The stages of a run under these settings, in the order in which a person would tell them. */
export function stagesOf(settings: Pick<Settings, "model" | "baselines" | "trainAll">): Stage[] {
  const parts = reportParts(settings);
  const { own, served, others, evaluate, index } = parts;
  const all = served === own ? [] : [served];
  return [importStage, clusterStage, crowdStage, own, ...others, ...all, evaluate, index, reportStage(parts)];
}

/** A listed stage by its name, `train` for the run's own model; undefined where there is none. */
export function stageNamed(
  name: string,
  stages: readonly Stage[],
  settings: Pick<Settings, "model">,
): Stage | undefined {
  const own = ownStage(settings).name;
  return stages.find((stage) => stage.name === name || (name === "train" && stage.name === own));
}
