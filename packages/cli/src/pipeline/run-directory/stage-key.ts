import { canonicalJson, hashJson } from "@prismrec/core/base";

/** All that decides a stage's output. */
export interface StageSpec {
  /** Fingerprints of what the stage reads, by name: earlier stages, files, models. */
  readonly inputs: Readonly<Record<string, string>>;
  /** The resolved configuration, plain JSON. */
  readonly config: unknown;
  readonly seed?: number | string;
  /** Raised when the stage's code changes what it writes. */
  readonly version?: number | string;
}

/** Hash of a stage's name and spec: the same key means the same output. */
export function stageKey(stage: string, { inputs, config, seed, version = 1 }: StageSpec): string {
  return hashJson({ stage, inputs, config, seed: seed ?? null, version });
}

/** What a finished stage says of how it was made. */
export interface MadeStage {
  readonly stage: string;
  readonly key: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly config: unknown;
  readonly seed: number | string | null;
}

/** Why a finished stage is not what a spec would make now: of what kind, and in words. */
export interface Staleness {
  readonly kind: "code" | "inputs" | "settings";
  readonly text: string;
}

/** Why a finished stage is not what `spec` would make now; undefined where it is. */
export function staleness(made: MadeStage, spec: StageSpec): Staleness | undefined {
  if (made.key === stageKey(made.stage, spec)) return undefined;
  const input = changedInput(made.inputs, spec.inputs);
  if (input !== undefined) return { kind: "inputs", text: input };
  const setting = changedSetting(made, spec);
  if (setting !== undefined) return { kind: "settings", text: setting };
  return { kind: "code", text: "another version of the program made it" };
}

function changedInput(before: StageSpec["inputs"], now: StageSpec["inputs"]): string | undefined {
  for (const name of new Set([...Object.keys(now), ...Object.keys(before)])) {
    if (now[name] === before[name]) continue;
    if (now[name] === undefined) return `it was made with ${name}, and there is none any more`;
    if (before[name] === undefined) return `it was made without ${name}, and there is one now`;
    return `${name} has changed since it was made`;
  }
  return undefined;
}

function changedSetting(made: MadeStage, { config, seed }: StageSpec): string | undefined {
  if ((seed ?? null) !== made.seed) return `it was made with the seed ${made.seed}, which is now ${seed ?? "left out"}`;
  const difference = firstDifference(made.config, config, []);
  if (difference === undefined) return undefined;
  const [path, before, now] = difference;
  return `it was made with ${path.join(".") || "settings"} ${inWords(before)}, which is now ${inWords(now)}`;
}

type Difference = readonly [path: readonly string[], before: unknown, now: unknown];

function firstDifference(before: unknown, now: unknown, path: readonly string[]): Difference | undefined {
  if (!isObject(before) || !isObject(now)) {
    return inWords(before) === inWords(now) ? undefined : [path, before, now];
  }
  for (const key of new Set([...Object.keys(before), ...Object.keys(now)])) {
    const found = firstDifference(before[key], now[key], [...path, key]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function inWords(value: unknown): string {
  return value === undefined ? "left out" : canonicalJson(value);
}
