import { readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { bootId } from "./container-pieces.ts";

/** containerd's databases, below its root: of all that it knows, and of the layers' places. */
const metadata = "io.containerd.metadata.v1.bolt/meta.db";
const layers = "io.containerd.snapshotter.v1.overlayfs/metadata.db";
const asideMark = "damaged-";

const reasons = "invalid database|file size too small|checksum error|version mismatch|freelist|invalid page";
/** What containerd answers to a call that needs such a database. */
const answered = new RegExp(reasons);
/** What it says of one in its log or as it dies; not of one that another has open. */
const logged = new RegExp(
  `go\\.etcd\\.io/bbolt|(?:metadata\\.v1\\.bolt|snapshotter\\.v1\\.overlayfs)\\\\?" error=\\\\?".*(?:${reasons})`,
);

/**
 * Whether containerd can't serve because what it keeps is damaged.
 *
 * @param log what it wrote since it was started
 * @param answer what it answered when it was tried
 */
export function saysDamage(log: string, answer: string): boolean {
  return logged.test(log) || answered.test(answer);
}

/** Whether a root is one of which the database is gone: containerd would take it for new, and trip over its layers. */
export async function lacksMetadata(root: string): Promise<boolean> {
  const [size, hasLayers] = await Promise.all([sizeOf(join(root, metadata)), sizeOf(join(root, layers))]);
  return !size && hasLayers !== undefined;
}

/**
 * Sets a damaged root aside, beside the new one: images are fetched again, and what runs goes on, since its layers stay
 * where the kernel has them. Gives its path.
 */
export async function setAside(dataDir: string): Promise<string> {
  const names = new Set(await readdir(dataDir));
  let name = "";
  for (let n = 1; name === "" || names.has(name); n += 1) name = `root.${asideMark}${bootId()}-${n}`;
  await rename(join(dataDir, "root"), join(dataDir, name));
  return join(dataDir, name);
}

/** Removes roots that were set aside before the machine started last: nothing can run from them any more. */
export async function removeOldAsides(dataDir: string): Promise<void> {
  const boot = bootId();
  for (const name of await readdir(dataDir)) {
    if (name.startsWith(`root.${asideMark}`) && !name.startsWith(`root.${asideMark}${boot}`))
      await rm(join(dataDir, name), { recursive: true, force: true });
  }
}

/** Undefined where it is not there. */
async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
