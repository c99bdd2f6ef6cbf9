import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { projects: ["native", "packages/*", "tools"], maxWorkers: 2 },
});
