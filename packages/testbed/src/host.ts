import { spawn, type ChildProcess, type StdioOptions } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { finished, listens, until, type Finished } from "@warren/std/testing";
import { TestbedError } from "./errors.ts";
import { end, enter, gone, holderOf, processesOf, startDetached, startHolder, type Holder } from "./namespaces.ts";
import type { NetworkSwitch, Slow } from "./network-switch.ts";
import { clockOf } from "./programs.ts";
import { connectBehind, startRouter, type Nat } from "./router.ts";
import type { Daemon, HostState } from "./state.ts";

const victims = ["manager", "worker", "containerd"] as const;
/** A daemon of a host. */
export type Victim = (typeof victims)[number];

/** What a host has of its test bed. */
export interface HostContext {
  readonly network: NetworkSwitch;
  /** The test bed's folder, in which the host has one of its name. */
  readonly folder: string;
  /** First in the PATH of all that runs in hosts; has `warren`. */
  readonly programs: string;
  /** PEM file with the registry's certificate. */
  readonly trusted: string;
  /** How slow the host's frames are, each to or from another one. */
  readonly slow: (name: string) => readonly Slow[];
  /** Hosts have wall clocks of their own. */
  readonly clocks: boolean;
  /** Writes down what has changed. */
  readonly save: (name: string, state: HostState) => Promise<void>;
}

const namespaces = ["mount", "net", "pid", "uts", "ipc", "cgroup"];

/** One machine of a test bed: its own network, processes, hostname, `/run`, `/etc`, `/var/lib` and cgroups. */
export class Host {
  readonly name: string;
  readonly #context: HostContext;
  #state: HostState;

  constructor(name: string, state: HostState, context: HostContext) {
    this.name = name;
    this.#state = state;
    this.#context = context;
  }

  get address(): string {
    return this.#state.address;
  }

  get hasPower(): boolean {
    return this.#state.holder !== undefined;
  }

  /** Runs a program in the host to its end, whatever that is. */
  run(command: readonly string[], input = ""): Promise<Finished> {
    return finished(this.spawn(command), input);
  }

  /** The same for one that must succeed; gives what it wrote to stdout. */
  async ok(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(command);
    if (code !== 0) throw new TestbedError(`${this.name}: ${command.join(" ")} ended with ${code}: ${stderr.trim()}`);
    return stdout;
  }

  /** A program in the host, on its way. @param stdio @default pipes */
  spawn(command: readonly string[], stdio: StdioOptions = "pipe"): ChildProcess {
    const [program = "", ...args] = this.#inside(command);
    return spawn(program, args, { stdio, env: this.#env, cwd: "/" });
  }

  /** Ends a daemon as a crash does. `start` has it back. */
  async kill(victim: Victim): Promise<void> {
    const { pid, daemon } = await this.#running(victim);
    const process_ = await holderOf(pid);
    process.kill(pid, "SIGKILL");
    await gone(process_);
    await this.#save({ stopped: [...this.#state.stopped.filter(({ name }) => name !== victim), daemon] });
  }

  /** Starts a daemon that was killed, with the flags that it had. */
  async start(victim: Victim): Promise<void> {
    const daemon = this.#state.stopped.find(({ name }) => name === victim);
    if (daemon === undefined) throw new TestbedError(`${this.name} has no ${victim} that was killed`);
    await this.#startDaemon(daemon);
    await this.#save({ stopped: this.#state.stopped.filter(({ name }) => name !== victim) });
  }

  /** Freezes a daemon: it keeps its connections, and does nothing. */
  async pause(victim: Victim): Promise<void> {
    process.kill((await this.#running(victim)).pid, "SIGSTOP");
  }

  async resume(victim: Victim): Promise<void> {
    process.kill((await this.#running(victim)).pid, "SIGCONT");
  }

  /** Has another address from now on, as a machine that was moved: connections of the old one get no answer. */
  async move(address: string): Promise<void> {
    const holder = this.#powered();
    await this.#context.network.move(this.#state.router ?? holder, address);
    await this.#save({ address });
  }

  /** Is behind a router of its own from now on, with a private address; `undefined`: at the switch again. */
  async putBehind(nat: Nat | undefined): Promise<void> {
    const holder = this.#powered();
    const { router: old, wire } = this.#state;
    await this.#context.network.unplug(this.name, wire);
    if (old !== undefined) await end(old);
    const log = join(this.#folder, "router.log");
    await this.#save({ wire: undefined, router: nat === undefined ? undefined : await startRouter(nat, log) });
    await this.#plug(holder);
  }

  /**
   * Its wall clock is so far from the machine's from now on: that of `warren` and its daemons, within a second. Clocks that
   * only count on are the machine's, and so is the time that containers see.
   *
   * @param offsetMs whole milliseconds, negative for the past
   */
  async setClock(offsetMs: number): Promise<void> {
    if (!this.#context.clocks)
      throw new TestbedError("hosts of this test bed have the machine's clock: make it with clocks (up N --clocks)");
    if (!Number.isFinite(offsetMs)) throw new TestbedError(`${offsetMs} ms can't be the offset of a clock`);
    await writeFile(clockOf(this.#context.folder, this.name), `${offsetMs < 0 ? "" : "+"}${offsetMs / 1_000}\n`);
  }

  /** Has a wire as slow as the test bed says now. */
  async rewire(): Promise<void> {
    const { slow, network } = this.#context;
    const { holder, router, wire } = this.#state;
    const rules = slow(this.name);
    if (holder === undefined || (rules.length === 0 && wire === undefined)) return;
    const log = join(this.#folder, "wire.log");
    await this.#save({ wire: await network.wire(this.name, router ?? holder, rules, wire, log) });
  }

  /** Every process is killed at once, and all but the disk is gone. */
  async powerOff(): Promise<void> {
    const holder = this.#powered();
    const daemons = await this.#daemons();
    const known = new Set(daemons.map(({ daemon }) => daemon.name));
    const stopped = [...this.#state.stopped.filter(({ name }) => !known.has(name)), ...daemons.map((d) => d.daemon)];
    await end(holder);
    await this.#save({ holder: undefined, stopped });
  }

  /** Boots: containerd, then the daemons that ran when the power was cut or were killed before. */
  async powerOn(): Promise<void> {
    if (this.hasPower) throw new TestbedError(`${this.name} has power`);
    const disk = join(this.#folder, "disk");
    await mkdir(disk, { recursive: true });
    const script = fileURLToPath(new URL("host.sh", import.meta.url));
    const args = [this.name, disk, this.address, this.cgroup];
    const { line } = await startHolder(["sh", script, ...args], join(this.#folder, "host.log"));
    const holder = await holderOf(Number(line.split(" ")[1]));
    await this.#save({ holder });
    await this.#plug(holder);
    await this.#startContainerd();
    const daemons = this.#state.stopped.filter(({ name }) => name !== "containerd");
    for (const daemon of daemons) await this.#startDaemon(daemon);
    await this.#save({ stopped: [] });
  }

  /** Loses its disk, as a machine that was installed anew. Its power must be off. */
  async wipe(): Promise<void> {
    if (this.hasPower) throw new TestbedError(`${this.name} has power: cut it first (power-off ${this.name})`);
    await rm(join(this.#folder, "disk"), { recursive: true, force: true });
    await this.#save({ stopped: [] });
  }

  /** Its name in every hierarchy of cgroups. */
  get cgroup(): string {
    return `${basename(this.#context.folder)}-${this.name}`;
  }

  get #folder(): string {
    return join(this.#context.folder, this.name);
  }

  get #env(): NodeJS.ProcessEnv {
    const { programs, trusted } = this.#context;
    const { WARREN_HOST: _, NODE_OPTIONS: __, ...env } = process.env;
    return { ...env, HOME: "/root", PATH: `${programs}:${env["PATH"]}`, NODE_EXTRA_CA_CERTS: trusted };
  }

  /** In all its namespaces and its cgroups: what is started from outside would be in none of these. */
  #inside(command: readonly string[]): string[] {
    const join_ =
      'for file in /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs; do [ ! -e "$file" ] || echo 0 >"$file"; done';
    return [
      ...enter(this.#powered(), namespaces),
      "sh",
      "-c",
      `{ ${join_}; } 2>/dev/null; exec "$@"`,
      "sh",
      ...command,
    ];
  }

  async #plug(holder: Holder): Promise<void> {
    const { router } = this.#state;
    await this.#context.network.plug(this.name, router ?? holder, this.address);
    if (router !== undefined) await connectBehind(router, holder);
    await this.rewire();
  }

  #powered(): Holder {
    const { holder } = this.#state;
    if (holder === undefined) throw new TestbedError(`${this.name} has no power: power-on ${this.name}`);
    return holder;
  }

  async #startContainerd(): Promise<void> {
    const config = join(this.#folder, "containerd.toml");
    await writeFile(config, 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n');
    const daemon = { name: "containerd", command: ["containerd", "--config", config, "--log-level", "warn"], env: {} };
    await this.#startDaemon(daemon);
    const path = `/proc/${this.#powered().pid}/root/run/containerd/containerd.sock`;
    await until(`containerd listens in ${this.name}`, () => listens({ path }), 30_000);
  }

  async #startDaemon({ name, command, env }: Daemon): Promise<void> {
    // As a child of the host's first process: `nsenter`, which waits for its child, is frozen with it.
    const detached = this.#inside(["setsid", "--fork", ...command]);
    await startDetached(detached, join(this.#folder, `${name}.log`), { ...this.#env, ...env });
  }

  async #running(victim: Victim): Promise<{ readonly pid: number; readonly daemon: Daemon }> {
    const found = (await this.#daemons()).find(({ daemon }) => daemon.name === victim);
    if (found === undefined) throw new TestbedError(`no ${victim} runs in ${this.name}`);
    return found;
  }

  async #daemons(): Promise<{ readonly pid: number; readonly daemon: Daemon }[]> {
    const pids = await processesOf(this.#powered());
    const all = await Promise.all(pids.map(async (pid) => ({ pid, daemon: await daemonOf(pid) })));
    return all.flatMap(({ pid, daemon }) => (daemon === undefined ? [] : [{ pid, daemon }]));
  }

  async #save(changes: Partial<HostState>): Promise<void> {
    this.#state = { ...this.#state, ...changes };
    await this.#context.save(this.name, this.#state);
  }
}

/** True where a process of the host is one of its daemons. */
async function daemonOf(pid: number): Promise<Daemon | undefined> {
  const words = async (file: string): Promise<string[]> =>
    (await readFile(`/proc/${pid}/${file}`, "utf8").catch(() => "")).split("\0").slice(0, -1);
  const command = await words("cmdline");
  const name = victims.find((victim) =>
    victim === "containerd"
      ? basename(command[0] ?? "") === "containerd"
      : command[command.findIndex((word) => basename(word) === "warren.js") + 1] === victim,
  );
  if (name === undefined) return undefined;
  const pairs = (await words("environ")).map((pair) => [
    pair.slice(0, pair.indexOf("=")),
    pair.slice(pair.indexOf("=") + 1),
  ]);
  return { name, command, env: Object.fromEntries(pairs) as Record<string, string> };
}
