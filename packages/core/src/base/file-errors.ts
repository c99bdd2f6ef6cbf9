import { PrismrecError } from "./errors.js";

/** The `code` of a Node system error (`ENOENT`, `ENOSPC`, ...), or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** A file system failure as a typed error that names the path; a PrismrecError passes through. */
export function fromFileError(error: unknown, path: string, action: "read" | "write"): PrismrecError {
  if (error instanceof PrismrecError) return error;
  const received = error instanceof Error ? error.message : String(error);
  switch (systemCode(error)) {
    case "ENOENT":
      return new PrismrecError("FILE_NOT_FOUND", `no such file or folder: ${path}`, {
        received,
        hint: "Check the path; a relative one starts at the folder the command is run in.",
        cause: error,
      });
    case "ENOSPC":
    case "EDQUOT":
      return new PrismrecError("DISK_FULL", `no space left to write ${path}`, {
        received,
        hint: "Free some space and run the same command again: what was finished before is kept.",
        cause: error,
      });
    case "EROFS":
      return new PrismrecError("IO", `cannot ${action} ${path}: the disk is read-only`, {
        received,
        hint: "What is finished can be read there; to write, copy the folder to a disk that takes it.",
        cause: error,
      });
    default:
      return new PrismrecError("IO", `cannot ${action} ${path}`, { received, cause: error });
  }
}
