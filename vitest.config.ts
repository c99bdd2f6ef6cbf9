import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { projects: ["native", "packages/*", "tools", "benchmarks"], maxWorkers: 2 },
});
