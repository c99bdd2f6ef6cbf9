import { defineProject } from "vitest/config";

export default defineProject({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "module", "default"] } },
  test: { name: "tools", include: ["**/*.test.ts"], pool: "forks", testTimeout: 120_000 },
});
