import fc from "fast-check";
import { parseHTML } from "linkedom";
import { describe, expect, it } from "vitest";
import { escapeHtml, html, scriptJson } from "./html.js";

const ANY_TEXT = fc.string({ unit: "binary", maxLength: 40 });

describe("html", () => {
  it("escapes what is inserted and leaves its own markup alone", () => {
    const inner = html`<b>${"<i>"}</b>`;
    expect(html`<p title="${`"'`}">${inner}${["&", 1]}</p>`.markup).toBe(
      '<p title="&quot;&#39;"><b>&lt;i&gt;</b>&amp;1</p>',
    );
  });

  it("lets no text out of its element or attribute", () => {
    fc.assert(
      fc.property(ANY_TEXT, (text) => {
        const { document } = parseHTML(html`<main><p title="${text}">${text}</p></main>`.markup);
        const main = document.querySelector("main");
        expect(main?.querySelectorAll("*").length).toBe(1);
        expect(main?.firstElementChild?.attributes.length).toBe(1);
      }),
    );
  });

  it("shows control characters instead of obeying them", () => {
    expect(escapeHtml("a\u0000b\u001b[2J\tc\n")).toBe("a\ufffdb\ufffd[2J\tc\n");
  });
});

describe("scriptJson", () => {
  it("holds any value without ending its element, and gives it back unchanged", () => {
    fc.assert(
      fc.property(fc.oneof(ANY_TEXT, fc.constant("</script><script>alert(1)</script><!--")), (text) => {
        const { markup } = scriptJson({ text });
        expect(markup).not.toMatch(/[<>\u2028\u2029]/);
        expect(JSON.parse(markup)).toEqual({ text });
      }),
    );
  });
});
