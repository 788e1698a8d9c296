import { defineConfig, type Options } from "tsup";

/** The build of a published library: ESM only, one file an entry, no bundled dependencies; declarations come from `tsc -b`. */
export function library(entry: string[]): Options {
  return defineConfig({
    entry,
    format: "esm",
    target: "node24",
    platform: "node",
    sourcemap: true,
    splitting: true,
    clean: false,
    dts: false,
  }) as Options;
}
