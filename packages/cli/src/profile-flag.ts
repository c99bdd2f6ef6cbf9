import type { Columns } from "@prismrec/core/data";
import { PrismrecError } from "@prismrec/core/errors";
import type { GivenProfile } from "@prismrec/core/recommend";

/** How `--profile` is written, for help. */
export const PROFILE_HELP = "what is known of whose history it is, by column of the users file: country=DE, age=34";

/**
 * The profile that `--profile` flags write, values read as the column's kind asks for; `a,b` are the texts of a list.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a flag that names no column
 */
export function parseProfile(flags: readonly string[], columns: Columns = new Map()): GivenProfile {
  return Object.fromEntries(
    flags.map((flag) => {
      const at = flag.indexOf("=");
      if (at < 1) {
        throw new PrismrecError("INVALID_ARGUMENT", "--profile cannot be read", {
          expected: "column=value",
          received: flag,
          hint: "For example --profile country=DE --profile age=34.",
        });
      }
      const name = flag.slice(0, at).trim();
      return [name, readValue(flag.slice(at + 1).trim(), columns.get(name)?.kind)];
    }),
  );
}

/** What does not read as the column's kind stays a text, and is refused by whoever compares the two. */
function readValue(text: string, kind: string | undefined): string | number | boolean | readonly string[] | null {
  if (text === "") return null;
  if (kind === "number" && Number.isFinite(Number(text))) return Number(text);
  if (kind === "boolean" && /^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return kind === "list" ? text.split(",").map((part) => part.trim()) : text;
}
