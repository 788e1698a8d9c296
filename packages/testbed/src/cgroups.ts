import { readdir, readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";
import { until } from "@warren/std/testing";

/** Removes a host's cgroups and all below them; its processes have been killed, and may still be on their way out. */
export async function removeCgroups(name: string): Promise<void> {
  for (const folder of await hierarchies())
    await until(`the cgroup ${join(folder, name)} is empty`, () => removed(join(folder, name)), 10_000);
}

/** Where this process is in each hierarchy: hosts' cgroups are made beside it. */
async function hierarchies(): Promise<string[]> {
  const lines = (await readFile("/proc/self/cgroup", "utf8")).trim().split("\n");
  const version1 = lines.flatMap((line) => {
    const [, name, path = ""] = /^\d+:(?:name=)?([^:]+):(.*)$/.exec(line) ?? [];
    return name === undefined ? [] : [join("/sys/fs/cgroup", name, path)];
  });
  const version2 = lines.flatMap((line) => (line.startsWith("0::") ? [join("/sys/fs/cgroup", line.slice(3))] : []));
  return version1.length > 0 ? version1 : version2;
}

async function removed(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => undefined);
  if (entries === undefined) return true;
  for (const entry of entries) if (entry.isDirectory()) await removed(join(folder, entry.name));
  return rmdir(folder).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code === "ENOENT",
  );
}
