import { defineProject } from "vitest/config";

export default defineProject({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "module", "default"] } },
  test: { name: "benchmarks", include: ["**/*.test.ts"], exclude: ["dist/**"], pool: "forks", testTimeout: 60_000 },
});
