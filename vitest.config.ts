import { availableParallelism } from "node:os";
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
    // Much of a test of several processes is waiting, which leaves room for another one even on a machine of two cores.
    maxWorkers: Math.max(2, availableParallelism()),
  },
});
