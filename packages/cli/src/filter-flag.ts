import { type Catalog, type Column, itemColumn } from "@prismrec/core/data";
import { PrismrecError } from "@prismrec/core/errors";
import type { FilterRange, FilterScalar, ItemFilter } from "@prismrec/core/recommend";

/** How `--filter` is written, for help. */
export const FILTER_HELP = "what the items must be: price=5..20, category=a,b, inStock=true; several must all hold";

/**
 * The filter that `--filter` flags write, values read as the column's kind asks for. `a,b` is one of them, `5..20`
 * between them, `5..` and `..20` from and up to; a JSON object stands for itself, where a text holds a comma or dots.
 *
 * @throws PrismrecError INVALID_ARGUMENT for a flag that is neither
 */
export function parseFilter(flags: readonly string[], catalog: Catalog): ItemFilter {
  const filter: Record<string, ItemFilter[string]> = {};
  for (const flag of flags) {
    if (flag.trimStart().startsWith("{")) {
      Object.assign(filter, jsonFilter(flag));
      continue;
    }
    const at = flag.indexOf("=");
    if (at < 1) throw unreadable(flag);
    const name = flag.slice(0, at).trim();
    filter[name] = condition(flag.slice(at + 1).trim(), itemColumn(catalog, name));
  }
  return filter;
}

function condition(text: string, column: Column | undefined): readonly FilterScalar[] | FilterRange {
  const scalar = (value: string): string | number => {
    return column?.kind === "number" && value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
  };
  const range = /^(.*?)\.\.(.*)$/s.exec(text);
  if (range !== null) {
    const [from = "", to = ""] = range.slice(1).map((side) => side.trim());
    return { ...(from === "" ? {} : { from: scalar(from) }), ...(to === "" ? {} : { to: scalar(to) }) };
  }
  return text.split(",").map((part) => {
    const value = part.trim();
    const isFlag = /^(true|false)$/i.test(value) && column?.kind !== "text" && column?.kind !== "list";
    return isFlag ? value.toLowerCase() === "true" : scalar(value);
  });
}

function jsonFilter(text: string): ItemFilter {
  try {
    return JSON.parse(text);
  } catch {
    throw unreadable(text);
  }
}

function unreadable(text: string): PrismrecError {
  return new PrismrecError("INVALID_ARGUMENT", "--filter cannot be read", {
    expected: "column=value, column=a,b, column=from..to, or a JSON object",
    received: text,
    hint: "For example --filter price=5..20 --filter category=a,b, or --filter '{\"inStock\": true}'.",
  });
}
