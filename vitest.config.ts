import { defineConfig } from "vitest/config";

/**
 * Four projects: `unit` (seconds, nothing real), `simulation` (seeded worlds), `cluster` (real containerd, packets,
 * processes; root), and `machine` (an emulated machine; run by `tools/vm test`).
 */
const conditions = ["warren-source", "node", "import", "default"];
const shared = { resolve: { conditions }, ssr: { resolve: { conditions } } };
const setupFiles = ["tools/property-seed.ts"];

export default defineConfig({
  test: {
    coverage: {
      provider: "v8",
      include: ["packages/*/src/**/*.ts"],
      exclude: ["**/generated/**"],
      reporter: ["text-summary", "json-summary"],
    },
    projects: [
      {
        ...shared,
        test: {
          name: "unit",
          setupFiles,
          include: ["{packages,apps}/*/test/**/*.test.ts", "tools/machine/test/*.test.ts"],
          exclude: ["**/*.{cluster,sim}.test.ts", "**/node_modules/**"],
          // READMEs' examples are processes of their own, and a machine may be busy.
          testTimeout: 30_000,
        },
      },
      {
        ...shared,
        test: {
          name: "simulation",
          setupFiles,
          include: ["{packages,apps}/*/test/**/*.sim.test.ts"],
          testTimeout: 600_000,
        },
      },
      {
        ...shared,
        test: {
          name: "cluster",
          include: ["{packages,apps}/*/test/**/*.cluster.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        ...shared,
        test: {
          name: "machine",
          include: ["tools/machine/smoke/*.test.ts"],
          globalSetup: ["tools/machine/smoke/global-setup.ts"],
          testTimeout: 1_800_000,
          hookTimeout: 1_800_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
