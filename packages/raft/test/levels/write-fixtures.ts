/** Rewrites the fixtures of the present level: `pnpm --filter @warren/raft fixtures`. Not after that level was released. */
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

import { levels } from "../../src/levels.ts";
import { restoreDirectory } from "./fixtures.ts";
import { asJson, makeSamples, readDirectory, readSample } from "./samples.ts";

const folder = join(import.meta.dirname, `level-${levels.level}`);
await rm(folder, { recursive: true, force: true });
for (const sample of await makeSamples()) {
  const path = join(folder, `${sample.name}.bin`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, sample.bytes);
  if (sample.name.startsWith("directory/")) continue;
  await writeFile(join(folder, `${sample.name}.json`), asJson(await readSample(sample)));
}
await using directory = await restoreDirectory(levels.level);
await writeFile(join(folder, "directory.json"), asJson(await readDirectory(directory.path)));
