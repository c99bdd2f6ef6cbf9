/** The command line as a function, and what a command of a program's own is made with. */
export type { AddCommand } from "./commands/index.js";
export type { SignalSource } from "./interrupt.js";
export { type Io, type Output, processIo } from "./io.js";
export { main } from "./main.js";
export { type Session, withSession } from "./session.js";
export type { Style } from "./terminal/style.js";
export type { Ui } from "./terminal/ui.js";
