import { describe, expect, it } from "vitest";
import { z } from "zod";
import { select } from "./select.js";
import { defineStage, inOrder, type Stage } from "./stage.js";

/** A stage of no consequence. */
function stage(name: string, reads: readonly Stage[] = [], command?: string): Stage {
  return defineStage({
    name,
    summary: "does nothing",
    version: 1,
    reads,
    settings: z.object({}),
    ...(command === undefined ? {} : { command }),
    run: async () => undefined,
    open: async () => name,
  });
}

const names = (stages: readonly Stage[]): string[] => stages.map(({ name }) => name);

const read = stage("read");
const split = stage("split", [read]);
const fitA = stage("fit-a", [split], "fit");
const fitB = stage("fit-b", [read], "fit");
const judge = stage("judge", [fitA, fitB]);
const aside = stage("aside", [read]);

describe("inOrder", () => {
  it("puts every stage after what it reads, and keeps to the list otherwise", () => {
    expect(names(inOrder([judge, aside, fitB, read, fitA, split]))).toEqual([
      "read",
      "split",
      "fit-a",
      "fit-b",
      "judge",
      "aside",
    ]);
    const listed = [read, split, fitA, fitB, judge, aside];
    expect(inOrder(listed)).toEqual(listed);
  });

  it("takes the listed stage of a name for what is read under it", () => {
    const other = stage("read");
    expect(inOrder([split, other])).toEqual([other, split]);
  });

  it("refuses two of one name, what is not listed and circles, and says which", () => {
    const circle: Stage[] = [];
    const one = stage("one", circle);
    circle.push(stage("two", [one]));
    for (const [stages, message] of [
      [[read, stage("read")], "two stages are called read"],
      [[split], "split reads read, which is not among the stages"],
      [[one, ...circle], "one < two < one"],
    ] as const) {
      expect(() => inOrder(stages)).toThrowError(
        expect.objectContaining({ code: "INVALID_ARGUMENT", message: expect.stringContaining(message) }),
      );
    }
    expect(inOrder([split], [read])).toEqual([split]);
  });
});

describe("select", () => {
  const stages = [read, split, fitA, fitB, judge, aside];

  it("gives a stage with what it reads, from a first one on; a command stands for all of its stages", () => {
    expect(names(select(stages, {}))).toEqual(names(stages));
    expect(names(select(stages, { to: "fit-b" }))).toEqual(["read", "fit-b"]);
    expect(names(select(stages, { from: "fit", to: "fit" }))).toEqual(["fit-a", "fit-b"]);
    expect(names(select(stages, { from: "split", to: "judge" }))).toEqual(["split", "fit-a", "fit-b", "judge"]);
  });

  it("refuses names that are none, with the likely one, and a part without stages", () => {
    const refusal = (part: Parameters<typeof select>[1]) => {
      try {
        return select(stages, part);
      } catch (error) {
        return error;
      }
    };
    expect(refusal({ to: "juge" })).toMatchObject({ code: "INVALID_ARGUMENT", hint: "Did you mean judge?" });
    expect(refusal({ from: "judge", to: "split" })).toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
