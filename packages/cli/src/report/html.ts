/** Markup that is safe to stand in a page. Only `html` and `trusted` make it. */
export class Html {
  constructor(readonly markup: string) {}
  toString(): string {
    return this.markup;
  }
}

type Part = Html | string | number | undefined | readonly Part[];

/** A template whose every inserted text is escaped; markup made by this same function stands as it is. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  let markup = strings[0] ?? "";
  parts.forEach((part, i) => {
    markup += render(part) + (strings[i + 1] ?? "");
  });
  return new Html(markup);
}

/** Markup that this program made itself, such as a chart. Never call it with text from data or a model. */
export function trusted(markup: string): Html {
  return new Html(markup);
}

/** Text as HTML content or attribute value. Control characters, which HTML does not allow, become visible. */
export function escapeHtml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("'", "&#39;")
    .replace(/[^\P{Cc}\n\t]/gu, "\ufffd");
}

/** JSON for a `<script type="application/json">`: no `<`, so that nothing in it can end the element. */
export function scriptJson(value: unknown): Html {
  const json = JSON.stringify(value) ?? "null";
  return new Html(
    json
      .replaceAll("<", "\\u003c")
      .replaceAll(">", "\\u003e")
      .replaceAll("\u2028", "\\u2028")
      .replaceAll("\u2029", "\\u2029"),
  );
}

function render(part: Part): string {
  if (part === undefined) return "";
  if (part instanceof Html) return part.markup;
  if (typeof part === "string" || typeof part === "number") return escapeHtml(String(part));
  return part.map(render).join("");
}
