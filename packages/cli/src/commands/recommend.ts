import { PrismrecError } from "@prismrec/core/errors";
import type { Recommendation } from "@prismrec/core/recommend";
import type { Command } from "commander";
import { FILTER_HELP, parseFilter } from "../filter-flag.js";
import { percent } from "../format.js";
import type { Io } from "../io.js";
import { type DeviceFlag, deviceOption, fraction, positive } from "../options.js";
import { PROFILE_HELP, parseProfile } from "../profile-flag.js";
import { withSession } from "../session.js";
import { plain } from "../terminal/style.js";
import { formatTable, itemCell } from "../terminal/table.js";
import type { Ui } from "../terminal/ui.js";
import { shorten } from "../terminal/width.js";

/** Items of the history that are named behind one of a model without interests. */
const MOST_BECAUSE = 3;

interface RecommendFlags extends DeviceFlag {
  readonly user?: string;
  readonly history?: string[];
  readonly profile?: string[];
  readonly count: number;
  readonly filter?: string[];
  readonly exclude?: string[];
  readonly diversity?: number;
  readonly rules?: string;
}

export function addRecommend(program: Command, io: Io): void {
  program
    .command("recommend")
    .summary("recommend to a user, and say which interest each item serves")
    .description(
      "Reads the full history of a user of the run, or any list of its items, names the interests in it and recommends " +
        "what the user has not had yet.",
    )
    .argument("<run>", "run directory")
    .option("-u, --user <id>", "a user of the run")
    .option("--history <ids>", "item ids joined by commas, oldest first: somebody the run has never seen", list)
    .option("--profile <value...>", PROFILE_HELP)
    .option("-k, --count <n>", "how many items", positive, 10)
    .option("--filter <condition...>", FILTER_HELP)
    .option("--exclude <ids>", "item ids joined by commas that must not be listed", list)
    .option("--diversity <part>", "from 0 (the score alone) to 1 (the spread alone)", fraction)
    .option("--rules <file>", "business rules that the list follows: pins, bury, limits, a mix of interests")
    .addOption(deviceOption())
    .addHelpText(
      "after",
      "\nExamples:\n  prismrec recommend runs/ml --user 42 -k 10\n  prismrec recommend runs/ml --history 1,1196,260 --json" +
        "\n  prismrec recommend runs/ml --user 42 --filter year=1990..1999 --filter categories=Drama,Crime" +
        "\n  prismrec recommend runs/ml --user 42 --diversity 0.3 --rules rules.json" +
        "\n  prismrec recommend runs/shop --history i1,i9 --profile country=DE age=34",
    )
    .action((dir: string, options: RecommendFlags, own: Command) =>
      withSession(io, own, async (session) => {
        const [{ readJson }, { servedStage }, { openServing }, { recommendationDocument }] = await Promise.all([
          import("@prismrec/core/base"),
          import("../pipeline/stages.js"),
          import("../pipeline/serving.js"),
          import("../pipeline/recommend.js"),
        ]);
        const { user, history, profile, count, exclude, diversity } = options;
        if ((user === undefined) === (history === undefined)) {
          throw new PrismrecError("INVALID_ARGUMENT", "say for whom", {
            expected: "either --user ID or --history IDS",
            received: user === undefined ? "neither" : "both",
          });
        }
        if (history?.length === 0) {
          throw new PrismrecError("INVALID_ARGUMENT", "the history holds no item", {
            expected: "item ids joined by commas",
            received: "none",
            hint: "There is no interest to read in an empty history: name at least one item.",
          });
        }
        if (user !== undefined && profile !== undefined) {
          throw new PrismrecError("INVALID_ARGUMENT", "a user of the run has the profile of the users file", {
            expected: "--profile beside --history",
            received: "--profile beside --user",
          });
        }
        await using run = await session.read(dir);
        await using serving = await openServing(run, servedStage(run.settings), options);
        const { catalog, log } = (await run.open("import")).dataset;
        const given = profile === undefined ? {} : { profile: parseProfile(profile, log.profile) };
        const request = user === undefined ? { history: history ?? [], ...given } : { user };
        const rules =
          options.rules === undefined
            ? undefined
            : serving.recommender.rules(
                await readJson(session.place(options.rules), "CONFIG_INVALID"),
                session.place(options.rules),
              );
        const found = await serving.recommender.recommend(request, {
          k: count,
          signal: session.signal,
          ...(options.filter === undefined ? {} : { filter: parseFilter(options.filter, catalog) }),
          ...(exclude === undefined ? {} : { exclude }),
          ...(diversity === undefined ? {} : { diversity }),
          ...(rules === undefined ? {} : { rules }),
        });
        if (session.ui.json) session.ui.resultJson(recommendationDocument(user ?? null, found));
        else session.ui.result(describe(user, found, options.filter !== undefined, session.ui));
      }),
    );
}

function describe(
  user: string | undefined,
  { items, interests, rules }: Recommendation,
  filtered: boolean,
  { out: style, width }: Pick<Ui, "out" | "width">,
): string {
  const place = new Map(interests.map(({ index }, i) => [index, i + 1]));
  const label = new Map(
    interests.map(({ index, kind, labels }) => {
      const text = labels.map(plain).join(", ");
      return [index, kind === "semantic" ? text : `${text} (from behaviour)`];
    }),
  );
  const shown = interests.filter(({ index, share }) => share >= 0.01 || items.some((item) => item.interest === index));
  const subject = user === undefined ? "this history" : `user ${plain(user)}`;
  const parts = [
    style.bold(shorten(`Interests of ${subject}`, width)),
    formatTable(
      [{ title: "", align: "right" }, { title: "share", align: "right" }, { title: "interest" }],
      shown.map(({ index, share }) => [String(place.get(index)), percent(share, 0), label.get(index) ?? ""]),
      width,
    ),
    "",
  ];
  if (items.length === 0 && filtered) {
    return [...parts, "Nothing that is left to recommend matches the filter."].join("\n");
  }
  if (items.length === 0) {
    const who = user === undefined ? "This history holds" : `${shorten(`User ${plain(user)}`, width / 2)} has had`;
    return [...parts, `${who} every item; there is nothing left to recommend.`].join("\n");
  }
  return [
    ...parts,
    style.bold("Recommended"),
    formatTable(
      [{ title: "", align: "right" }, { title: "item" }, { title: "score", align: "right" }, { title: "because of" }],
      items.map(({ id, title, score, interest, because }, i) => [
        String(i + 1),
        itemCell(id, title),
        score.toFixed(3),
        interest === null
          ? because.slice(0, MOST_BECAUSE).map(plain).join(", ")
          : `${place.get(interest) ?? ""} ${label.get(interest) ?? ""}`,
      ]),
      width,
    ),
    ...(rules.length === 0
      ? []
      : [
          "",
          `Rules that acted: ${rules.map(({ rule, name }) => (name === undefined ? rule : `${plain(name)} (${rule})`)).join(", ")}`,
        ]),
  ].join("\n");
}

function list(text: string): string[] {
  return text
    .split(",")
    .map((id) => id.trim())
    .filter((id) => id !== "");
}
