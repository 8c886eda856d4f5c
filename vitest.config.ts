import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: [
      "src/**/*.test.ts",
      "test/*.test.ts",
      "test/apparatus/**/*.test.ts",
      "test/conformance/**/*.test.ts",
      "test/fuzz/**/*.test.ts",
      "test/contracts/**/*.test.ts",
      "bench/**/*.test.ts",
    ],
    testTimeout: 20_000,
  },
});
