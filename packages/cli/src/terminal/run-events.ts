import type { EpochRecord } from "@prismrec/trainer/events";
import { count, duration, points } from "../format.js";
import type { OnEvent, StageTraining, UpdatedTraining } from "../pipeline/events.js";
import { plain } from "./style.js";
import type { Ui } from "./ui.js";

/** What a run says, as lines for people on stderr. */
export function printEvents(ui: Ui): OnEvent {
  return (event) => {
    switch (event.type) {
      case "stage-started":
        return;
      case "progress":
        ui.progress(event.progress);
        return;
      case "training":
        printTraining(ui, event);
        return;
      case "stage-repaired":
        ui.warn(`${event.stage} was damaged and has been done again`);
        return;
      case "stage-finished": {
        ui.stopProgress();
        const time = ui.err.dim(event.reused ? "as before" : duration(event.seconds));
        ui.info(`${ui.err.good("✔")} ${event.stage.padEnd(20)} ${plain(event.summary)}   ${time}`);
        return;
      }
      case "note":
        if (event.when === "verbose") ui.detail(`  ${plain(event.text)}`);
        else if (event.when === "always" || !ui.verbose) ui.info(`  ${plain(event.text)}`);
        return;
      case "updated-training":
        ui.info(`  ${trainingLine(event.training)}`);
        return;
      case "warning":
        ui.warn(plain(event.text));
        return;
      case "settings-not-kept":
        ui.detail(`  the settings of this command are not kept: ${plain(event.reason)}`);
        return;
    }
  };
}

function printTraining(ui: Ui, { label, epochs, event }: StageTraining): void {
  switch (event.type) {
    case "start":
      if (event.warm && !event.resumed) ui.info(`  ${label} goes on from the former model`);
      if (event.device === "cuda") ui.info(`  ${label} trains on a GPU`);
      else if (event.reason !== undefined) ui.info(`  ${label} trains on the processor: ${plain(event.reason)}`);
      if (event.resumed) ui.info(`  ${label} goes on from step ${event.step} of epoch ${event.epoch}`);
      return;
    case "step":
      ui.progress({
        stage: `${label} epoch ${event.epoch}`,
        done: event.done,
        total: event.total,
        unit: "steps",
        note: `loss ${event.loss.toFixed(3)}`,
      });
      return;
    case "epoch":
      ui.stopProgress();
      ui.info(epochLine(event, event.seconds, epochs));
      return;
    case "checkpoint":
      ui.detail(`  saved ${event.path}`);
      return;
  }
}

function trainingLine({ stage, warm, steps = 0, former }: UpdatedTraining): string {
  const from = warm ? "from the former model" : "anew";
  const before = former === undefined ? "" : `; the former training took ${count(former.steps)}`;
  return `${stage}: ${count(steps)} steps ${from}${before}`;
}

function epochLine({ epoch, loss, parts, metrics, best }: EpochRecord, seconds: number, most: number): string {
  const shown = Object.entries(metrics).map(([name, value]) => `${name} ${points(value)}`);
  // A term that sets in later raises the loss: what it is made of tells that from a training that goes astray.
  const terms = Object.entries(parts).map(([name, value]) => `${name} ${value.toFixed(3)}`);
  const made = terms.length < 2 ? "" : ` (${terms.join(", ")})`;
  const of = most >= 200 ? "" : `/${most}`;
  return `  epoch ${epoch}${of}  loss ${loss.toFixed(4)}${made}  ${shown.join("  ")}  ${seconds.toFixed(1)} s${best ? "  ★" : ""}`;
}
