import { readFile } from "node:fs/promises";
import type { App } from "../service.js";

/** Of the page: what it needs from this very service, and nothing from anywhere else. */
export const PAGE_POLICY = {
  useDefaults: false,
  directives: {
    "default-src": ["'none'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "connect-src": ["'self'"],
    "img-src": ["'self'"],
    "base-uri": ["'none'"],
    "form-action": ["'none'"],
    "frame-ancestors": ["'none'"],
  },
};

const FILES = [
  ["/", "index.html", "text/html; charset=utf-8"],
  ["/page.css", "page.css", "text/css; charset=utf-8"],
  ["/page.js", "page.js", "text/javascript; charset=utf-8"],
  ["/favicon.svg", "favicon.svg", "image/svg+xml"],
] as const;

/** The page at `/`, read once. */
export async function addPage(app: App): Promise<void> {
  for (const [url, file, type] of FILES) {
    const content = await readFile(new URL(`../../page/${file}`, import.meta.url));
    app.get(url, { schema: { hide: true } }, async (_request, reply) => {
      reply.type(type).header("cache-control", "no-cache");
      return content;
    });
  }
}
