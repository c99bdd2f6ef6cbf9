import { PrismrecError } from "@prismrec/core/base";
import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { exitCodeOf } from "./exit-codes.js";
import { Interrupted } from "./interrupt.js";
import { ThresholdMissed } from "./threshold.js";

describe("exitCodeOf", () => {
  it.each([
    ["CONFIG_INVALID", 2],
    ["INVALID_ARGUMENT", 2],
    ["FILE_NOT_FOUND", 3],
    ["DATA_FORMAT", 3],
    ["UNKNOWN_USER", 3],
    ["RUN_LOCKED", 3],
    ["RUN_FORMAT", 3],
    ["CHECKPOINT_INCOMPATIBLE", 3],
    ["MODEL_INVALID", 4],
    ["DISK_FULL", 4],
    ["OUT_OF_MEMORY", 4],
    ["INTERNAL", 1],
    ["TRAINING_DIVERGED", 1],
  ] as const)("maps %s to %i", (code, exit) => {
    expect(exitCodeOf(new PrismrecError(code, "x"))).toBe(exit);
  });

  it("tells signals, usage, missed thresholds and the unforeseen apart", () => {
    expect(exitCodeOf(new Interrupted("SIGINT"))).toBe(130);
    expect(exitCodeOf(new Interrupted("SIGTERM"))).toBe(143);
    expect(exitCodeOf(new CommanderError(1, "commander.unknownOption", "x"))).toBe(2);
    expect(exitCodeOf(new CommanderError(0, "commander.helpDisplayed", "x"))).toBe(0);
    expect(exitCodeOf(new ThresholdMissed({ metric: "recall@50", value: 0.5 }, 0.4, "ldmi"))).toBe(5);
    expect(exitCodeOf(new TypeError("x"))).toBe(1);
    expect(exitCodeOf("x")).toBe(1);
  });
});
