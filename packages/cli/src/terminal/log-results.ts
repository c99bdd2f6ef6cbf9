import { EXPOSURE } from "../exposure.js";
import { count, points } from "../format.js";
import { LOG_METRICS, type LogMetric, type LogReport } from "../pipeline/judge-log.js";
import { plain } from "./style.js";
import { formatTable } from "./table.js";

const METRICS = Object.keys(LOG_METRICS) as LogMetric[];

/** What became of the lists of each variant, in percent with the ends of the intervals, and what sets the variants apart. */
export function logTables({ variants, differences, lists, from, to, withinHours }: LogReport, width?: number): string {
  const all = Object.entries(variants);
  const right = (title: string) => ({ title, align: "right" as const });
  const judged = formatTable(
    [{ title: "%, users" }, right("lists"), right("users"), ...METRICS.map(right)],
    all.map(([name, { lists: own, users, metrics }]) => [
      plain(name),
      count(own),
      count(users),
      ...METRICS.map((metric) => {
        const value = metrics[metric];
        return value === undefined
          ? "–"
          : `${points(value.mean, 1)} (${points(value.low, 1)}–${points(value.high, 1)})`;
      }),
    ]),
    width,
  );
  const shown = formatTable(
    [{ title: "what was shown" }, ...EXPOSURE.map(({ title }) => right(title))],
    all.map(([name, { exposure }]) => [plain(name), ...EXPOSURE.map(({ key, text }) => text(exposure[key]))]),
    width,
  );
  const lines = differences.flatMap(({ a, b, metrics }) =>
    Object.entries(metrics).map(([metric, { mean, low, high }]) => {
      const apart = low > 0 || high < 0 ? "" : ": chance would do";
      return `  ${plain(a)} less ${plain(b)}, ${metric}: ${points(mean, 1)} (${points(low, 1)} to ${points(high, 1)})${apart}`;
    }),
  );
  return [
    `${count(lists)} lists from ${from} to ${to}, events within ${withinHours} h after each`,
    judged,
    "",
    shown,
    ...(lines.length === 0 ? [] : ["", ...lines]),
  ].join("\n");
}
