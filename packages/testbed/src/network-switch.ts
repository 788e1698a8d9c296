import { fileURLToPath } from "node:url";
import { TestbedError } from "./errors.ts";
import { end, enter, output, startHolder, type Holder } from "./namespaces.ts";

/** What does not pass: frames from one port to another. `*` is every other port, and the switch itself. */
export interface Cut {
  readonly from: string;
  readonly to: string;
}

/** How frames between two hosts pass, each way. */
export interface Slow {
  readonly a: string;
  readonly b: string;
  /** @default 0 */
  readonly delayMs?: number;
  /** Bit/s; what would wait for more than 400 ms is lost. @default no limit */
  readonly rate?: number;
  /** 0 to 1: the part of frames that is lost. @default 0 */
  readonly loss?: number;
}

/** The switch's own address, where the registry listens; the hosts' default route leads to it, and no further. */
export const switchAddress = "198.18.0.1";
/** 198.18.0.0/15 is reserved for benchmarks of devices (RFC 2544). */
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
    const script = "ip link set lo up && echo ready && exec sleep infinity >/dev/null";
    const { holder } = await startHolder(["unshare", "--net", "sh", "-c", script], logPath);
    const made = new NetworkSwitch(holder);
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
    const peer = ["peer", "name", "eth0", "address", hardwareAddress(name), "netns", String(host.pid)];
    await this.#ip("link", "add", name, "type", "veth", ...peer);
    await this.#ip("link", "set", name, "master", "switch", "up");
    await output([...enter(host, ["net"]), "ip", "link", "set", "eth0", "up"]);
    await this.move(host, address);
  }

  /** Takes a host, or its router, off the switch. @param wire the one that is there */
  async unplug(name: string, wire: Holder | undefined): Promise<void> {
    if (wire !== undefined) await end(wire);
    await this.#ip("link", "delete", `${name}-wire`).catch(() => undefined); // There may be none.
    await this.#ip("link", "delete", name);
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
    const into = (host: string): string => `iifname ${ports(host)}`;
    const outOf = (host: string): string => `oifname ${ports(host)}`;
    const forward = [
      ...between.map(({ from, to }) => `${into(from)} ${outOf(to)} drop`),
      ...all.map(({ from, to }) => `${from === "*" ? outOf(to) : into(from)} drop`),
    ];
    const chain = (hook: string, rules: readonly string[]): string =>
      `chain ${hook} { type filter hook ${hook} priority 0; ${rules.map((rule) => `${rule};`).join(" ")} }`;
    const input = all.filter(({ to }) => to === "*").map(({ from }) => `${into(from)} drop`);
    const out = all.filter(({ from }) => from === "*").map(({ to }) => `${outOf(to)} drop`);
    const table = [chain("forward", forward), chain("input", input), chain("output", out)].join("\n");
    const whole = `add table bridge testbed\ndelete table bridge testbed\ntable bridge testbed {\n${table}\n}\n`;
    await output([...enter(this.holder, ["net"]), "nft", "-f", "-"], whole);
  }

  /**
   * Puts a wire with these rules between a host and the switch, instead of the one that is there. Without rules the host
   * is at the switch itself. What is on its way meanwhile is lost.
   *
   * @param host its first process, or its router
   * @param old the wire that is there
   * @param logPath where the wire writes its errors
   */
  async wire(
    name: string,
    host: Holder,
    rules: readonly Slow[],
    old: Holder | undefined,
    logPath: string,
  ): Promise<Holder | undefined> {
    if (old !== undefined) await end(old);
    await this.#ip("link", "delete", `${name}-wire`).catch(() => undefined); // There may be none.
    // Whole segments would pass a slow wire as one frame of 64 KiB.
    const segments = rules.length === 0 ? "65535" : "1";
    await output([...enter(host, ["net"]), "ip", "link", "set", "eth0", "gso_max_segs", segments]);
    if (rules.length === 0) {
      await this.#ip("link", "set", name, "master", "switch");
      return undefined;
    }
    await this.#ip("link", "set", name, "nomaster");
    await this.#ip("link", "add", `${name}-wire`, "type", "veth", "peer", "name", `${name}-line`);
    await this.#ip("link", "set", `${name}-line`, "gso_max_segs", "1");
    await this.#ip("link", "set", `${name}-line`, "master", "switch", "up");
    await this.#ip("link", "set", `${name}-wire`, "up");
    const words = rules.map(({ a, b, delayMs = 0, rate = 0, loss = 0 }) =>
      [
        hardwareAddress(a === name ? b : a),
        Math.round(delayMs * 1_000),
        Math.round(rate),
        Math.round(loss * 1e6),
      ].join(),
    );
    const program = fileURLToPath(new URL("../bin/warren-wire", import.meta.url));
    const command = [...enter(this.holder, ["net"]), program, name, `${name}-wire`, ...words];
    return (await startHolder(command, logPath)).holder;
  }

  async #ip(...args: string[]): Promise<void> {
    await output([...enter(this.holder, ["net"]), "ip", ...args]);
  }
}

/** A machine keeps it when it boots, and neighbours remember it. */
function hardwareAddress(host: string): string {
  return `02:00:c6:12:00:${Number(host.slice(1)).toString(16).padStart(2, "0")}`;
}

/** The interfaces by which a host's frames come to the switch: its own, and the end of its wire. */
function ports(host: string): string {
  return `{ ${host}, ${host}-line }`;
}
