import { styleText } from "node:util";
import type { Io, Output } from "../io.js";

export interface Style {
  bold(text: string): string;
  dim(text: string): string;
  good(text: string): string;
  bad(text: string): string;
  warn(text: string): string;
}

/** Colours for one stream: none unless it is a terminal, never under NO_COLOR or `--no-color`; FORCE_COLOR asks for them. */
export function styleFor(stream: Output, env: Io["env"], allowed: boolean): Style {
  const forced = env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== "0" && env.FORCE_COLOR !== "false";
  const refused = !allowed || (env.NO_COLOR ?? "") !== "" || env.TERM === "dumb";
  const coloured = !refused && (forced || stream.isTTY === true);
  const paint = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    coloured ? styleText(format, text, { validateStream: false }) : text;
  return { bold: paint("bold"), dim: paint("dim"), good: paint("green"), bad: paint("red"), warn: paint("yellow") };
}

/** Untrusted text (titles, labels) on one line of a terminal: control characters, which could move the cursor, are shown. */
export function plain(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (character) => {
    const code = character.codePointAt(0)!.toString(16).padStart(4, "0");
    return character === "\u00ad" || character === "\u200d" ? "" : `\\u{${code}}`;
  });
}
