import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Netlink } from "@warren/netlink-napi";
import { interfacePrefix } from "./isolation.ts";

const sysctl = "net/ipv4/ip_forward";

/** Interface names that both firewall backends read literally. */
const plainName = /^[\w.-]{1,15}$/;

/** A file beside the namespaces: no task's id begins with a dot. A reboot removes it, as it resets the kernel's setting. */
function recordPath(directory: string): string {
  return join(directory, ".forwarding");
}

async function readRecord(directory: string): Promise<readonly string[] | undefined> {
  try {
    return (await readFile(recordPath(directory), "utf8")).split("\n").filter((line) => line !== "");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

/**
 * Turns IPv4 forwarding on, and resolves with the links between which the node must not route for others.
 *
 * None, where the node forwarded before: its owner made it a router. Else the links that it had then, and hardware that
 * was plugged in since; not the bridges of other programs, which may rely on forwarding once it is on.
 */
export async function turnOnForwarding(netlink: Netlink, directory: string): Promise<string[]> {
  const links = (await netlink.links()).filter(
    ({ name }) => name !== "lo" && !name.startsWith(interfacePrefix) && plainName.test(name),
  );
  if ((await netlink.readSysctl(sysctl)).trim() === "0") {
    // The record is written first, so that forwarding that we turned on is always recorded.
    await writeFile(recordPath(directory), links.map(({ name }) => `${name}\n`).join(""));
    await netlink.writeSysctls({ [sysctl]: "1" });
  }
  const recorded = await readRecord(directory);
  if (recorded === undefined) return [];
  const hardware = links.filter(({ kind }) => kind === undefined).map(({ name }) => name);
  return [...new Set([...recorded, ...hardware])].sort();
}

/** Turns forwarding off if `turnOnForwarding` turned it on. */
export async function restoreForwarding(netlink: Netlink, directory: string): Promise<void> {
  if ((await readRecord(directory)) === undefined) return;
  await netlink.writeSysctls({ [sysctl]: "0" });
  await rm(recordPath(directory), { force: true });
}
