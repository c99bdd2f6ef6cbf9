/** Counts up with every change of what is asked. */
export const PARTITION_PROMPT_VERSION = 2;

/** Letters name the groups: one token each in every vocabulary. */
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
export const MOST_CLUSTERS = LETTERS.length;

export const PARTITION_SYSTEM =
  "You sort the things a person chose into groups by why the person wants them: the interest behind them, not the " +
  "brand, the format or the age. Every thing belongs to exactly one group. Use few groups; a thing may stand alone.";

export function partitionPrompt(texts: readonly string[], maxClusters: number): string {
  return (
    "Example:\n1. Trout flies for beginners\n2. Sourdough at home\n3. River maps for anglers\n4. Rye and wheat flours\n" +
    `Groups: 1=A 2=B 3=A 4=B\n\nNow use at most ${maxClusters} groups (${LETTERS.slice(0, maxClusters).split("").join(", ")}) for:\n` +
    `${texts.map((text, i) => `${i + 1}. ${text}`).join("\n")}\nGroups:`
  );
}

/** GBNF that writes every item's number itself and leaves only its group to the model. */
export function partitionGrammar(items: number, maxClusters: number): string {
  const last = LETTERS[maxClusters - 1]!;
  const assignments = Array.from({ length: items }, (_, i) => `"${i === 0 ? "" : " "}${i + 1}=" group`).join(" ");
  return `root ::= ${assignments}\ngroup ::= [A-${last}]`;
}

/** What the grammar says as a JSON schema: {"1": "A", "2": "B", …}. */
export function partitionSchema(items: number, maxClusters: number): Record<string, unknown> {
  const numbers = Array.from({ length: items }, (_, i) => `${i + 1}`);
  const group = { type: "string", enum: LETTERS.slice(0, maxClusters).split("") };
  return {
    type: "object",
    properties: Object.fromEntries(numbers.map((number) => [number, group])),
    required: numbers,
    additionalProperties: false,
  };
}

/** The groups as numbers, or undefined where the text was cut before the last item. */
export function parsePartition(text: string, items: number): number[] | undefined {
  const groups: number[] = [];
  for (const [, index, letter] of text.matchAll(/(\d+)"?\s*[=:]\s*"?([A-Z])\b/g)) {
    if (Number(index) !== groups.length + 1) return undefined;
    groups.push(LETTERS.indexOf(letter!));
  }
  return groups.length === items ? groups : undefined;
}

export const LABEL_SYSTEM = "You name the interest that a group of things has in common, in one to three words.";

export function labelPrompt(texts: readonly string[]): string {
  return `${texts.map((text) => `- ${text}`).join("\n")}\nThe interest they have in common:`;
}

export const LABEL_GRAMMAR =
  'root ::= word (" " word)? (" " word)?\nword ::= [a-z] [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]? [a-z]?';

/** What the grammar of a label says as a JSON schema. */
export const LABEL_SCHEMA: Readonly<Record<string, unknown>> = {
  type: "object",
  properties: { interest: { type: "string", maxLength: 38 } },
  required: ["interest"],
  additionalProperties: false,
};

/** The first one to three words of an answer, plain or JSON; "unnamed" where there are none. */
export function parseLabel(text: string): string {
  const said = /^\s*\{\s*"interest"\s*:\s*"([^"]*)/.exec(text)?.[1] ?? text.trim().split("\n")[0]!;
  const words = said.toLowerCase().match(/[\p{L}\p{M}\p{N}-]+/gu) ?? [];
  return words.slice(0, 3).join(" ").slice(0, 38) || "unnamed";
}
