import type { SimilarItem } from "@prismrec/core/recommend";
import type { Command } from "commander";
import { FILTER_HELP, parseFilter } from "../filter-flag.js";
import type { Io } from "../io.js";
import { type DeviceFlag, deviceOption, positive } from "../options.js";
import { withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { formatTable, itemCell } from "../terminal/table.js";
import type { Ui } from "../terminal/ui.js";
import { shorten } from "../terminal/width.js";

interface SimilarFlags extends DeviceFlag {
  readonly count: number;
  readonly filter?: string[];
}

export function addSimilar(program: Command, io: Io): void {
  program
    .command("similar")
    .summary("list the items most like one")
    .description("Compares items as the run's model sees them: by their vectors, or by who took both.")
    .argument("<run>", "run directory")
    .argument("<item>", "item id")
    .option("-k, --count <n>", "how many items", positive, 10)
    .option("--filter <condition...>", FILTER_HELP)
    .addOption(deviceOption())
    .addHelpText("after", "\nExamples:\n  prismrec similar runs/ml 1196\n  prismrec similar runs/ml 1196 -k 3 --json")
    .action((dir: string, item: string, { count, filter, device }: SimilarFlags, own: Command) =>
      withSession(io, own, async (session) => {
        const [{ servedStage }, { openServing }] = await Promise.all([
          import("../pipeline/stages.js"),
          import("../pipeline/serving.js"),
        ]);
        await using run = await session.read(dir);
        await using serving = await openServing(run, servedStage(run.settings), { device });
        const { catalog } = (await run.open("import")).dataset;
        const found = await serving.recommender.similarItems(item, {
          k: count,
          signal: session.signal,
          ...(filter === undefined ? {} : { filter: parseFilter(filter, catalog) }),
        });
        if (session.ui.json) session.ui.resultJson({ item, similar: found });
        else session.ui.result(describe(item, catalog.items[catalog.idOf(item)!]!.title, found, session.ui));
      }),
    );
}

function describe(
  item: string,
  title: string,
  found: readonly SimilarItem[],
  { out: style, width }: Pick<Ui, "out" | "width">,
): string {
  return [
    style.bold(shorten(`Like ${title === "" ? plain(item) : `${plain(title)} (${plain(item)})`}`, width)),
    formatTable(
      [{ title: "", align: "right" }, { title: "item" }, { title: "likeness", align: "right" }],
      found.map(({ id, title, score }, i) => [String(i + 1), itemCell(id, title), score.toFixed(3)]),
      width,
    ),
  ].join("\n");
}
