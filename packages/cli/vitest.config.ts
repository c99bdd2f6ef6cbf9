import { defineProject } from "vitest/config";

export default defineProject({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "module", "default"] } },
  test: {
    name: "cli",
    include: ["src/**/*.test.ts"],
    pool: "forks",
    testTimeout: 60_000,
    // Commands train once; that validation chooses settings has tests of its own (tune.test.ts).
    env: { PRISMREC_EFFORT: "quick" },
  },
});
