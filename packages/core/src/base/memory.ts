import { PrismrecError } from "./errors.js";

/**
 * Refuses work that needs more memory than the machine and the container's limit leave, before the first byte is taken:
 * a process that runs out later is killed without a word.
 *
 * @param what for the message, e.g. "ease"
 * @throws PrismrecError OUT_OF_MEMORY
 */
export function requireMemory(what: string, bytes: number, hint: string, available = process.availableMemory()): void {
  if (bytes <= available) return;
  throw new PrismrecError("OUT_OF_MEMORY", `${what} needs more memory than there is`, {
    expected: `${gibibytes(bytes)} free`,
    received: `${gibibytes(available)} free`,
    hint,
  });
}

function gibibytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
