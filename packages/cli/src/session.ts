import { resolve } from "node:path";
import type { Command } from "commander";
import { absolutePaths, type RawSettings } from "./config/load.js";
import { shellQuote } from "./format.js";
import { watchInterrupts } from "./interrupt.js";
import type { Io } from "./io.js";
import { fromFlags, gatherSettings } from "./options.js";
import type { OnEvent } from "./pipeline/events.js";
import type { OpenRunOptions, Run } from "./pipeline/run.js";
import { watchOutputs, writeThrough } from "./terminal/outputs.js";
import { printEvents } from "./terminal/run-events.js";
import { plain } from "./terminal/style.js";
import { Ui } from "./terminal/ui.js";

/** What one command has at hand. */
export interface Session {
  readonly io: Io;
  readonly ui: Ui;
  readonly signal: AbortSignal;
  /** The settings of flags, environment and configuration file, or of a run where one is named (`gatherSettings`). */
  settings(runDir?: string): Promise<RawSettings>;
  /** The settings that flags and environment alone give. */
  flags(): RawSettings;
  /** A folder that the command names. */
  place(dir: string): string;
  /** What work on a run is told: when to stop, and where to say how it goes. */
  readonly surroundings: { readonly onEvent: OnEvent; readonly signal: AbortSignal };
  /** The settings that a run directory holds, nothing where it holds none. */
  stored(runDir: string): Promise<RawSettings>;
  /** A run to write to, under its settings and those of this command over them, or under settings given instead. */
  open(dir: string, options?: Pick<OpenRunOptions, "continued"> & { readonly settings?: RawSettings }): Promise<Run>;
  /** A run to read from, under its own settings. */
  read(dir: string): Promise<Run>;
}

/** Global flags as commander gives them. */
interface GlobalFlags {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly verbose?: boolean;
  readonly color?: boolean;
  readonly progress?: boolean;
  readonly threads?: number;
}

export function uiFor(io: Io, flags: GlobalFlags): Ui {
  return new Ui(io, {
    json: flags.json === true,
    quiet: flags.quiet === true,
    verbose: flags.verbose === true,
    color: flags.color !== false,
    progress: flags.progress !== false,
  });
}

/** Runs a command's work with its session: signals watched, threads granted, the bar taken down at the end. */
export async function withSession(io: Io, command: Command, work: (session: Session) => Promise<void>): Promise<void> {
  const flags = command.optsWithGlobals<GlobalFlags>();
  const ui = uiFor(io, flags);
  // Everything heavy is loaded here, not at the top: help, version and usage errors answer at once.
  const [{ setThreadBudget }, { openRun }, { storedSettings }] = await Promise.all([
    import("@prismrec/core"),
    import("./pipeline/run.js"),
    import("./pipeline/settings-file.js"),
  ]);
  setThreadBudget(flags.threads);
  using interrupts = watchInterrupts(
    io.signals,
    () => ui.error(`${ui.err.warn("■")} Stopping after the current step; once more to quit at once.`),
    (exitCode) => {
      ui.stopProgress();
      io.quit(exitCode);
    },
  );
  // Where nobody reads on, or nothing more can be written, the work stops as it does at Ctrl-C.
  using _outputs = watchOutputs(io, interrupts.stop);
  const surroundings = { onEvent: printEvents(ui), signal: interrupts.signal };
  const place = (dir: string): string => resolve(io.cwd, dir);
  // Read once: a configuration may come through a pipe.
  const gathered = new Map<string | undefined, Promise<RawSettings>>();
  const gather = async (runDir: string | undefined): Promise<RawSettings> =>
    gatherSettings(command, io.cwd, {
      ...(runDir === undefined ? {} : { stored: await storedSettings(place(runDir)) }),
      onNotice: (notice) => ui.warn(plain(notice)),
    });
  const settings = (runDir?: string): Promise<RawSettings> => {
    const known = gathered.get(runDir) ?? gather(runDir);
    gathered.set(runDir, known);
    return known;
  };
  try {
    await work({
      io,
      ui,
      signal: interrupts.signal,
      settings,
      flags: () =>
        absolutePaths(
          fromFlags(command, io.cwd, (notice) => ui.warn(plain(notice))),
          io.cwd,
        ),
      place,
      surroundings,
      stored: (dir) => storedSettings(place(dir)),
      open: async (dir, { settings: given, ...options } = {}) =>
        openRun(place(dir), given ?? (await settings(dir)), { ...surroundings, ...options }),
      read: (dir) => openRun(place(dir), undefined, { ...surroundings, readOnly: true }),
    });
    if (io.stdout.writableLength > 0) await writeThrough(io.stdout, "", interrupts.signal);
  } finally {
    ui.stopProgress();
  }
}

/** How to go on after an interruption: the very command, ready to paste. */
export function continueWith(args: readonly string[]): string {
  return `Everything finished so far is kept. Continue with:\n  prismrec ${args.map(shellQuote).join(" ")}`;
}
