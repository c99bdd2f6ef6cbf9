/** A JSON pointer (RFC 6901) to a part of a document, as a fragment: `#/history/3`. */
export function jsonPointer(path: readonly PropertyKey[]): string {
  return `#${path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("")}`;
}

/** What stands at a path in a value; undefined where it does not reach so far. */
export function partOf(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((inside, key) => (inside as Record<PropertyKey, unknown> | undefined)?.[key], value);
}
