import type { Progress } from "@prismrec/core/base";
import cliProgress from "cli-progress";
import { count, duration } from "../format.js";
import type { Output } from "../io.js";

export interface ProgressReporter {
  update(progress: Progress): void;
  /** Takes the bar off the screen; what is printed next starts on a clean line. */
  stop(): void;
}

/** Seconds between two plain lines of one stage. */
export const PLAIN_INTERVAL = 10;

/**
 * Plain lines for pipes and logs: at most one per `PLAIN_INTERVAL` seconds, none for work that ends before that; no bars,
 * no cursor codes.
 */
export class PlainProgress implements ProgressReporter {
  #lastLine: number;

  constructor(
    private readonly write: (line: string) => void,
    private readonly now: () => number = () => performance.now() / 1000,
  ) {
    this.#lastLine = now();
  }

  update(progress: Progress): void {
    const time = this.now();
    if (time - this.#lastLine < PLAIN_INTERVAL) return;
    this.#lastLine = time;
    const { stage, done, total, unit, note } = progress;
    const of = total === undefined ? "" : `/${count(total)}`;
    const share = total === undefined || total === 0 ? "" : ` (${Math.floor((100 * done) / total)} %)`;
    this.write(`  ${stage} ${count(done)}${of} ${unit}${share}${note === undefined ? "" : `  ${note}`}`);
  }

  stop(): void {
    // Lines stay where they are.
  }
}

/** A bar on a terminal; one at a time, replaced as the stage changes. */
export class BarProgress implements ProgressReporter {
  readonly #stream: Output;
  #bar: cliProgress.SingleBar | undefined;
  #stage: string | undefined;
  #started = 0;

  constructor(stream: Output) {
    this.#stream = stream;
  }

  update({ stage, done, total, unit, note }: Progress): void {
    if (stage !== this.#stage) {
      this.stop();
      this.#stage = stage;
      this.#started = performance.now();
      const format =
        total === undefined
          ? "  {stage}  {value} {unit}  {note}"
          : "  {stage}  {bar}  {percentage} %  {value}/{total} {unit}  {left}  {note}";
      this.#bar = new cliProgress.SingleBar({
        stream: this.#stream,
        format,
        clearOnComplete: true,
        hideCursor: true,
        barsize: 28,
        barCompleteChar: "━",
        barIncompleteChar: "─",
        fps: 8,
        forceRedraw: true,
        gracefulExit: false,
      });
      this.#bar.start(total ?? 0, done, { stage, unit, note: note ?? "", left: "" });
    }
    const seconds = (performance.now() - this.#started) / 1000;
    const left =
      total === undefined || done === 0 || seconds < 2 ? "" : `${duration((seconds / done) * (total - done))} left`;
    if (total !== undefined) this.#bar?.setTotal(total);
    this.#bar?.update(done, { stage, unit, note: note ?? "", left });
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = undefined;
    this.#stage = undefined;
  }
}

export const NO_PROGRESS: ProgressReporter = { update: () => undefined, stop: () => undefined };
