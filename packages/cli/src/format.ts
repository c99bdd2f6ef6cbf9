import { isAbsolute, relative } from "node:path";

/** A fraction as people read it: 0.46512 -> "46.5 %". */
export function percent(fraction: number, digits = 1): string {
  return `${(100 * fraction).toFixed(digits)} %`;
}

/** A fraction in a table of percentages, without the sign. */
export function points(fraction: number, digits = 2): string {
  return (100 * fraction).toFixed(digits);
}

/** The same for a difference, which always has a sign. */
export function signedPoints(fraction: number, digits = 2): string {
  return `${fraction < 0 ? "−" : "+"}${points(Math.abs(fraction), digits)}`;
}

/** A number with so many digits and a proper minus. */
export function fixed(value: number, digits: number): string {
  return value.toFixed(digits).replace("-", "−");
}

/** Seconds as people read them: "4.2 s", "3 min 05 s", "1 h 02 min". */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, "0")} s`;
  return `${Math.floor(whole / 3600)} h ${String(Math.floor((whole % 3600) / 60)).padStart(2, "0")} min`;
}

/** 12345 -> "12,345", the same in every locale. */
export function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** One argument of a command line, quoted where a POSIX shell would otherwise change it. */
export function shellQuote(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** A path as it is shortest to type from `cwd`: relative inside it, absolute elsewhere. */
export function shortPath(path: string, cwd: string): string {
  const inside = relative(cwd, path);
  return inside === "" || inside.startsWith("..") || isAbsolute(inside) ? path : inside;
}
