import { readFile } from "node:fs/promises";
import { createRandom, type Matrix } from "@prismrec/core/base";
import { readCheckpoint } from "@prismrec/core/nn";
import { describe, expect, it } from "vitest";
import { TemporaryFolder, tinyConfig, tinyInput } from "../testing/tiny-input.js";
import { type TrainInput, train } from "./train.js";

const WIDTH = 12;

async function inputWithVectors(): Promise<TrainInput & { readonly itemVectors: Matrix }> {
  const input = await tinyInput();
  const random = createRandom(4);
  const { size } = input.dataset.catalog;
  const data = Float32Array.from({ length: size * WIDTH }, () => random.normal());
  return { ...input, itemVectors: { data, rows: size, cols: WIDTH } };
}

describe.each(["mixture", "comirec-dr"] as const)("%s over given item vectors", (name) => {
  it.each(["text", "sum"] as const)("learns under the tower %s, and resumes bit for bit", async (tower) => {
    const input = await inputWithVectors();
    await using folder = await TemporaryFolder.create();
    const config = tinyConfig(name, { tower, stopping: { epochs: 3 } });
    const whole = await train(input, config, { dir: folder.in("whole") });
    expect(whole.curve.at(-1)!.parts.prediction).toBeLessThan(whole.curve[0]!.parts.prediction!);

    const stop = new AbortController();
    const first = await train(input, config, {
      dir: folder.in("parts"),
      signal: stop.signal,
      onEvent: (event) => {
        if (event.type === "step" && event.epoch === 2) stop.abort();
      },
    });
    expect(first.stoppedBy).toBe("signal");
    await train(input, config, { dir: folder.in("parts") });
    const [a, b] = await Promise.all(
      ["whole", "parts"].map((part) => readFile(folder.in(part, "model", "tensors.safetensors"))),
    );
    expect(a!.equals(b!)).toBe(true);
    const stored = await readCheckpoint(folder.in("whole", "model"), "model");
    const names = [...stored.tensors.keys()];
    expect(names).toContain("items");
    // What the tower is made of has gone into the item vectors.
    expect(names.filter((tensor) => tensor.includes("tower"))).toEqual([]);
  });

  it("refuses a tower that has nothing to map, and vectors of other items", async () => {
    const { itemVectors, ...input } = await inputWithVectors();
    await using folder = await TemporaryFolder.create();
    const config = tinyConfig(name, { tower: "text" });
    await expect(train(input, config, { dir: folder.in("none") })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const fewer = { ...itemVectors, rows: itemVectors.rows - 1, data: itemVectors.data.subarray(WIDTH) };
    await expect(train({ ...input, itemVectors: fewer }, config, { dir: folder.in("few") })).rejects.toMatchObject({
      code: "SHAPE_MISMATCH",
    });
  });
});
