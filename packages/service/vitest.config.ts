import { defineProject } from "vitest/config";

export default defineProject({
  resolve: { conditions: ["source"] },
  // Without "import": Node would hand helmet's ES module to its CommonJS caller.
  ssr: { resolve: { conditions: ["source", "node", "module", "default"] } },
  test: { name: "service", include: ["src/**/*.test.ts"], pool: "forks", testTimeout: 60_000 },
});
