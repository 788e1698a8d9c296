import { readFile } from "node:fs/promises";
import type { PortUse } from "./types.ts";

const tcpListen = "0A";
/** The state of a UDP socket that is not connected. */
const udpUnconnected = "07";
/** The first of the ports that Linux picks for clients: an unconnected UDP socket there is a client's, not a server's. */
const firstClientPort = 32_768;

/** `0100007F` → `127.0.0.1`; undefined for an IPv6 address that is not all zeros. */
function address(hex: string): string | undefined {
  if (/^0+$/.test(hex)) return "0.0.0.0";
  if (hex.length !== 8) return undefined;
  return (hex.match(/../g) ?? [])
    .map((byte) => Number.parseInt(byte, 16))
    .toReversed()
    .join(".");
}

/** Listening sockets of one table of `/proc/net`. Pure. */
export function parseSockets(text: string, protocol: "tcp" | "udp"): PortUse[] {
  const listening = protocol === "tcp" ? tcpListen : udpUnconnected;
  const found: PortUse[] = [];
  for (const line of text.split("\n").slice(1)) {
    const [, local = "", , state] = line.trim().split(/\s+/);
    const [hex = "", digits = ""] = local.split(":");
    const port = Number.parseInt(digits, 16);
    if (state !== listening || !(port > 0) || (protocol === "udp" && port >= firstClientPort)) continue;
    const at = address(hex);
    found.push({ protocol, port, ...(at === undefined ? {} : { address: at }) });
  }
  return found;
}

/**
 * The ports that programs of this network namespace listen on, TCP and UDP, IPv4 and IPv6.
 *
 * @param directory with the namespace's tables of sockets
 */
export async function readHostPorts(directory = "/proc/self/net"): Promise<PortUse[]> {
  const tables = [
    ["tcp", "tcp"],
    ["tcp6", "tcp"],
    ["udp", "udp"],
    ["udp6", "udp"],
  ] as const;
  const found = await Promise.all(
    tables.map(async ([file, protocol]) => {
      try {
        return parseSockets(await readFile(`${directory}/${file}`, "utf8"), protocol);
      } catch (error) {
        // A kernel without IPv6 has no such tables.
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
        throw error;
      }
    }),
  );
  return found.flat();
}
