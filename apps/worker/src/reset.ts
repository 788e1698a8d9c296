/** Takes a worker's traces from its machine. */
import { existsSync } from "node:fs";
import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { openLevelState, recordedNetwork } from "@warren/agent";
import { defaultTaskPool, defaultVipPool } from "@warren/api/model";
import { openContainerd } from "@warren/runtime-containerd";
import { noMetrics, silentLogger, systemClock, systemRandom } from "@warren/std";
import { containerdOptions, workerFolders } from "./folders.ts";
import type { WorkerOptions } from "./options.ts";
import { removeNodeNetwork } from "./task-network.ts";

export interface ResetOptions extends Pick<
  WorkerOptions,
  "dataDir" | "runDir" | "containerdSocket" | "containerdNamespace"
> {
  /** Volumes' data stay. */
  readonly keepVolumes: boolean;
}

/** The default pools of a cluster; the subnet is of no node. */
const anyNetwork = { nodeSubnet: "10.77.0.0/24", taskPool: defaultTaskPool, vipPool: defaultVipPool };

/**
 * Removes containers, images, interfaces, rules and the worker's record. It must have ended. Begun again after a break
 * it goes on where it was.
 */
export async function resetWorker(options: ResetOptions): Promise<void> {
  const folders = workerFolders(options);
  // A worker that ended before it had any data has left this alone.
  await rm(join(options.dataDir, "worker.log"), { force: true });
  if (!existsSync(folders.data)) return;
  {
    await using resources = new AsyncDisposableStack();
    const base = { clock: systemClock, random: systemRandom, log: silentLogger, metrics: noMetrics };
    const { own, ...rest } = containerdOptions({ ...options, mirrors: {} });
    // Its containers would go on without it, but nobody would manage them.
    const forGood = { ...rest, own: { ...own, endWithUs: true } };
    const { runtime } = resources.use(await openContainerd(base, forGood, new AbortController().signal));
    await runtime.purge();
    const state = await openLevelState(folders.state);
    resources.defer(() => state.close());
    const network = await recordedNetwork(state);
    // A record that was lost does not say which, and what is ours is found by its form.
    await removeNodeNetwork(network ?? anyNetwork, { netnsDirectory: folders.netns });
  }
  const keep = options.keepVolumes ? new Set(["volumes"]) : new Set<string>();
  for (const entry of await readdir(folders.data)) {
    if (!keep.has(entry)) await rm(join(folders.data, entry), { recursive: true, force: true });
  }
  // Without volumes there is nothing to keep.
  for (const directory of [join(folders.data, "volumes"), folders.data]) await removeIfEmpty(directory);
  await rm(options.runDir, { recursive: true, force: true });
}

async function removeIfEmpty(directory: string): Promise<void> {
  try {
    await rmdir(directory);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ENOTEMPTY") throw error;
  }
}
