/** Worlds of a copy of the package: `worlds.ts DIRECTORY SEED,SEED,…`; fails at the first that breaks an invariant. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";

import type * as TestingModule from "../../src/testing/index.ts";

const [directory = "", seeds = ""] = process.argv.slice(2);
const { simulate } = (await import(
  pathToFileURL(join(directory, "src/testing/index.ts")).href
)) as typeof TestingModule;
for (const seed of seeds.split(",").map(Number)) {
  const { violation, linearizable } = await simulate(seed);
  // One that the checker gave up on says nothing, and no world does without a mutation.
  if (violation !== undefined || linearizable === undefined) process.exit(1);
}
