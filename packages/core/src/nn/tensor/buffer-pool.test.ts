import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferPool, capacityFor } from "./buffer-pool.js";

describe("BufferPool", () => {
  it("has capacities that hold what is asked for and waste at most an eighth", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 30 }), (length) => {
        const capacity = capacityFor(length);
        expect(capacity).toBeGreaterThanOrEqual(length);
        expect(capacity).toBeLessThanOrEqual(length * 1.125);
        expect(capacityFor(capacity)).toBe(capacity);
      }),
    );
  });

  it("gives memory out again to a tensor of about the same size", () => {
    const pool = new BufferPool(1e6);
    const buffer = pool.take(1000).buffer as ArrayBuffer;
    pool.give(buffer);
    expect(pool.bytes).toBe(buffer.byteLength);
    const again = pool.take(970);
    expect(again.buffer).toBe(buffer);
    expect(again.length).toBe(970);
    expect(pool.bytes).toBe(0);
  });

  it("lets go of the sizes unused for longest when it holds too much", () => {
    const pool = new BufferPool(10_000);
    const [old, recent] = [pool.take(1024), pool.take(1536)];
    pool.give(old.buffer as ArrayBuffer);
    pool.give(recent.buffer as ArrayBuffer);
    expect(pool.bytes).toBe(1536 * 4);
    expect(pool.take(1536).buffer).toBe(recent.buffer);
  });
});
