import { expect, it } from "vitest";
import { readingOrder } from "./reading-order.js";

it("takes the crowd's items and rare items by turns, every item once", () => {
  const popularity = Uint32Array.of(0, 50, 3, 9, 1, 70, 2);
  expect(readingOrder(popularity, Uint32Array.of(5, 1, 5, 2))).toEqual([5, 4, 1, 6, 2, 3]);
  expect(readingOrder(popularity, new Uint32Array())).toEqual([4, 6, 2, 3, 1, 5]);
});
