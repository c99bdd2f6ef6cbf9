import { PrismrecError } from "@prismrec/core/errors";
import { type Command, InvalidArgumentError } from "commander";
import type { Io } from "../io.js";
import { withSettings } from "../options.js";
import type { EvaluationReport } from "../pipeline/evaluate.js";
import { type Session, withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { checkMetric, parseThreshold, type Threshold, ThresholdMissed } from "../threshold.js";

/** Microseconds. */
const UNITS = { s: 1_000_000n, m: 60_000_000n, h: 3_600_000_000n, d: 86_400_000_000n } as const;
const DAY = UNITS.d;

interface EvaluateFlags {
  readonly failUnder?: Threshold;
  readonly log?: string;
  readonly events?: string;
  readonly within?: bigint;
}

export function addEvaluate(program: Command, io: Io): void {
  const command = program
    .command("evaluate")
    .summary("judge every model of a run on its test users, or lists that were shown by what came of them")
    .description(
      "Ranks the whole catalog for every test user and judges the run's own model beside its baselines. With --log it judges " +
        "the lists that prismrec serve has shown instead, by what their users did afterwards, each variant beside the others.",
    )
    .argument("<run>", "run directory")
    .option(
      "--fail-under <metric=value>",
      "exit with 5 where the run's own model is below, e.g. recall@50=0.4",
      parseThreshold,
    )
    .option("--log <file>", "exposure log of prismrec serve: judge what was shown")
    .option("--events <file>", "with --log: what users did, with times (default: the journal of the run's service)")
    .option(
      "--within <time>",
      "with --log: how long after a list an event counts for it, as in 30m, 24h or 7d (default: 24h)",
      duration,
    );
  withSettings(command, ["truth"])
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec evaluate runs/ml\n  prismrec evaluate runs/ml --json --fail-under ndcg@20=0.15" +
        "\n  prismrec evaluate runs/shop --log shown.jsonl --events clicks.csv --within 7d",
    )
    .action((dir: string, options: EvaluateFlags, own: Command) =>
      withSession(io, own, async (session) => {
        if (options.log !== undefined) return judgeShown(dir, options.log, options, session);
        const alone = (["events", "within"] as const).find((name) => options[name] !== undefined);
        if (alone !== undefined) {
          throw new PrismrecError("INVALID_ARGUMENT", `--${alone} goes with --log`, {
            expected: "--log FILE beside it",
            received: `--${alone} alone`,
            hint: "Test users are judged by what the split holds back.",
          });
        }
        const { evaluationDocument, metricNames } = await import("../pipeline/evaluate.js");
        const { explanationTable, exposureTable, metricTable, recoveryTable } = await import("../terminal/results.js");
        const { ui } = session;
        await using run = await session.open(dir);
        if (options.failUnder !== undefined) {
          const { dataset } = await run.open("import");
          checkMetric(options.failUnder, metricNames(run.settings.evaluate, dataset));
        }
        await run.run({ from: "evaluate", to: "evaluate" });
        const { report } = await run.open("evaluate");
        if (ui.json) ui.resultJson(evaluationDocument(report));
        else {
          const parts = [
            metricTable(report, ui.out, ui.width),
            exposureTable(report, ui.out, ui.width),
            explanationTable(report, ui.out),
            report.recovery === undefined ? undefined : recoveryTable(report),
          ];
          ui.result(parts.filter((part) => part !== undefined).join("\n\n"));
        }
        if (options.failUnder !== undefined) check(report, options.failUnder);
      }),
    );
}

async function judgeShown(dir: string, log: string, options: EvaluateFlags, session: Session): Promise<void> {
  if (options.failUnder !== undefined) {
    throw new PrismrecError("INVALID_ARGUMENT", "--fail-under is for test users, not for lists that were shown", {
      expected: "--log without it",
      received: "both",
    });
  }
  const [{ judgeLog }, { logTables }] = await Promise.all([
    import("../pipeline/judge-log.js"),
    import("../terminal/log-results.js"),
  ]);
  const { ui, signal, place } = session;
  await using run = await session.read(dir);
  const { dataset } = await run.open("import");
  const report = await judgeLog(dataset, {
    log: place(log),
    run: place(dir),
    within: options.within ?? DAY,
    seed: run.settings.seed,
    signal,
    ...(options.events === undefined ? {} : { events: place(options.events) }),
  });
  for (const note of report.notes) ui.warn(plain(note));
  if (ui.json) ui.resultJson(report);
  else ui.result(logTables(report, ui.width));
}

function duration(text: string): bigint {
  const [, number, unit] = /^(\d{1,6})([smhd])$/.exec(text.trim()) ?? [];
  if (number === undefined || Number(number) === 0) {
    throw new InvalidArgumentError("Give a time such as 30m, 24h or 7d.");
  }
  return BigInt(number) * UNITS[unit as keyof typeof UNITS];
}

function check({ own, models }: EvaluationReport, wanted: Threshold): void {
  const reached = models[own]?.[wanted.metric];
  if (reached === undefined || reached < wanted.value) throw new ThresholdMissed(wanted, reached, own);
}
