import type { LanguageModel } from "../model/language-model.js";

/** What questions to a model would cost. */
export interface CostEstimate {
  /** Requests in all, and those whose answers are kept already. */
  readonly calls: number;
  readonly kept: number;
  /** Tokens of the requests still to be made, prompts and answers. */
  readonly tokens: number;
  /** Seconds that they would take on a machine as busy as now; absent: not known. */
  readonly seconds?: number;
}

/** Requests asked one by one, to see what they take by their length. */
const SAMPLED = 10;
/** Further requests asked at once, for each that the model answers at a time: how long they take together. */
const TOGETHER = 2;
/** Where there is little to ask about, this share of it at most is asked. */
const MOST_SAMPLED = 0.25;
const FEWEST_SAMPLED = 3;

export function addCosts(costs: readonly CostEstimate[]): CostEstimate {
  const sum = (name: keyof CostEstimate): number => costs.reduce((total, cost) => total + (cost[name] ?? 0), 0);
  const isKnown = costs.every(({ seconds }) => seconds !== undefined);
  return {
    calls: sum("calls"),
    kept: sum("kept"),
    tokens: Math.round(sum("tokens")),
    ...(isKnown ? { seconds: sum("seconds") } : {}),
  };
}

/**
 * What it would cost to ask a model about those of `inputs` that are not kept: a few of them, of all lengths, are asked, and the
 * others are taken to cost what their length says (least squares). What the first one costs more is paid once by each
 * process: there, what all prompts begin with is read.
 *
 * @param inputs all different
 */
export async function measureCost(
  model: LanguageModel,
  inputs: readonly string[],
  isKept: (input: string) => boolean,
  ask: (batch: readonly string[]) => Promise<unknown>,
): Promise<CostEstimate> {
  const spend = async (batch: readonly string[]): Promise<{ tokens: number; seconds: number }> => {
    const before = model.usage();
    const start = performance.now();
    await ask(batch);
    const after = model.usage();
    return {
      tokens: after.promptTokens + after.generatedTokens - before.promptTokens - before.generatedTokens,
      seconds: (performance.now() - start) / 1000,
    };
  };
  const open = inputs.filter((input) => !isKept(input)).sort((a, b) => a.length - b.length || (a < b ? -1 : 1));
  const affordable = Math.max(FEWEST_SAMPLED, Math.floor(MOST_SAMPLED * open.length));
  const sample = spread(open, Math.min(1 + SAMPLED + TOGETHER * model.parallelism, affordable));
  const [first, ...others] = sample;
  if (first === undefined) return { calls: inputs.length, kept: inputs.length, tokens: 0, seconds: 0 };
  const single = spread(others, SAMPLED);
  const warm = await spend([first]);
  const seen: { length: number; tokens: number; seconds: number }[] = [];
  for (const input of single) seen.push({ length: input.length, ...(await spend([input])) });
  const rest = others.filter((input) => !single.includes(input));
  const perInput =
    rest.length > 0
      ? (await spend(rest)).seconds / rest.length
      : seen.reduce((sum, { seconds }) => sum + seconds, 0) / Math.max(1, seen.length) / model.parallelism;
  const tokensOf = line(seen.length === 0 ? [{ length: first.length, ...warm }] : seen);
  const left = open.filter((input) => !isKept(input));
  const once = Math.max(0, warm.tokens - tokensOf(first.length)) * Math.min(model.parallelism, left.length);
  return {
    calls: inputs.length,
    kept: inputs.length - left.length,
    tokens: once + left.reduce((sum, input) => sum + tokensOf(input.length), 0),
    seconds: left.length * perInput,
  };
}

/** At most `count` of `all`, evenly over them. */
function spread(all: readonly string[], count: number): string[] {
  if (all.length <= count) return [...all];
  return Array.from({ length: count }, (_, i) => all[Math.floor(((i + 0.5) * all.length) / count)]!);
}

/** Least squares through the points; a level line where their lengths do not differ. */
function line(points: readonly { readonly length: number; readonly tokens: number }[]): (length: number) => number {
  const mean = (of: (point: (typeof points)[number]) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const x = mean(({ length }) => length);
  const y = mean(({ tokens }) => tokens);
  const variance = mean(({ length }) => (length - x) ** 2);
  const slope = variance === 0 ? 0 : mean(({ length, tokens }) => (length - x) * (tokens - y)) / variance;
  return (length) => Math.max(1, y + slope * (length - x));
}
