import type { Command } from "commander";
import type { Io } from "../io.js";
import { addAblate } from "./ablate.js";
import { addAnswers } from "./answers.js";
import { addCluster } from "./cluster.js";
import { addCompare } from "./compare.js";
import { addCrowd } from "./crowd.js";
import { addDoctor } from "./doctor.js";
import { addEvaluate } from "./evaluate.js";
import { addExport } from "./export.js";
import { addForget } from "./forget.js";
import { addImport } from "./import.js";
import { addInit } from "./init.js";
import { addModels } from "./models.js";
import { addProbe } from "./probe.js";
import { addRecommend } from "./recommend.js";
import { addReport } from "./report.js";
import { addRun } from "./run.js";
import { addServe } from "./serve.js";
import { addSimilar } from "./similar.js";
import { addTrain } from "./train.js";
import { addTune } from "./tune.js";
import { addUpdate } from "./update.js";

/** Adds one command to the program; what it touches of its surroundings is `io`. */
export type AddCommand = (program: Command, io: Io) => void;

/** Every command, in the order help lists them: the whole way first, then its stages, then the rest. */
export function addCommands(program: Command, io: Io): void {
  const commands: readonly AddCommand[] = [
    addRun,
    addUpdate,
    addForget,
    addRecommend,
    addSimilar,
    addServe,
    addInit,
    addImport,
    addModels,
    addProbe,
    addCluster,
    addAnswers,
    addCrowd,
    addTune,
    addTrain,
    addEvaluate,
    addAblate,
    addCompare,
    addReport,
    addExport,
    addDoctor,
  ];
  for (const add of commands) add(program, io);
}
