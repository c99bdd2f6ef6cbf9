import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TinyModels, tinyModels } from "../testing/tiny-model.js";
import { inspectGguf } from "./gguf.js";

let models: TinyModels;
beforeAll(async () => {
  models = await tinyModels();
});
afterAll(() => models.remove());

describe("inspectGguf", () => {
  it("reads what a complete model says of itself", async () => {
    expect(await inspectGguf(models.llama)).toMatchObject({
      version: 3,
      architecture: "llama",
      name: "tiny random llama",
      contextLength: 2048,
      embeddingLength: 64,
    });
    expect((await inspectGguf(models.bert)).architecture).toBe("bert");
  });

  it("says where nothing is", async () => {
    await expect(inspectGguf(join(models.dir, "absent.gguf"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });

  it("refuses folders, empty files, other formats and other versions", async () => {
    const path = join(models.dir, "broken.gguf");
    await expect(inspectGguf(models.dir)).rejects.toMatchObject({ code: expect.stringMatching(/MODEL_INVALID|IO/) });
    for (const content of [
      "",
      "GG",
      "user,item\n1,2\n",
      "\x7fELF\x02\x01\x01",
      "GGUF\x63\x00\x00\x00aaaaaaaaaaaaaaaaaaaaaaaa",
    ]) {
      await writeFile(path, content, "latin1");
      await expect(inspectGguf(path)).rejects.toMatchObject({ code: "MODEL_INVALID", hint: expect.any(String) });
    }
  });

  it("refuses a model cut anywhere: in its header, its tensor list or its weights", async () => {
    const path = join(models.dir, "cut.gguf");
    const whole = await readFile(models.llama);
    for (const share of [0.001, 0.01, 0.02, 0.2, 0.5, 0.99]) {
      await writeFile(path, whole.subarray(0, Math.floor(whole.length * share)));
      await expect(inspectGguf(path)).rejects.toMatchObject({ code: "MODEL_INVALID" });
    }
  });

  it("refuses lengths that make no sense", async () => {
    const path = join(models.dir, "absurd.gguf");
    const bytes = Buffer.from(await readFile(models.llama));
    bytes.writeBigUInt64LE(2n ** 50n, 24);
    await writeFile(path, bytes);
    await expect(inspectGguf(path)).rejects.toMatchObject({ code: "MODEL_INVALID" });
  });
});
