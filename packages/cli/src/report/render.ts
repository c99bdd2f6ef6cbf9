import { count } from "../format.js";
import type { ReportData } from "./data.js";
import { findUsers } from "./find-users.js";
import { html } from "./html.js";
import { page } from "./page.js";
import { SERIES } from "./palette.js";
import { SECTIONS } from "./sections.js";
import { verdict } from "./verdict.js";

/** The text that runs in the page: it reads the users that the page carries. */
const SCRIPT = `(${findUsers})(document, JSON.parse(document.getElementById("test-users").textContent), ${SERIES});`;

/** The whole report as one file. */
export function renderReport(data: ReportData): string {
  const { imported, clusterer } = data;
  const { users, ...others } = data;
  const sections = SECTIONS.flatMap(({ id, title, body }) => {
    const content = body(data);
    return content === undefined ? [] : [{ id, title, content }];
  });
  const hasUsers = sections.some(({ id }) => id === "users");
  return page({
    title: `${data.name}: prismrec report of ${data.date}`,
    data: { "report-data": others, ...(hasUsers ? { "test-users": users } : {}) },
    ...(hasUsers ? { script: SCRIPT } : {}),
    body: html`<h1>${data.name} · prismrec report · ${data.date}</h1>
<p class="verdict">${verdict(data.evaluation)}</p>
<ul class="facts">
<li><b>${count(imported.kept.users)}</b> users</li>
<li><b>${count(imported.kept.items)}</b> items</li>
<li><b>${count(imported.kept.events)}</b> events</li>
<li><b>${count(imported.split.test)}</b> test users (${imported.split.protocol})</li>
<li>interests by <b>${clusterer.name ?? "nobody"}</b>${clusterer.model === undefined ? "" : html` with ${clusterer.model}`}</li>
</ul>
${clusterer.notice === undefined ? "" : html`<p class="soft">${clusterer.notice}</p>`}
<nav aria-label="Parts of this report"><ul>${sections.map(({ id, title }) => html`<li><a href="#${id}">${title}</a></li>`)}</ul></nav>
${sections.map(({ id, title, content }) => html`<section id="${id}" aria-labelledby="${id}-title"><h2 id="${id}-title">${title}</h2>\n${content}</section>\n`)}`,
  });
}
