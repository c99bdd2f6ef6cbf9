import type { Progress } from "@prismrec/core/base";
import type { Io } from "../io.js";
import { writeThrough } from "./outputs.js";
import { BarProgress, NO_PROGRESS, PlainProgress, type ProgressReporter } from "./progress.js";
import { type Style, styleFor } from "./style.js";
import { DEFAULT_WIDTH } from "./table.js";

export interface UiOptions {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly verbose: boolean;
  readonly color: boolean;
  readonly progress: boolean;
}

/** A terminal with fewer columns breaks the lines of tables itself. */
const NARROWEST_TERMINAL = 40;

/** All printing goes through here: the result to stdout, everything else to stderr. */
export class Ui {
  readonly out: Style;
  readonly err: Style;
  readonly json: boolean;
  readonly verbose: boolean;
  /** Columns that a table on stdout may take. */
  readonly width: number;
  readonly #io: Io;
  readonly #quiet: boolean;
  readonly #progress: ProgressReporter;

  constructor(io: Io, options: UiOptions) {
    this.#io = io;
    this.json = options.json;
    this.verbose = options.verbose;
    this.#quiet = options.quiet;
    const { isTTY, columns = 0 } = io.stdout;
    this.width = isTTY && columns > 0 ? Math.max(columns, NARROWEST_TERMINAL) : DEFAULT_WIDTH;
    this.out = styleFor(io.stdout, io.env, options.color);
    this.err = styleFor(io.stderr, io.env, options.color);
    if (options.quiet || !options.progress) this.#progress = NO_PROGRESS;
    // A bar is drawn over and over: where either stream goes elsewhere, somebody keeps what is written.
    else if (io.stdout.isTTY && io.stderr.isTTY) this.#progress = new BarProgress(io.stderr);
    else this.#progress = new PlainProgress((line) => this.#line(line));
  }

  /** The command's result, the only thing that goes to stdout. */
  result(text: string): void {
    this.#progress.stop();
    this.#io.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  }

  /** The result as one JSON document. */
  resultJson(value: unknown): void {
    this.result(JSON.stringify(value, undefined, 2));
  }

  /** A part of a result that is too long to be held in memory; resolves when stdout has room for the next. */
  async part(text: string, signal: AbortSignal): Promise<void> {
    this.#progress.stop();
    await writeThrough(this.#io.stdout, text, signal);
  }

  /** What is going on, for people; silent under `--quiet`. */
  info(text: string): void {
    if (!this.#quiet) this.#line(text);
  }

  /** Only under `--verbose`. */
  detail(text: string): void {
    if (this.verbose && !this.#quiet) this.#line(this.err.dim(text));
  }

  warn(text: string): void {
    this.#line(`${this.err.warn("!")} ${text}`);
  }

  error(text: string): void {
    this.#line(text);
  }

  readonly progress = (progress: Progress): void => this.#progress.update(progress);

  stopProgress(): void {
    this.#progress.stop();
  }

  #line(text: string): void {
    this.#progress.stop();
    this.#io.stderr.write(`${text}\n`);
  }
}
