/** The command line of `packages/testbed`: see `tools/testbed --help`. */
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Testbed, TestbedError, type Victim } from "@warren/testbed";

const usage = `usage: tools/testbed COMMAND

Hosts h1, h2, … on this machine: each has its own network, processes, hostname, /run, /etc, /var/lib and cgroups, and a
containerd on the default socket. A switch joins them, and one registry serves all. Needs root.

  up N [--clocks]            make N hosts (sets up what is missing), with wall clocks of their own
  hosts                      names, addresses, and which have power
  image                      print an image whose server answers, on port 80, with the name of its container
  run HOST -- CMD…           run a program in a host; 'warren' is the checkout's
  cut A B [--one-way]        nothing passes between A and B any more (one way: from A to B)
  cut A                      nothing passes between A and all else, the registry included
  slow A B [--delay DURATION] [--rate BITS] [--loss PERCENT]
                             each way: 20ms later, 64k, 1m or 10m bit/s at most, so many frames lost; no longer as said before
  heal                       all passes again, at once
  kill HOST DAEMON           end a manager, worker or containerd as a crash does
  start HOST DAEMON          start it again, with the flags that it had
  pause HOST DAEMON          freeze it: it keeps its connections, and does nothing
  resume HOST DAEMON
  power-off HOST             kill every process of it; /run is lost, the disk stays
  power-on HOST              boot it, with the daemons that it had
  wipe HOST                  empty its disk, while its power is off
  nat HOST cone|symmetric|none
                             put it behind a router of its own, which translates ports so, or at the switch again
  clock HOST OFFSET          set its wall clock so far off the machine's: 90s, 3h, -365d
  address HOST NEW           give it another address, 198.18.0.2 to 198.18.0.254
  down                       end and remove all of it

WARREN_TESTBED names the folder of the test bed; default warren-testbed in the system's temporary directory. A task
network is the kernel's business, so tasks of different hosts do not reach each other yet.
`;

const folder = process.env["WARREN_TESTBED"] ?? join(tmpdir(), "warren-testbed");

class UsageError extends Error {}

/** Names as they stand in the usage → what each needs and does. */
const commands: Readonly<Record<string, (args: readonly string[]) => Promise<number | undefined>>> = {
  async up([count = "", ...rest]) {
    const { values } = parsed(() => parseArgs({ args: [...rest], options: { clocks: { type: "boolean" } } }));
    await mkdir(folder, { recursive: true });
    const { hosts } = await Testbed.start({ hosts: Number(count), folder, clocks: values.clocks ?? false });
    for (const { name, address } of hosts) process.stdout.write(`${name} ${address}\n`);
    return undefined;
  },
  async hosts() {
    for (const { name, address, hasPower } of (await Testbed.open(folder)).hosts)
      process.stdout.write(`${name} ${address} ${hasPower ? "on" : "off"}\n`);
    return undefined;
  },
  async image() {
    process.stdout.write(`${(await Testbed.open(folder)).image}\n`);
    return undefined;
  },
  async run([name = "", dashes, ...command]) {
    if (dashes !== "--" || command.length === 0) throw new UsageError("run takes HOST -- CMD…");
    const child = (await Testbed.open(folder)).host(name).spawn(command, "inherit");
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    if (signal !== null) throw new TestbedError(`${command.join(" ")} was ended by ${signal}`);
    return code ?? 1;
  },
  async cut([a = "", ...rest]) {
    const bed = await Testbed.open(folder);
    const [b] = rest.filter((word) => word !== "--one-way");
    const oneWay = rest.includes("--one-way");
    if (b !== undefined) await bed.cut(a, b, { oneWay });
    else if (oneWay) throw new UsageError("--one-way needs two hosts");
    else await bed.isolate(a);
    return undefined;
  },
  async slow([a = "", b = "", ...rest]) {
    const options = { delay: { type: "string" }, rate: { type: "string" }, loss: { type: "string" } } as const;
    const { values } = parsed(() => parseArgs({ args: [...rest], options }));
    const how = {
      delayMs: quantity(values.delay ?? "0ms", { ms: 1, s: 1_000 }),
      rate: quantity(values.rate ?? "0", { "": 1, k: 1e3, m: 1e6, g: 1e9 }),
      loss: quantity(values.loss ?? "0", { "": 0.01, "%": 0.01 }),
    };
    await (await Testbed.open(folder)).slow(a, b, how);
    return undefined;
  },
  async heal() {
    await (await Testbed.open(folder)).heal();
    return undefined;
  },
  kill: onDaemon("kill"),
  start: onDaemon("start"),
  pause: onDaemon("pause"),
  resume: onDaemon("resume"),
  "power-off": onHost("powerOff"),
  "power-on": onHost("powerOn"),
  wipe: onHost("wipe"),
  async nat([name = "", kind = ""]) {
    if (kind !== "cone" && kind !== "symmetric" && kind !== "none")
      throw new UsageError(`"${kind}" is not cone, symmetric or none`);
    await (await Testbed.open(folder)).host(name).putBehind(kind === "none" ? undefined : kind);
    return undefined;
  },
  async clock([name = "", offset = ""]) {
    const ms = quantity(offset.replace(/^[-+]/, ""), { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 });
    await (await Testbed.open(folder)).host(name).setClock(offset.startsWith("-") ? -ms : ms);
    return undefined;
  },
  async address([name = "", address = ""]) {
    await (await Testbed.open(folder)).host(name).move(address);
    return undefined;
  },
  async down() {
    await (await Testbed.open(folder)).down();
    return undefined;
  },
};

function parsed<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** A number with a unit. @param units what one of each is */
function quantity(text: string, units: Readonly<Record<string, number>>): number {
  const [, number = "", unit = ""] = /^(\d+(?:\.\d+)?)(\D*)$/.exec(text) ?? [];
  const factor = units[unit];
  if (number === "" || factor === undefined)
    throw new UsageError(`"${text}" is not a number with one of these after it: ${Object.keys(units).join(" ")}`);
  return Number(number) * factor;
}

function onDaemon(verb: "kill" | "start" | "pause" | "resume"): (args: readonly string[]) => Promise<undefined> {
  return async ([name = "", daemon = ""]) => {
    if (!["manager", "worker", "containerd"].includes(daemon))
      throw new UsageError(`"${daemon}" is not a daemon: manager, worker or containerd`);
    await (await Testbed.open(folder)).host(name)[verb](daemon as Victim);
    return undefined;
  };
}

function onHost(verb: "powerOff" | "powerOn" | "wipe"): (args: readonly string[]) => Promise<undefined> {
  return async ([name = ""]) => {
    await (await Testbed.open(folder)).host(name)[verb]();
    return undefined;
  };
}

const [command = "", ...args] = process.argv.slice(2);
if (command === "" || command === "help" || command === "-h" || args[0] === "--help" || command === "--help") {
  process.stdout.write(usage);
} else {
  try {
    const run = commands[command];
    if (run === undefined) throw new UsageError(`no command "${command}"`);
    process.exitCode = await run(args);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof TestbedError)) throw error;
    process.stderr.write(`testbed: ${error.message}${error instanceof UsageError ? " (tools/testbed --help)" : ""}\n`);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}
