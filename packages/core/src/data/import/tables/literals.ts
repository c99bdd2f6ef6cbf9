/** A number as it is written: 64-bit ids and times lose no digit. */
export class NumberText {
  constructor(readonly text: string) {}
}

export type Literal = string | boolean | null | NumberText | readonly Literal[] | ReadonlyMap<string, Literal>;

export const isMembers = (value: Literal): value is ReadonlyMap<string, Literal> => value instanceof Map;

/**
 * Reads one JSON value or Python literal (quotes of either kind, None, True, tuples, sets, `u'...'`), numbers as they
 * are written. undefined: `text` is neither.
 */
export function parseLiteral(text: string): Literal | undefined {
  const parser = new LiteralParser(text);
  try {
    return parser.whole();
  } catch (error) {
    if (error === UNREADABLE) return undefined;
    throw error;
  }
}

/** A literal as the text of a cell: collections as JSON, `null` as nothing. */
export function literalText(value: Literal): string | null {
  if (value === null || typeof value === "string") return value;
  if (typeof value === "boolean") return String(value);
  return value instanceof NumberText ? value.text : literalJson(value);
}

function literalJson(value: Literal): string {
  if (value === null || typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (value instanceof NumberText) return value.text;
  if (isMembers(value)) {
    return `{${[...value].map(([key, member]) => `${JSON.stringify(key)}:${literalJson(member)}`).join(",")}}`;
  }
  return `[${value.map(literalJson).join(",")}]`;
}

const UNREADABLE = new Error("not a literal");
/** Deeper nesting than any data has; recursion must not reach the end of the stack. */
const MAX_DEPTH = 200;
const BLANKS = /[\s]*/y;
const WORD = /[A-Za-z]+/y;
const NUMBER = /[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?L?/y;
const WORDS: ReadonlyMap<string, Literal> = new Map<string, Literal>([
  ["true", true],
  ["True", true],
  ["false", false],
  ["False", false],
  ["null", null],
  ["None", null],
  ["NaN", null],
  ["nan", null],
]);
const ESCAPES: Readonly<Record<string, string>> = {
  ...{ n: "\n", t: "\t", r: "\r", b: "\b", f: "\f", v: "\v", a: "\x07" },
  ...{ "/": "/", "\\": "\\", '"': '"', "'": "'", "\n": "" },
};

class LiteralParser {
  #at = 0;

  constructor(readonly text: string) {}

  whole(): Literal {
    const value = this.#value(0);
    this.#skipBlanks();
    if (this.#at < this.text.length) throw UNREADABLE;
    return value;
  }

  #value(depth: number): Literal {
    if (depth > MAX_DEPTH) throw UNREADABLE;
    this.#skipBlanks();
    const first = this.text[this.#at];
    switch (first) {
      case '"':
      case "'":
        return this.#string(first);
      case "[":
        this.#at++;
        return this.#list("]", [], depth);
      case "(":
        this.#at++;
        return this.#list(")", [], depth);
      case "{":
        this.#at++;
        return this.#members(depth);
      case "u":
      case "b": {
        const quote = this.text[this.#at + 1];
        if (quote !== '"' && quote !== "'") throw UNREADABLE;
        this.#at++;
        return this.#string(quote);
      }
      default:
        return this.#scalar();
    }
  }

  #scalar(): Literal {
    const number = this.#match(NUMBER);
    if (number !== undefined) return new NumberText(number.replace(/L$/, ""));
    const value = WORDS.get(this.#match(WORD) ?? "");
    if (value === undefined) throw UNREADABLE;
    return value;
  }

  /** What follows an opening bracket and `items`, up to `close`. */
  #list(close: string, items: Literal[], depth: number): Literal[] {
    for (;;) {
      if (this.#takes(close)) return items;
      if (items.length > 0) {
        this.#expect(",");
        if (this.#takes(close)) return items;
      }
      items.push(this.#value(depth + 1));
    }
  }

  #members(depth: number): Literal {
    const members = new Map<string, Literal>();
    for (;;) {
      if (this.#takes("}")) return members;
      if (members.size > 0) {
        this.#expect(",");
        if (this.#takes("}")) return members;
      }
      const key = this.#value(depth + 1);
      if (members.size === 0 && !this.#peeks(":")) return this.#list("}", [key], depth);
      const name = literalText(key);
      if (name === null || (typeof key === "object" && !(key instanceof NumberText))) throw UNREADABLE;
      this.#expect(":");
      members.set(name, this.#value(depth + 1));
    }
  }

  #string(quote: string): string {
    const start = this.#at + 1;
    let end = this.text.indexOf(quote, start);
    if (end < 0) throw UNREADABLE;
    const plain = this.text.slice(start, end);
    if (!plain.includes("\\")) {
      this.#at = end + 1;
      return plain;
    }
    let value = "";
    let from = start;
    for (end = start; ; ) {
      const character = this.text[end];
      if (character === undefined) throw UNREADABLE;
      if (character === quote) break;
      if (character !== "\\") {
        end++;
        continue;
      }
      value += this.text.slice(from, end);
      const [written, length] = unescaped(this.text, end);
      value += written;
      end += length;
      from = end;
    }
    this.#at = end + 1;
    return value + this.text.slice(from, end);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }

  #skipBlanks(): void {
    const code = this.text.charCodeAt(this.#at);
    if (code <= 32 || code > 127) this.#match(BLANKS);
  }

  #peeks(character: string): boolean {
    this.#skipBlanks();
    return this.text[this.#at] === character;
  }

  #takes(character: string): boolean {
    const there = this.#peeks(character);
    if (there) this.#at++;
    return there;
  }

  #expect(character: string): void {
    if (!this.#takes(character)) throw UNREADABLE;
  }
}

const CODE = /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|U([0-9a-fA-F]{8}))/y;

/** What the escape at `at` stands for, and its length; one that means nothing stands for itself, as in Python. */
function unescaped(text: string, at: number): readonly [string, number] {
  CODE.lastIndex = at;
  const code = CODE.exec(text);
  if (code !== null) {
    const point = Number.parseInt(code[1] ?? code[2] ?? code[3] ?? "", 16);
    if (point > 0x10ffff) throw UNREADABLE;
    return [String.fromCodePoint(point), code[0].length];
  }
  const next = text[at + 1];
  if (next === undefined) throw UNREADABLE;
  return [ESCAPES[next] ?? `\\${next}`, 2];
}
