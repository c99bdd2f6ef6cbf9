import type { UserTable } from "./user-table.js";

/** As much of a document as this needs: a browser's, or the one that the page is made with. */
export interface PageElement {
  textContent: string | null;
  className: string;
  value?: string;
  readonly firstChild: unknown;
  append(...nodes: readonly (PageElement | string)[]): void;
  replaceChildren(...nodes: readonly PageElement[]): void;
  setAttribute(name: string, value: string): void;
  addEventListener(type: string, listener: (event: { readonly key?: string }) => void): void;
  focus?(): void;
}

export interface PageDocument {
  createElement(name: string): PageElement;
  getElementById(id: string): PageElement | null;
}

/**
 * Lets the reader find users by id or by interest, and shows them. It makes the first users' cards when the page is
 * written, and runs in the page as its only script: as text, so everything that it uses is inside it. All text of
 * data and models goes in as text nodes.
 *
 * @param colours how many classes c0, c1, … there are
 */
export function findUsers(document: PageDocument, table: UserTable, colours: number): void {
  const MOST = 24;
  const { texts, users } = table;
  const cards = document.getElementById("user-cards")!;
  const input = document.getElementById("user-search")!;
  const matches = document.getElementById("user-matches")!;
  const status = document.getElementById("user-status")!;
  const make = (name: string, className = "", ...content: readonly (PageElement | string)[]): PageElement => {
    const element = document.createElement(name);
    if (className !== "") element.className = className;
    element.append(...content);
    return element;
  };
  const named = users.some(([, , , interests]) => interests.length > 0);
  const number = (value: number): string => value.toLocaleString("en-US");
  const badge = (place: number): PageElement =>
    place === 0 ? make("span") : make("span", `badge c${(place - 1) % colours}`, String(place));

  const card = (row: number): PageElement => {
    const [id, events, targets, interests, items] = users[row]!;
    const title = make("h3", "", `User ${id}`);
    title.setAttribute("tabindex", "-1");
    const shown: PageElement[] = interests.map(([behaviour, share, labels, because], place) => {
      const name = make("span", "", labels.map((label) => texts[label]).join(", "));
      if (behaviour === 1) name.append(" ", make("small", "soft", "from behaviour"));
      const part = make("i");
      part.setAttribute("style", `width:${Math.min(100, share / 10)}%`);
      const line = make(
        "li",
        "interest",
        badge(place + 1),
        name,
        make("span", "soft", share < 10 ? "< 1 %" : `${Math.round(share / 10)} %`),
      );
      line.append(make("span", "bar", part));
      if (because.length > 0) line.append(make("span", "because", because.map((item) => texts[item]).join(" · ")));
      return line;
    });
    const listed: PageElement[] = [];
    let hits = 0;
    for (let at = 0; at < items.length; at += 2) {
      const [text = 0, code = 0] = [items[at], items[at + 1]];
      const hit = code % 2 === 1;
      if (hit) hits++;
      listed.push(
        make(
          "li",
          "item",
          badge(code >> 1),
          make("span", "", texts[text] ?? ""),
          make("span", "hit", hit ? "✓ taken" : ""),
        ),
      );
    }
    const took = `${number(events)} events read · took ${number(targets)} ${targets === 1 ? "item" : "items"} next, ${hits} of them among the ${listed.length} below`;
    const list = make("div", "", make("h4", "", "Recommended"), make("ol", "", ...listed));
    const about = interests.length === 0 ? make("p", "soft", "None are known.") : make("ul", "", ...shown);
    // A model without interests has none to show of anybody.
    const parts = named ? make("div", "columns", make("div", "", make("h4", "", "Interests"), about), list) : list;
    return make("article", named ? "user" : "user plain", title, make("p", "soft", took), parts);
  };

  /** Exact id, then what begins with the text, then what holds it, then an interest that does. */
  const find = (text: string): number[] => {
    const wanted = text.toLowerCase();
    const holding = new Set<number>();
    texts.forEach((label, place) => {
      if (label.toLowerCase().includes(wanted)) holding.add(place);
    });
    const ranked: number[][] = [[], [], [], []];
    users.forEach(([id, , , interests], row) => {
      const own = id.toLowerCase();
      const rank = own === wanted ? 0 : own.startsWith(wanted) ? 1 : own.includes(wanted) ? 2 : 3;
      if (rank < 3 || interests.some(([, , labels]) => labels.some((label) => holding.has(label))))
        ranked[rank]!.push(row);
    });
    return ranked.flat();
  };
  const show = (row: number): void => {
    const made = card(row);
    cards.replaceChildren(made);
    (made.firstChild as PageElement).focus?.();
  };
  const search = (): void => {
    const text = (input.value ?? "").trim();
    const found = text === "" ? [] : find(text);
    matches.replaceChildren(
      ...found.slice(0, MOST).map((row) => {
        const button = make("button", "", users[row]![0]);
        button.setAttribute("type", "button");
        button.addEventListener("click", () => show(row));
        return make("li", "", button);
      }),
    );
    const more = found.length > MOST ? `, the first ${MOST} are listed` : "";
    status.textContent =
      text === "" ? "" : `${number(found.length)} ${found.length === 1 ? "user" : "users"} found${more}.`;
  };
  input.addEventListener("input", search);
  input.addEventListener("keydown", ({ key }) => {
    const [first] = key === "Enter" ? find((input.value ?? "").trim()) : [];
    if (first !== undefined) show(first);
  });
  if (cards.firstChild === null) cards.replaceChildren(...table.examples.map(card));
}
