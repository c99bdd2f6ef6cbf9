import { describe, expect, it } from "vitest";
import { FakeModel } from "../testing/fake-model.js";
import { emptyRecording, type Recording, ReplayModel, recordModel } from "./replay.js";

describe("ReplayModel", () => {
  const fake = () =>
    new FakeModel({ generate: (p) => `${p}!`, embed: (t) => [t.length], score: (t, w) => -t.length - w.length });
  const request = { prefix: "p", continuations: ["a", "bb"], words: ["x", "yy"] };

  it("says again what was recorded, after a round through JSON", async () => {
    const recording = emptyRecording("m", "h");
    const recorder = recordModel(fake(), recording);
    const said = [
      await recorder.generate(["a"], { seed: 2 }),
      await recorder.embed(["abc"]),
      await recorder.scoreNext(request),
    ];
    const replay = new ReplayModel(JSON.parse(JSON.stringify(recording)) as Recording);
    expect([
      await replay.generate(["a"], { seed: 2 }),
      await replay.embed(["abc"]),
      await replay.scoreNext(request),
    ]).toEqual(said);
  });

  it("never guesses", async () => {
    const replay = new ReplayModel(emptyRecording("m", "h"));
    await expect(replay.generate(["a"])).rejects.toMatchObject({ code: "LLM_OUTPUT_INVALID" });
    await expect(replay.scoreNext(request)).rejects.toMatchObject({ code: "LLM_OUTPUT_INVALID" });
  });
});
