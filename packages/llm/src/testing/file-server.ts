import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** What stands in for Hugging Face: one file, which it gives whole and in ranges. */
export interface ServedFile {
  readonly content: Uint8Array;
  /** What it says of the file's SHA-256; absent: nothing. */
  readonly sha256?: string;
  /** Sends so many bytes of it and then no more. */
  readonly stopsAfter?: number;
}

/** A server on loopback that gives files by path. For tests only. */
export class FileServer {
  /** Method and path of what was asked. */
  readonly seen: string[] = [];
  readonly #server;

  private constructor(files: Readonly<Record<string, ServedFile>>) {
    this.#server = createServer((request, response) => {
      const { pathname } = new URL(request.url ?? "", "http://localhost");
      this.seen.push(`${request.method} ${pathname}`);
      const file = files[pathname];
      if (file === undefined) {
        response.writeHead(404).end("Entry not found");
        return;
      }
      const { content, sha256, stopsAfter } = file;
      const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
      const start = Number(from ?? 0);
      const end = to === undefined || to === "" ? content.length : Number(to) + 1;
      response.writeHead(from === undefined ? 200 : 206, {
        "accept-ranges": "bytes",
        "content-length": end - start,
        ...(from === undefined ? {} : { "content-range": `bytes ${start}-${end - 1}/${content.length}` }),
        ...(sha256 === undefined ? {} : { "x-linked-etag": `"${sha256}"` }),
      });
      if (request.method === "HEAD") response.end();
      else if (stopsAfter === undefined || from === undefined) response.end(content.subarray(start, end));
      else response.write(content.subarray(start, Math.min(end, stopsAfter)));
    });
  }

  static async start(files: Readonly<Record<string, ServedFile>>): Promise<FileServer> {
    const server = new FileServer(files);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  get address(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
