import { TestbedError } from "./errors.ts";
import { enter, holderOf, output, startHolder, type Holder } from "./namespaces.ts";

/** What does not pass: frames from one port to another. `*` is every other port, and the switch itself. */
export interface Cut {
  readonly from: string;
  readonly to: string;
}

/** The switch's own address, where the registry listens; the hosts' default route leads to it, and no further. */
export const switchAddress = "198.18.0.1";
/** 198.18.0.0/15 is for benchmarks of devices (RFC 2544): nobody's network. */
const prefixLength = 24;

/** The address of the host with this number, from 1. */
export function addressOf(host: number): string {
  return `198.18.0.${10 + host}`;
}

/** How many hosts a switch has addresses for. */
export const mostHosts = 200;

/** An Ethernet switch: a bridge in a network namespace of its own, a port for each host. */
export class NetworkSwitch {
  readonly holder: Holder;

  constructor(holder: Holder) {
    this.holder = holder;
  }

  static async start(logPath: string): Promise<NetworkSwitch> {
    const script = "ip link set lo up && echo $$ && exec sleep infinity >/dev/null";
    const pid = Number(await startHolder(["unshare", "--net", "sh", "-c", script], logPath));
    const made = new NetworkSwitch(await holderOf(pid));
    // Without spanning tree a port carries frames at once.
    await made.#ip("link", "add", "switch", "type", "bridge", "forward_delay", "0");
    await made.#ip("address", "add", `${switchAddress}/${prefixLength}`, "dev", "switch");
    await made.#ip("link", "set", "switch", "up");
    return made;
  }

  /** Connects a host: its `eth0`, with this address, to a port that is named after it. */
  async plug(name: string, host: Holder, address: string): Promise<void> {
    // What is left of a host whose power was cut goes with its namespace, which the kernel clears away later.
    await this.#ip("link", "delete", name).catch(() => undefined);
    // A machine keeps its hardware address when it boots, and neighbours remember it.
    const hardware = `02:00:c6:12:00:${Number(name.slice(1)).toString(16).padStart(2, "0")}`;
    const peer = ["peer", "name", "eth0", "address", hardware, "netns", String(host.pid)];
    await this.#ip("link", "add", name, "type", "veth", ...peer);
    await this.#ip("link", "set", name, "master", "switch", "up");
    await output([...enter(host, ["net"]), "ip", "link", "set", "eth0", "up"]);
    await this.move(host, address);
  }

  /** Gives a host that is connected this address, and no other. @throws TestbedError for one that is not the switch's */
  async move(host: Holder, address: string): Promise<void> {
    const [, last = ""] = /^198\.18\.0\.(\d{1,3})$/.exec(address) ?? [];
    if (!(Number(last) > 1 && Number(last) < 255))
      throw new TestbedError(`"${address}" is not an address of the switch: 198.18.0.2 to 198.18.0.254`);
    const ip = [...enter(host, ["net"]), "ip"];
    await output([...ip, "-4", "address", "flush", "dev", "eth0"]);
    await output([...ip, "address", "add", `${address}/${prefixLength}`, "dev", "eth0"]);
    await output([...ip, "route", "replace", "default", "via", switchAddress]);
  }

  /** From now on exactly these do not pass. */
  async cut(cuts: readonly Cut[]): Promise<void> {
    const between = cuts.filter(({ from, to }) => from !== "*" && to !== "*");
    const all = cuts.filter(({ from, to }) => from === "*" || to === "*");
    const forward = [
      ...between.map(({ from, to }) => `iifname ${from} oifname ${to} drop`),
      ...all.map(({ from, to }) => (from === "*" ? `oifname ${to} drop` : `iifname ${from} drop`)),
    ];
    const chain = (hook: string, rules: readonly string[]): string =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${rules.map((rule) => `${rule};`).join(" ")} }`;
    const input = all.filter(({ to }) => to === "*").map(({ from }) => `iifname ${from} drop`);
    const out = all.filter(({ from }) => from === "*").map(({ to }) => `oifname ${to} drop`);
    const table = [chain("forward", forward), chain("input", input), chain("output", out)].join("\n");
    const whole = `add table bridge testbed\ndelete table bridge testbed\ntable bridge testbed {\n${table}\n}\n`;
    await output([...enter(this.holder, ["net"]), "nft", "-f", "-"], whole);
  }

  async #ip(...args: string[]): Promise<void> {
    await output([...enter(this.holder, ["net"]), "ip", ...args]);
  }
}
