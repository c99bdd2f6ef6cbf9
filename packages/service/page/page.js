// The page at `/`. Titles and labels are other people's text: they go into text nodes only.

/** @typedef {{ id: string, title: string }} Item */
/** @typedef {{ index: number, label: string, kind: string, share: number, factor?: number, evidence: Item[] }} Interest */
/** @typedef {Item & { score: number, because: { interest: number | null, label: string | null, evidence: Item[] }, prior: number | null }} Recommended */
/** @typedef {{ model: { name: string, hash: string }, considered: number, exact: boolean, fallback: { detail: string } | null, interests: Interest[], items: Recommended[], cursor: string | null, warnings: { detail: string }[] }} Answer */

const HUES = 8;
const BOOST = 4;
const PRIOR_BRINGS = 0.5;

/** @template {HTMLElement} [E=HTMLElement] @param {string} id @returns {E} */
const at = (id) => /** @type {E} */ (document.getElementById(id));

/**
 * An element with a class and what stands in it.
 *
 * @param {string} tag
 * @param {string} className
 * @param {...(Node | string)} children texts become text nodes
 */
function element(tag, className, ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children);
  return made;
}

/** @param {Item} item */
const nameOf = ({ id, title }) => (title === "" ? id : title);
/** @param {number} part */
const percent = (part) => `${Math.round(100 * part)} %`;

/** What the person has made of the interests, by index: 0 muted, else the factor. @type {Map<number, number>} */
let factors = new Map();
/** @type {Record<string, unknown>} */
let whom = {};
/** @type {string | null} */
let cursor = null;
/** The latest request: an answer that comes after another was asked for is dropped. */
let latest = 0;

/** @param {string} text @param {boolean} [bad] */
function say(text, bad = false) {
  const message = at("message");
  message.textContent = text;
  message.classList.toggle("bad", bad);
}

/** @param {boolean} further the next page of the same list */
async function ask(further) {
  const own = ++latest;
  const mute = [...factors].filter(([, factor]) => factor === 0).map(([index]) => index);
  const boost = [...factors].filter(([, factor]) => factor > 0).map(([interest, factor]) => ({ interest, factor }));
  const interests = factors.size === 0 ? {} : { interests: { mute, boost } };
  const page = further && cursor !== null ? { cursor } : {};
  const k = Number(/** @type {HTMLInputElement} */ (at("k")).value);
  const key = /** @type {HTMLInputElement} */ (at("key")).value;
  document.body.classList.add("busy");
  try {
    const response = await fetch("/v1/recommend", {
      method: "POST",
      headers: { "content-type": "application/json", ...(key === "" ? {} : { authorization: `Bearer ${key}` }) },
      body: JSON.stringify({ ...whom, k, ...interests, ...page }),
    });
    const answer = await response.json();
    if (own !== latest) return;
    if (response.ok) show(answer, further);
    else refuse(response.status, answer);
  } catch {
    if (own === latest) say("The service does not answer.", true);
  } finally {
    if (own === latest) document.body.classList.remove("busy");
  }
}

/** @param {number} status @param {{ detail?: string, hint?: string }} problem */
function refuse(status, { detail = `The service answered ${status}.`, hint }) {
  if (status === 401) at("key-field").hidden = false;
  say(hint === undefined ? detail : `${detail}. ${hint}`, true);
}

/** @param {Answer} answer @param {boolean} further */
function show(answer, further) {
  const { model, fallback, interests, items, considered, exact, warnings } = answer;
  cursor = answer.cursor;
  at("answer").hidden = false;
  at("model").textContent = `${model.name} · ${model.hash.slice(0, 12)}`;
  const notes = [...(fallback === null ? [] : [fallback.detail]), ...warnings.map(({ detail }) => detail)];
  say(notes.join(" · "));
  /** @type {Map<number, number>} */
  const hues = new Map(interests.map(({ index }, place) => [index, place % HUES]));
  at("controls-note").hidden = interests.length === 0;
  if (!further) {
    at("interests").replaceChildren(
      ...(interests.length === 0
        ? [element("li", "none", "Nothing is known of any.")]
        : interests.map((interest) => interestRow(interest, hues))),
    );
    at("items").replaceChildren();
  }
  at("items").append(...items.map((item) => itemRow(item, hues)));
  if (!further && items.length === 0) at("items").append(element("li", "none", "Nothing is left to recommend."));
  at("considered").textContent = exact
    ? `The best of ${considered} items, every one of them compared.`
    : `From ${considered} items, every one of them compared; rules have a say in their order.`;
  at("more").hidden = cursor === null;
}

/** @param {Interest} interest @param {Map<number, number>} hues */
function interestRow({ index, label, kind, share, factor, evidence }, hues) {
  const meter = document.createElement("meter");
  meter.value = share;
  meter.setAttribute("aria-label", `share of ${label}`);
  const row = element(
    "li",
    `interest hue${hues.get(index)}${factor === 0 ? " muted" : ""}`,
    element("div", "head", element("span", "label", label), element("span", "share", percent(share))),
    meter,
    element(
      "p",
      "evidence",
      `${kind === "semantic" ? "" : "From behaviour. "}Rests on ${evidence.map(nameOf).join(", ")}`,
    ),
    element("div", "controls", control(index, 0, "Mute", label), control(index, BOOST, `Count ${BOOST}×`, label)),
  );
  return row;
}

/** A button that is pressed while its factor holds. @param {number} index @param {number} factor @param {string} text @param {string} label */
function control(index, factor, text, label) {
  const button = document.createElement("button");
  const pressed = factors.get(index) === factor;
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-pressed", String(pressed));
  button.setAttribute("aria-label", `${text}: ${label}`);
  button.addEventListener("click", async () => {
    if (pressed) factors.delete(index);
    else factors.set(index, factor);
    await ask(false);
    // The row was made anew: whoever goes by keyboard stays where they were.
    for (const other of document.querySelectorAll("#interests button")) {
      if (other instanceof HTMLElement && other.getAttribute("aria-label") === `${text}: ${label}`) other.focus();
    }
  });
  return button;
}

/** @param {Recommended} item @param {Map<number, number>} hues */
function itemRow(item, hues) {
  const { id, score, because, prior } = item;
  const evidence = because.evidence.map(nameOf).join(", ");
  const hue = because.interest === null ? "" : ` hue${hues.get(because.interest)}`;
  const reasons = [];
  if (because.label !== null) reasons.push(element("span", "tag", because.label));
  if (evidence !== "") reasons.push(element("span", "evidence", `because of ${evidence}`));
  if (prior !== null && prior > PRIOR_BRINGS)
    reasons.push(element("span", "prior", `${percent(prior)} from the linear prior`));
  return element(
    "li",
    `item${hue}`,
    element(
      "div",
      "head",
      element("span", "title", nameOf(item)),
      element("span", "score", Number.isInteger(score) ? String(score) : score.toFixed(2)),
    ),
    element("span", "id", id),
    element("div", "because", ...reasons),
  );
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(/** @type {HTMLFormElement} */ (at("ask")));
  const text = String(form.get("whom")).trim();
  // An id may hold spaces: they part ids only where no comma does.
  const ids = text
    .split(/[,\n]/.test(text) ? /[,\n]/ : /\s+/)
    .map((id) => id.trim())
    .filter((id) => id !== "");
  factors = new Map();
  whom = form.get("kind") === "user" ? { user: text } : { history: ids };
  ask(false);
});
at("ask").addEventListener("change", () => {
  const kind = new FormData(/** @type {HTMLFormElement} */ (at("ask"))).get("kind");
  at("whom-label").textContent = kind === "user" ? "User id" : "Item ids, oldest first";
});
at("more").addEventListener("click", () => ask(true));

const ready = await fetch("/health/ready").then(
  (response) => (response.ok ? response.json() : undefined),
  () => undefined,
);
if (ready === undefined) say("The model is not open yet.", true);
else at("model").textContent = `${ready.model.name} · ${ready.items} items · ${ready.users} users`;
