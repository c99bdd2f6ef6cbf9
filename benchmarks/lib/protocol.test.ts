import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Contestant } from "./contestant.js";
import { loadArrays, storeArrays } from "./protocol.js";

describe("arrays in files", () => {
  it("come back as they were, views into larger arrays included", () => {
    const folder = mkdtempSync(join(tmpdir(), "prismrec-protocol-"));
    try {
      const arrays = {
        a: Float32Array.of(1.5, -2),
        b: new Uint32Array([9, 7, 8]).subarray(1),
        c: Float64Array.of(Math.PI),
        d: Int32Array.of(-1),
        none: new Float32Array(0),
      };
      expect(loadArrays(storeArrays(folder, arrays))).toEqual(arrays);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("Contestant", () => {
  const talking = (script: string): Contestant => new Contestant(process.execPath, ["-e", script], process.env);

  it("answers line by line, and its errors are the caller's", async () => {
    const contestant = talking(`
      const answers = ['{"seconds":[1],"cpuSeconds":1,"peakExtraBytes":0,"peakRssBytes":0}', '{"error":"no such case"}'];
      require("node:readline").createInterface({ input: process.stdin }).on("line", () => {
        const answer = answers.shift();
        if (answer === undefined) process.exit(0);
        console.log(answer);
      });`);
    expect((await contestant.run(1)).seconds).toEqual([1]);
    await expect(contestant.run(1)).rejects.toThrow("no such case");
    await contestant.close();
  });

  it("tells how it died", async () => {
    const contestant = talking(`console.error("out of luck"); process.exit(3)`);
    await expect(contestant.run(1)).rejects.toThrow("ended early (exit 3): out of luck");
    await contestant.close();
  });
});
