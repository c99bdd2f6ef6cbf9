import { describe, expect, it } from "vitest";
import { fakeIo } from "../testing/fake-io.js";
import { PLAIN_INTERVAL, PlainProgress } from "./progress.js";
import { Ui } from "./ui.js";

const PLAIN = { json: false, quiet: false, verbose: false, color: true, progress: true };
const ESCAPE = "\u001b";

describe("PlainProgress", () => {
  it("prints at most one line per ten seconds, and none before the first ten", () => {
    let now = 0;
    const lines: string[] = [];
    const progress = new PlainProgress(
      (line) => lines.push(line),
      () => now,
    );
    for (; now <= 35; now += 0.5) progress.update({ stage: "score", done: now * 2, total: 100, unit: "items" });
    expect(lines).toEqual([
      "  score 20/100 items (20 %)",
      "  score 40/100 items (40 %)",
      "  score 60/100 items (60 %)",
    ]);
    expect(PLAIN_INTERVAL).toBe(10);
  });

  it("says what there is to say without a total", () => {
    let now = 0;
    const lines: string[] = [];
    const progress = new PlainProgress(
      (line) => lines.push(line),
      () => now,
    );
    now = 11;
    progress.update({ stage: "import", done: 12_345, unit: "rows", note: "ratings.csv" });
    expect(lines).toEqual(["  import 12,345 rows  ratings.csv"]);
  });
});

describe("Ui", () => {
  const advance = (ui: Ui): void => {
    for (let done = 0; done <= 10; done++) ui.progress({ stage: "score", done, total: 10, unit: "items" });
    ui.stopProgress();
  };

  it("draws no bar and no cursor codes into a pipe", () => {
    const io = fakeIo({ tty: false });
    advance(new Ui(io, PLAIN));
    expect(io.stderr.text).toBe("");
    expect(io.stdout.text).toBe("");
  });

  it("draws no bar where only one of the two streams is a terminal", () => {
    const io = { ...fakeIo({ tty: true }), stdout: fakeIo({ tty: false }).stdout };
    advance(new Ui(io, PLAIN));
    expect(io.stderr.text).toBe("");
  });

  it("draws a bar to stderr where both streams are terminals, unless told not to", () => {
    const io = fakeIo({ tty: true });
    advance(new Ui(io, PLAIN));
    expect(io.stderr.text).toContain("score");
    expect(io.stdout.text).toBe("");
    for (const options of [
      { ...PLAIN, quiet: true },
      { ...PLAIN, progress: false },
    ]) {
      const silent = fakeIo({ tty: true });
      advance(new Ui(silent, options));
      expect(silent.stderr.text).toBe("");
    }
  });

  it("keeps colours out of pipes, of NO_COLOR and of --no-color", () => {
    const coloured = (tty: boolean, env: Record<string, string>, color: boolean): boolean => {
      const ui = new Ui(fakeIo({ tty, env }), { ...PLAIN, color });
      return ui.err.bad("x").includes(ESCAPE);
    };
    expect(coloured(true, {}, true)).toBe(true);
    expect(coloured(false, {}, true)).toBe(false);
    expect(coloured(true, { NO_COLOR: "1" }, true)).toBe(false);
    expect(coloured(true, {}, false)).toBe(false);
    expect(coloured(false, { FORCE_COLOR: "1" }, true)).toBe(true);
  });
});
