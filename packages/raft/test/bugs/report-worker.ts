import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { parentPort, workerData } from "node:worker_threads";

import { errorText } from "@warren/std";

import { coreStories } from "./core-stories.ts";
import type { Core } from "./core-world.ts";
import { nodeStories, type Testing } from "./node-stories.ts";
import type { MutantResult } from "./report.ts";

const { directory, bug, seeds } = workerData as { directory: string; bug: string; seeds: number };
const load = async <M>(module: string): Promise<M> => (await import(pathToFileURL(join(directory, module)).href)) as M;
// What escapes from a mutant is a failure of the run that it escapes from.
let escaped: unknown;
process.on("unhandledRejection", (error) => (escaped ??= error));

async function fails(work: () => Promise<void> | void): Promise<boolean> {
  try {
    await work();
    return false;
  } catch {
    return true;
  }
}

const core = await load<Core>("core/index.ts");
const testing = await load<Testing>("testing/index.ts");
const inCore = coreStories[bug];
const inNode = nodeStories[bug];
let story: boolean | undefined;
if (inCore !== undefined) story = await fails(() => inCore(core));
else if (inNode !== undefined) story = await fails(() => inNode(testing));
let caught = 0;
let first: MutantResult["first"];
for (let seed = 1; seed <= seeds; seed++) {
  escaped = undefined;
  let what: string | undefined;
  try {
    what = (await testing.simulate(seed)).violation?.message;
  } catch (error) {
    what = String(error);
  }
  what ??= escaped === undefined ? undefined : errorText(escaped);
  if (what !== undefined) {
    caught++;
    first ??= { seed, what };
  }
  const result: MutantResult = { story, seeds: seed, caught, first };
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread has no origin
  parentPort?.postMessage(result);
}
