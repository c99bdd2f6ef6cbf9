import { PrismrecError } from "../base/errors.js";

/** @throws PrismrecError SHAPE_MISMATCH */
export function checkLength(name: string, received: number, expected: number): void {
  if (received === expected) return;
  throw new PrismrecError("SHAPE_MISMATCH", `${name} has the wrong length`, {
    expected: String(expected),
    received: String(received),
  });
}
