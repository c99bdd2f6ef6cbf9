import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { noChromium, startChromium } from "../testing/chromium.js";
import { comparisonData, reportData } from "../testing/report-data.js";
import { renderComparison } from "./comparison.js";
import { renderReport } from "./render.js";

const HOSTILE = `</script><script>alert(1)</script><img src=x onerror="alert(2)">'"&\u202e`;
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");
const VIEWS: Readonly<Record<string, BrowserContextOptions>> = {
  "a desktop": { viewport: { width: 1280, height: 900 } },
  "a desktop, dark": { viewport: { width: 1280, height: 900 }, colorScheme: "dark" },
  "a phone": { viewport: { width: 390, height: 844 } },
};

let browser: Browser | undefined;
let folder: string;
const pages = ["report", "hostile", "comparison"] as const;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prismrec-pages-"));
  const contents: Record<(typeof pages)[number], string> = {
    report: renderReport(reportData()),
    hostile: renderReport(reportData(HOSTILE)),
    comparison: renderComparison(comparisonData(HOSTILE)),
  };
  for (const name of pages) await writeFile(join(folder, `${name}.html`), contents[name]);
  if (noChromium === undefined) browser = await startChromium();
}, 120_000);

afterAll(async () => {
  await browser?.close();
  await rm(folder, { recursive: true });
});

/** Opens a page, and keeps what it asks for and complains of. */
async function visit(
  name: (typeof pages)[number],
  options: BrowserContextOptions,
  look: (page: Page) => Promise<void>,
) {
  const context = await browser!.newContext(options);
  const page = await context.newPage();
  const heard: string[] = [];
  const address = pathToFileURL(join(folder, `${name}.html`)).href;
  page.on("request", (request) => {
    if (request.url() !== address) heard.push(`asks for ${request.url()}`);
  });
  page.on("console", (message) => heard.push(message.text()));
  page.on("pageerror", (error) => heard.push(error.message));
  page.on("dialog", (dialog) => {
    heard.push(dialog.message());
    void dialog.dismiss();
  });
  await page.goto(address);
  await look(page);
  await context.close();
  expect(heard).toEqual([]);
}

describe.skipIf(noChromium !== undefined)(`in Chromium${noChromium === undefined ? "" : ` (${noChromium})`}`, () => {
  for (const [view, options] of Object.entries(VIEWS)) {
    // The hostile report has all that the plain one has.
    it.each(["hostile", "comparison"] as const)(
      `the page %s has no fault that axe finds on ${view}, and is no wider than it`,
      async (name) => {
        // What looks at the page is no script of the page's.
        await visit(name, { ...options, bypassCSP: true }, async (page) => {
          // Folded parts are looked at as well.
          await page.evaluate(`for (const part of document.querySelectorAll("details")) part.open = true`);
          await page.evaluate(await readFile(AXE, "utf8"));
          const violations = await page.evaluate(
            `axe.run(document).then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes.map(({ html }) => html)]))`,
          );
          expect(violations).toEqual([]);
          const width = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth");
          expect(width).toBeLessThanOrEqual(0);
        });
      },
    );
  }

  it("a user is found by typing, under the page's own policy", async () => {
    await visit("report", {}, async (page) => {
      expect(await page.locator(".user h3").allTextContents()).toEqual(["User Plain title"]);
      await page.getByLabel("Find a user").fill("u3");
      await page.getByRole("button", { name: "u31" }).click();
      expect(await page.locator(".user h3").allTextContents()).toEqual(["User u31"]);
      expect(await page.evaluate(`document.activeElement === document.querySelector(".user h3")`)).toBe(true);
    });
  });

  it("hostile text stays text, also where the page's script writes it", async () => {
    await visit("hostile", {}, async (page) => {
      await page.getByLabel("Find a user").fill("script");
      await page.getByRole("button").first().click();
      expect(await page.locator(".user h3").textContent()).toBe(`User ${HOSTILE}`);
      expect(await page.locator("img").count()).toBe(0);
    });
  });
});
