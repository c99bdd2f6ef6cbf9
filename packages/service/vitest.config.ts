import { defineProject } from "vitest/config";

export default defineProject({
  resolve: { conditions: ["source"] },
  ssr: { resolve: { conditions: ["source", "node", "import", "module", "default"] } },
  test: { name: "service", include: ["src/**/*.test.ts"], pool: "forks", testTimeout: 60_000 },
});
