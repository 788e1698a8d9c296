import { enter, output, startHolder, type Holder } from "./namespaces.ts";

/**
 * How a router translates the source port of its host's packets. `cone`: to the same port for every peer, where it is free,
 * so one peer can pass it on to another. `symmetric`: to a random port for each peer. Both let in only answers.
 */
export type Nat = "cone" | "symmetric";

/** The network behind each router. */
const inside = { router: "192.168.77.1", host: "192.168.77.2", prefixLength: 24 };

/** A home router: a network namespace, which gets the host's `eth0` at the switch, and has the host behind it. */
export async function startRouter(nat: Nat, logPath: string): Promise<Holder> {
  const script = "ip link set lo up && echo ready && exec sleep infinity >/dev/null";
  const { holder } = await startHolder(["unshare", "--net", "sh", "-c", script], logPath);
  const within = enter(holder, ["net"]);
  // The namespace's own file, though the mount namespace is the machine's.
  await output([...within, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]);
  const random = nat === "symmetric" ? " fully-random" : "";
  const rules = `table ip testbed {
    chain translate { type nat hook postrouting priority 100; oifname eth0 masquerade${random}; }
    chain forward { type filter hook forward priority 0; policy drop; ct state established,related accept; iifname inside accept; }
    chain input { type filter hook input priority 0; iifname eth0 ct state new drop; }
  }\n`;
  await output([...within, "nft", "-f", "-"], rules);
  return holder;
}

/** Puts a host behind a router: its `eth0` has a private address and leads to the router. */
export async function connectBehind(router: Holder, host: Holder): Promise<void> {
  const atRouter = [...enter(router, ["net"]), "ip"];
  await output([...atRouter, "link", "delete", "inside"]).catch(() => undefined); // The host's last boot may have had one.
  await output([
    ...atRouter,
    "link",
    "add",
    "inside",
    "type",
    "veth",
    "peer",
    "name",
    "eth0",
    "netns",
    String(host.pid),
  ]);
  await output([...atRouter, "address", "add", `${inside.router}/${inside.prefixLength}`, "dev", "inside"]);
  await output([...atRouter, "link", "set", "inside", "up"]);
  const atHost = [...enter(host, ["net"]), "ip"];
  await output([...atHost, "address", "add", `${inside.host}/${inside.prefixLength}`, "dev", "eth0"]);
  await output([...atHost, "link", "set", "eth0", "up"]);
  await output([...atHost, "route", "replace", "default", "via", inside.router]);
}
