import { describe, expect, it } from "vitest";
import { growthPlot } from "./plot.js";

describe("growthPlot", () => {
  it("is one SVG with a panel for time and one for memory of each series", () => {
    const points = [1000, 10_000].flatMap((n) =>
      ["prismrec", "a<b"].map((impl) => ({ series: "one & only", n, impl, seconds: n / 1e6, bytes: 8 * n })),
    );
    const svg = growthPlot("Greedy", points);
    expect(svg.match(/<svg /g)).toHaveLength(3);
    expect(svg).toContain("one &amp; only");
    expect(svg).toContain("a&lt;b");
    expect(svg).not.toContain("NaN");
  });
});
