/** What programs write where there is no id, spelt as they spell it. */
const NO_ID: ReadonlySet<string> = new Set([
  ...["nan", "NaN", "NAN", "-nan", "null", "NULL", "Null", "(null)", "none", "None", "NONE", "nil", "undefined"],
  ...["na", "NA", "n/a", "N/A", "#N/A", "<NA>", "\\N", "NaT"],
]);

/** Whether a text is what programs write for none, and no word that could be meant. */
export function isNoText(text: string): boolean {
  return /^(?:nan|null|\(null\)|n\/a|#n\/a|<na>|\\n)?$/i.test(text);
}

export interface IdJudgement {
  /** Codes that stand for no id. */
  readonly missing: ReadonlySet<number>;
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}

type CaseStyle = "lower" | "upper" | "title" | "other";

function caseStyle(word: string): CaseStyle {
  if (word === word.toLowerCase()) return "lower";
  if (word === word.toUpperCase()) return "upper";
  return word.slice(1) === word.slice(1).toLowerCase() ? "title" : "other";
}

const WORD = /^\p{L}[\p{L} .'-]*$/u;

/**
 * Which ids of a column stand for none, and what is odd about the others. `nan`, `NULL`, `None`, `NA`, `\N` and the like
 * are no id, unless the evidence speaks for a name: most other ids are words in the same case, and no more rows bear it
 * than bear the commonest of them.
 *
 * @param counts [ids] rows of each id
 */
export function judgeIds(role: "user" | "item", ids: readonly string[], counts: Uint32Array): IdJudgement {
  const missing = new Set<number>();
  const notes: string[] = [];
  const warnings: string[] = [];
  const suspects = ids.flatMap((id, code) => (NO_ID.has(id) ? [code] : []));
  if (suspects.length > 0) {
    const words = new Map<CaseStyle, number>();
    let commonest = 0;
    ids.forEach((id, code) => {
      if (NO_ID.has(id)) return;
      commonest = Math.max(commonest, counts[code]!);
      if (WORD.test(id)) words.set(caseStyle(id), (words.get(caseStyle(id)) ?? 0) + 1);
    });
    const others = ids.length - suspects.length;
    for (const code of suspects) {
      const id = ids[code]!;
      const alike = WORD.test(id) ? (words.get(caseStyle(id)) ?? 0) : 0;
      if (alike > 0.8 * others && counts[code]! <= commonest) {
        warnings.push(`"${id}" is kept as ${an(role)}: the other ids are such words too (${counts[code]} rows)`);
      } else missing.add(code);
    }
  }
  const floats = ids.filter((id) => /^\d+\.0$/.test(id));
  if (floats.length > 0) {
    const known = new Set(ids);
    const twins = floats.filter((id) => known.has(id.slice(0, -2)));
    const [twin] = twins;
    if (twin !== undefined) {
      warnings.push(
        `${twins.length} ${role} ids occur in two forms, such as ${twin} and ${twin.slice(0, -2)}: they count as two ${role}s`,
      );
    } else if (floats.length < ids.length - missing.size) {
      const whole = ids.filter((id) => /^\d+$/.test(id));
      if (whole.length > 0) {
        warnings.push(
          `${floats.length} ${role} ids are written like ${floats[0]}, ${whole.length} like ${whole[0]}: 12.0 and 12 are two ${role}s`,
        );
      }
    } else {
      notes.push(`every ${role} id ends in .0, as whole numbers do that were written as floats: kept as they are`);
    }
  }
  return { missing, notes, warnings };
}

const an = (role: "user" | "item"): string => (role === "user" ? "a user" : "an item");

/** Ways in which one id is written in two files, likeliest first. */
const FORMS: readonly (readonly [string, (id: string) => string])[] = [
  ["a trailing .0", (id) => id.replace(/^(\d+)\.0$/, "$1")],
  ["leading zeros", (id) => id.replace(/^0+(?=\d)/, "")],
  ["upper and lower case", (id) => id.toLowerCase()],
];

/**
 * How the ids of the interactions differ from those of the items file, where a difference in writing explains most of
 * those that have no row; undefined where none does.
 */
export function differentForm(unmatched: readonly string[], rows: Iterable<string>): string | undefined {
  const known = [...rows];
  for (const [name, form] of FORMS) {
    const forms = new Map(known.map((id) => [form(id), id]));
    const found = unmatched.filter((id) => forms.has(form(id)));
    const [example] = found;
    if (example === undefined || found.length <= unmatched.length / 2) continue;
    return `${found.length} of them differ only in ${name}, such as "${example}" and "${forms.get(form(example))}"`;
  }
  return undefined;
}
