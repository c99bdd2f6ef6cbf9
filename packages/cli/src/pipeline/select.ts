import { PrismrecError, suggest } from "@prismrec/core/base";
import { type Stage, withReads } from "./stage.js";

/** Which part of a run: stages or the commands that make them (`train` is all that are trained). */
export interface RunPart {
  /** The first stage that may be run: what lies before it is taken as it is, and has to be up to date. */
  readonly from?: string | undefined;
  /** The last stage: it and what it reads, nothing else. */
  readonly to?: string | undefined;
}

/** The stages that a part of a run may run, in order. Throws INVALID_ARGUMENT. */
export function select(stages: readonly Stage[], { from, to }: RunPart): Stage[] {
  const named = (name: string): Stage[] => {
    const found = stages.filter((stage) => stage.name === name || stage.command === name);
    if (found.length === 0) throw unknownStage(name, stages);
    return found;
  };
  const first = from === undefined ? 0 : stages.indexOf(named(from)[0]!);
  const needed = new Set((to === undefined ? stages : named(to)).flatMap((stage) => [...withReads(stage, stages)]));
  const selected = stages.filter((stage, place) => place >= first && needed.has(stage.name));
  if (selected.length > 0) return selected;
  throw new PrismrecError("INVALID_ARGUMENT", `${to} is made without ${from}, and before it`, {
    expected: `stages in this order: ${stages.map(({ name }) => name).join(", ")}`,
    received: `from ${from} to ${to}`,
  });
}

/** What a name is answered with that no stage has and no command. */
export function unknownStage(name: string, stages: readonly Stage[]): PrismrecError {
  const names = [...new Set(stages.flatMap((stage) => [stage.name, stage.command ?? stage.name]))];
  const near = suggest(name, names);
  return new PrismrecError("INVALID_ARGUMENT", `this run has no stage called ${name}`, {
    expected: names.join(", "),
    received: name,
    ...(near === undefined ? {} : { hint: `Did you mean ${near}?` }),
  });
}
