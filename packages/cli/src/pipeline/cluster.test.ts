import { describe, expect, it } from "vitest";
import { parseSettings } from "../config/load.js";
import { historyLimits } from "./cluster.js";

describe("historyLimits", () => {
  it("bounds every history by default", () => {
    expect(historyLimits(parseSettings({}, "a test"))).toEqual({ maxClusters: 8, maxItems: 500 });
  });

  it("holds a control to what the run's own clusterer takes, or to the settings where they are stricter", () => {
    const settings = parseSettings({ cluster: { maxItems: 30, maxClusters: 4 } }, "a test");
    expect(historyLimits(settings, 12)).toEqual({ maxClusters: 4, maxItems: 12 });
    expect(historyLimits(settings, 64)).toEqual({ maxClusters: 4, maxItems: 30 });
    expect(historyLimits(settings)).toEqual({ maxClusters: 4, maxItems: 30 });
  });
});
