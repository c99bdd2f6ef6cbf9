import { describe, expect, it } from "vitest";
import type { RunEvent } from "../pipeline/events.js";
import { fakeIo } from "../testing/fake-io.js";
import { printEvents } from "./run-events.js";
import { Ui } from "./ui.js";

/** What these events come to on stderr; stdout stays empty. */
function printed(events: readonly RunEvent[], more: { verbose?: boolean; quiet?: boolean } = {}): string[] {
  const io = fakeIo();
  const ui = new Ui(io, { json: false, quiet: false, verbose: false, color: false, progress: true, ...more });
  for (const event of events) printEvents(ui)(event);
  expect(io.stdout.text).toBe("");
  return io.stderr.text.split("\n").slice(0, -1);
}

const epoch = { epoch: 2, step: 8, loss: 1.25, parts: {}, metrics: { "recall@20": 0.5 }, gradientNorm: 1, best: true };

const events: RunEvent[] = [
  { type: "stage-started", stage: "train-x" },
  {
    type: "training",
    stage: "train-x",
    label: "x",
    epochs: 3,
    event: { type: "start", epoch: 2, step: 4, resumed: true, warm: false, device: "cpu" },
  },
  { type: "training", stage: "train-x", label: "x", epochs: 3, event: { type: "epoch", seconds: 0.5, ...epoch } },
  { type: "training", stage: "train-x", label: "x", epochs: 3, event: { type: "checkpoint", step: 8, path: "here" } },
  { type: "stage-repaired", stage: "train-x" },
  { type: "stage-finished", stage: "train-x", reused: false, seconds: 65, summary: "done" },
  { type: "stage-finished", stage: "index", reused: true, seconds: 65, summary: "there" },
  {
    type: "updated-training",
    training: { stage: "train-x", warm: true, steps: 120, bestEpoch: 2, former: { steps: 1200, bestEpoch: 9 } },
  },
  { type: "note", text: "for all", when: "always" },
  { type: "note", text: "for few", when: "verbose" },
  { type: "note", text: "for most", when: "brief" },
  { type: "warning", text: "careful" },
  { type: "settings-not-kept", reason: "read-only" },
];

describe("printEvents", () => {
  it("makes a line of each, of some only for those who want to know all", () => {
    const common = [
      "  x goes on from step 4 of epoch 2",
      "  epoch 2/3  loss 1.2500  recall@20 50.00  0.5 s  ★",
      "! train-x was damaged and has been done again",
      "✔ train-x              done   1 min 05 s",
      "✔ index                there   as before",
      "  train-x: 120 steps from the former model; the former training took 1,200",
      "  for all",
    ];
    expect(printed(events)).toEqual([...common, "  for most", "! careful"]);
    expect(printed(events, { verbose: true })).toEqual([
      ...common.slice(0, 2),
      "  saved here",
      ...common.slice(2),
      "  for few",
      "! careful",
      "  the settings of this command are not kept: read-only",
    ]);
    expect(printed(events, { quiet: true })).toEqual([common[2], "! careful"]);
  });

  it("says what a loss of several terms is made of", () => {
    const parts = { softmax: 1, crowd: 0.5 };
    const event = { type: "epoch" as const, seconds: 0.5, ...epoch, parts };
    expect(printed([{ type: "training", stage: "train-x", label: "x", epochs: 3, event }])).toEqual([
      "  epoch 2/3  loss 1.2500 (softmax 1.000, crowd 0.500)  recall@20 50.00  0.5 s  ★",
    ]);
  });

  it("shows what data or a model say as plain text", () => {
    const text = "title\u001b[2J\n";
    const lines = printed([
      { type: "stage-finished", stage: "cluster", reused: true, seconds: 1, summary: text },
      { type: "note", text, when: "always" },
      { type: "warning", text },
    ]);
    expect(lines).toHaveLength(3);
    for (const line of lines) expect(line).not.toContain("\u001b");
  });
});
