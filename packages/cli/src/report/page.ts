import { createHash } from "node:crypto";
import { type Html, html, scriptJson, trusted } from "./html.js";
import { STYLE } from "./style.js";

export interface PageParts {
  readonly title: string;
  readonly body: Html;
  /** JSON documents that the page carries, by the id of their element. */
  readonly data: Readonly<Record<string, unknown>>;
  /** The one program that may run in it: this program's own text, never one with text from data or a model. */
  readonly script?: string;
}

/** A page as one file: nothing is fetched, no script runs but the one given, every text of data or model is escaped. */
export function page({ title, body, data, script }: PageParts): string {
  const hash = script === undefined ? undefined : createHash("sha256").update(script).digest("base64");
  const policy = [
    "default-src 'none'",
    "style-src 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
    ...(hash === undefined ? [] : [`script-src 'sha256-${hash}'`]),
  ];
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${policy.join("; ")}">
<title>${title}</title>
<style>${trusted(STYLE)}</style>
</head>
<body>
<main>
${body}
</main>
${Object.entries(data).map(([id, value]) => html`<script type="application/json" id="${id}">${scriptJson(value)}</script>\n`)}
${script === undefined ? "" : html`<script>${trusted(script)}</script>`}
</body>
</html>
`.markup;
}

export interface TableRow {
  /** The first is the row's head. */
  readonly cells: readonly (string | Html)[];
  /** Set apart: the run's own model, what was chosen. */
  readonly own?: boolean;
}

/** A table that scrolls by itself where it is wider than the page. */
export function table(
  label: string,
  head: readonly (string | Html)[],
  rows: readonly TableRow[],
  className: "left" | "tight" | "" = "",
): Html {
  return html`<div class="scroll" tabindex="0" role="group" aria-label="${label}"><table class="${className}"><thead><tr>${head.map(
    (title) => html`<th scope="col">${title}</th>`,
  )}</tr></thead>
<tbody>${rows.map(
    ({ cells: [first = "", ...cells], own = false }) =>
      html`<tr class="${own ? "own" : ""}"><th scope="row">${first}</th>${cells.map((cell) => html`<td>${cell}</td>`)}</tr>\n`,
  )}</tbody></table></div>`;
}

/** The numbers behind a chart, folded. */
export function dataTable(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  summary = "The numbers",
): Html {
  return html`<details><summary>${summary}</summary>${table(
    summary,
    head,
    rows.map((cells) => ({ cells })),
    "tight",
  )}</details>`;
}
