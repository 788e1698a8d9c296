import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ImageContents } from "@warren/runtime-containerd/testing";
import { removeCgroups } from "./cgroups.ts";
import { TestbedError } from "./errors.ts";
import { Host, type HostContext } from "./host.ts";
import { end, type Holder } from "./namespaces.ts";
import { addressOf, mostHosts, NetworkSwitch, type Cut, type Slow } from "./network-switch.ts";
import { programsOf, writePrograms } from "./programs.ts";
import { answeringImage, certificateOf, push, registryName, startSharedRegistry } from "./registry.ts";
import { readState, writeState, type HostState, type State } from "./state.ts";

export interface TestbedOptions {
  /** 1 to 200. They are named h1, h2, … */
  readonly hosts: number;
  /** The program that is `warren` in the hosts, a file for this Node. @default the checkout's */
  readonly program?: string;
  /** Each host has a wall clock of its own, which can be set. @default false: all have the machine's */
  readonly clocks?: boolean;
  /** Where it keeps what it has. @default a new one under the system's temporary directory */
  readonly folder?: string;
}

/** Hosts h1 to hN, joined by a switch, with one registry for all. */
export class Testbed implements AsyncDisposable {
  readonly folder: string;
  readonly #hosts = new Map<string, Host>();
  readonly #network: NetworkSwitch;
  #state: State;

  private constructor(folder: string, state: State) {
    this.folder = folder;
    this.#state = state;
    this.#network = new NetworkSwitch(state.switch);
    const context: HostContext = {
      network: this.#network,
      folder,
      programs: programsOf(folder),
      trusted: certificateOf(folder),
      clocks: state.clocks,
      slow: (name) => this.#state.slow.filter(({ a }) => a === name),
      save: (name, host) => this.#saveHost(name, host),
    };
    for (const [name, host] of Object.entries(state.hosts)) this.#hosts.set(name, new Host(name, host, context));
  }

  /** Makes one. */
  static async start(options: TestbedOptions): Promise<Testbed> {
    const { hosts, program = checkoutProgram, clocks = false, folder: given } = options;
    if (!Number.isInteger(hosts) || hosts < 1 || hosts > mostHosts)
      throw new TestbedError(`a test bed has 1 to ${mostHosts} hosts, not ${hosts}`);
    const folder = given ?? (await mkdtemp(join(tmpdir(), "warren-testbed-")));
    if ((await readState(folder)) !== undefined)
      throw new TestbedError(`there is a test bed in ${folder}: end it first (tools/testbed down)`);
    await writePrograms(folder, program, clocks);
    const network = await NetworkSwitch.start(join(folder, "switch.log"));
    let registry: Holder | undefined;
    try {
      registry = await startSharedRegistry(folder, network.holder);
    } catch (error) {
      await end(network.holder);
      throw error;
    }
    const names = Array.from({ length: hosts }, (_, n) => [
      `h${n + 1}`,
      { address: addressOf(n + 1), holder: undefined, router: undefined, wire: undefined, stopped: [] },
    ]);
    const links = { cuts: [], slow: [] };
    const state = {
      clocks,
      hosts: Object.fromEntries(names) as State["hosts"],
      switch: network.holder,
      registry,
      ...links,
    };
    const bed = new Testbed(folder, state);
    try {
      await writeState(folder, state);
      await Promise.all([...bed.#hosts.values()].map((host) => host.powerOn()));
      await push(folder, ...answeringImage);
      return bed;
    } catch (error) {
      await bed.down();
      throw error;
    }
  }

  /** The one that another process has made. @throws TestbedError where there is none */
  static async open(folder: string): Promise<Testbed> {
    const state = await readState(folder);
    if (state === undefined) throw new TestbedError(`there is no test bed in ${folder}: make one (tools/testbed up 3)`);
    return new Testbed(folder, state);
  }

  get hosts(): readonly Host[] {
    return [...this.#hosts.values()];
  }

  /** @throws TestbedError where there is no such host */
  host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host !== undefined) return host;
    throw new TestbedError(`there is no host "${name}": there are ${[...this.#hosts.keys()].join(", ")}`);
  }

  /** An image whose server, on port 80, answers with the hostname of its container. */
  get image(): string {
    return `${registryName}/${answeringImage[0]}`;
  }

  /** Makes a busybox image with these contents, for all hosts; gives its name. */
  async push(nameAndTag: string, contents?: ImageContents): Promise<string> {
    await push(this.folder, nameAndTag, contents);
    return `${registryName}/${nameAndTag}`;
  }

  /** Nothing passes between two hosts any more, or, one way, from the first to the second. */
  async cut(a: string, b: string, { oneWay = false } = {}): Promise<void> {
    const [from, to] = [this.host(a).name, this.host(b).name];
    await this.#cut([{ from, to }, ...(oneWay ? [] : [{ from: to, to: from }])]);
  }

  /** Nothing passes between a host and anything else any more, the registry included. */
  async isolate(name: string): Promise<void> {
    const from = this.host(name).name;
    await this.#cut([
      { from, to: "*" },
      { from: "*", to: from },
    ]);
  }

  /**
   * Frames between two hosts are late, few or lost from now on, as said and no longer as said before.
   *
   * @throws TestbedError where a number can't be
   */
  async slow(a: string, b: string, how: Omit<Slow, "a" | "b">): Promise<void> {
    const { delayMs = 0, rate = 0, loss = 0 } = how;
    const fits = delayMs >= 0 && delayMs <= 60_000 && rate >= 0 && rate <= 1e12 && loss >= 0 && loss <= 1;
    if (!fits) throw new TestbedError("a delay is 0 to 60 s, a rate up to 1 Tbit/s, a loss 0 to 1");
    const [one, other] = [this.host(a), this.host(b)];
    const others = this.#state.slow.filter((each) => !isBetween(each, a, b));
    await this.#save({ slow: [...others, { a, b, ...how }] });
    // The other one's wire may have had the rule until now.
    await one.rewire();
    await other.rewire();
  }

  /** All passes again, at once. */
  async heal(): Promise<void> {
    await this.#network.cut([]);
    await this.#save({ cuts: [], slow: [] });
    for (const host of this.hosts) await host.rewire();
  }

  /** Ends all that it has, and removes it. */
  async down(): Promise<void> {
    for (const { holder, router, wire } of Object.values(this.#state.hosts))
      for (const each of [holder, router, wire]) if (each !== undefined) await end(each);
    await end(this.#state.registry);
    await end(this.#state.switch);
    for (const { cgroup } of this.#hosts.values()) await removeCgroups(cgroup);
    await rm(this.folder, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.down();
  }

  async #cut(more: readonly Cut[]): Promise<void> {
    const isNew = (cut: Cut): boolean => !this.#state.cuts.some(({ from, to }) => from === cut.from && to === cut.to);
    const cuts = [...this.#state.cuts, ...more.filter(isNew)];
    await this.#network.cut(cuts);
    await this.#save({ cuts });
  }

  #saveHost(name: string, host: HostState): Promise<void> {
    return this.#save({ hosts: { ...this.#state.hosts, [name]: host } });
  }

  #saving: Promise<void> = Promise.resolve();

  /** One after the other: hosts change at the same time. */
  #save(changes: Partial<State>): Promise<void> {
    this.#state = { ...this.#state, ...changes };
    this.#saving = this.#saving.then(() => writeState(this.folder, this.#state));
    return this.#saving;
  }
}

/** Makes a test bed, which is gone when it is disposed: `await using bed = await startTestbed({ hosts: 3 })`. */
export function startTestbed(options: TestbedOptions): Promise<Testbed> {
  return Testbed.start(options);
}

const checkoutProgram = join(import.meta.dirname, "../../../apps/cli/bin/warren.js");

function isBetween({ a, b }: Slow, one: string, other: string): boolean {
  return (a === one && b === other) || (a === other && b === one);
}
