import type { Settings } from "../config/schema.js";
import { type Clustered, clusterStage } from "./cluster.js";
import { type Crowded, crowdStage } from "./crowd.js";
import { type Evaluated, evaluateStage } from "./evaluate.js";
import { type Imported, importStage } from "./import.js";
import { type Indexed, indexStage } from "./index-stage.js";
import { type Reported, type ReportParts, reportStage } from "./report.js";
import type { Stage } from "./stage.js";
import { type TrainedModel, trainStage } from "./train.js";

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

/** What the report of a run under these settings tells of. */
export function reportParts(settings: Pick<Settings, "model" | "baselines">): ReportParts {
  const own = ownStage(settings);
  const names = new Set(settings.baselines.filter((name) => name !== settings.model));
  const others = [...names].map((name) => trainStage(name, { own: false }));
  return { own, others, evaluate: evaluateStage(own, others), index: indexStage(own) };
}

/** The stages of a run under these settings, in the order in which a person would tell them. */
export function stagesOf(settings: Pick<Settings, "model" | "baselines">): Stage[] {
  const parts = reportParts(settings);
  const { own, others, evaluate, index } = parts;
  return [importStage, clusterStage, crowdStage, own, ...others, evaluate, index, reportStage(parts)];
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
