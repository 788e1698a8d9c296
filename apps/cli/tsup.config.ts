import { defineConfig } from "tsup";

/**
 * All of the command line in a few files, since opening hundreds of them is most of the time that a short command
 * takes. The daemons stay packages of their own, loaded by who starts one.
 */
export default defineConfig({
  entry: ["src/main.ts", "src/commands/index.ts"],
  format: "esm",
  target: "node24",
  platform: "node",
  splitting: true,
  sourcemap: true,
  minifySyntax: true,
  minifyWhitespace: true,
  dts: false,
  clean: true,
  noExternal: [/^(?!@warren\/(manager|worker)$)/],
  esbuildOptions(options) {
    options.conditions = ["warren-source", "node", "import", "default"];
  },
  // CommonJS packages in the bundle still ask for Node's own modules.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
});
