/** A machine of the world: its containers, network, disk and clock outlive the workers that run there one after the other. */
import { tmpdir } from "node:os";
import { startAgent, type Agent } from "@warren/agent";
import { FakeNetwork, FakeProbes, MemoryDisk } from "@warren/agent/testing";
import type { Dispatcher } from "@warren/dispatcher";
import type { Runtime } from "@warren/runtime";
import { FakeMachine, FakeRuntime, type FakeProcess } from "@warren/runtime/testing";
import type { Logger, Random } from "@warren/std";
import type { FakeClock } from "@warren/std/testing";
import { Link } from "./link.ts";
import { MachineClock } from "./machine-clock.ts";
import { Process } from "./process.ts";

export interface EdgeDependencies {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly log: Logger;
  /** The manager that its worker reaches. */
  readonly route: (edge: Edge) => Dispatcher | undefined;
  /** Called as a process of a container starts. */
  readonly onStart: (edge: Edge, process: FakeProcess) => void;
  /** Called before the runtime ends or removes a container that runs. */
  readonly onEnd: (edge: Edge, containerId: string) => void;
  /** Called as a process ends by itself. */
  readonly onExit: (edge: Edge, containerId: string, code: number) => void;
}

interface Life {
  readonly process: Process;
  /** Undefined until it has started. */
  agent: Agent | undefined;
}

/** From an event on a machine until managers have heard of it, where they are there, ms. */
const quietMs = 2_000;

export const images: readonly string[] = ["app:1", "app:2", "app:3"];

export class Edge {
  readonly name: string;
  readonly clock: MachineClock;
  readonly machine: FakeMachine;
  readonly network: FakeNetwork = new FakeNetwork();
  readonly disk: MemoryDisk;
  readonly link: Link;
  /** What a worker that was set back or lost its record does before a manager has spoken is not the managers' doing. */
  astray = false;
  isOn = true;
  readonly #dependencies: EdgeDependencies;
  #life: Life | undefined;
  /** When a process of a container last began or ended here. */
  #lastEvent = 0;

  constructor(name: string, dependencies: EdgeDependencies) {
    const { clock, random, route, onStart } = dependencies;
    this.name = name;
    this.#dependencies = dependencies;
    this.clock = new MachineClock(name, clock);
    this.machine = new FakeMachine({
      clock: this.clock,
      boot: this.clock,
      program: (process) => {
        this.#lastEvent = clock.monotonic();
        onStart(this, process);
      },
    });
    for (const image of images) this.machine.publish(image);
    this.disk = new MemoryDisk(random);
    this.link = new Link(
      clock,
      random,
      () => route(this),
      () => (this.astray = false),
    );
  }

  get nodeId(): string | undefined {
    return this.disk.identity?.nodeId;
  }

  get worker(): Process | undefined {
    return this.#life?.process;
  }

  get agent(): Agent | undefined {
    return this.#life?.agent;
  }

  /** Managers know all that its worker knows: they have been there, and nothing has happened, for a while. */
  get isReported(): boolean {
    const { agent } = this;
    return agent?.connected === true && this.#dependencies.clock.monotonic() - this.#lastEvent > quietMs;
  }

  /** Containers that run, by id. */
  get running(): string[] {
    return [...this.machine.containers].filter(([, { state }]) => state.kind === "running").map(([id]) => id);
  }

  label(containerId: string, name: string): string {
    return this.machine.containers.get(containerId)?.spec.labels?.[`warren.${name}`] ?? "";
  }

  /** The arguments of its program: see `fakeProgram`. */
  args(containerId: string): readonly string[] {
    return this.machine.containers.get(containerId)?.spec.args ?? [];
  }

  /** Starts a worker, which finds what the one before left. */
  start(): void {
    const { random, log } = this.#dependencies;
    const process = new Process();
    const life: Life = { process, agent: undefined };
    this.#life = life;
    const killed = new AbortController();
    const kill = process.kill.bind(process);
    process.kill = (): void => {
      kill();
      killed.abort();
    };
    void startAgent(
      {
        runtime: process.uses<Runtime>(this.#watched(new FakeRuntime(this.machine))),
        network: process.uses(this.network.connect()),
        session: process.uses(this.link.session()),
        state: process.uses(this.disk.open(killed.signal)),
        clock: process.clock(this.clock),
        boot: this.clock,
        random,
        log: log.child({ node: this.name }),
        probes: new FakeProbes(),
      },
      { dataDir: `${tmpdir()}/warren-simulation-none`, hostname: this.name, version: "1" },
    ).then(
      (agent) => (life.agent = agent),
      (error: unknown) => log.error("a worker did not start", { node: this.name, error }),
    );
  }

  /** The process of a container ends by itself, if it has not ended. */
  exit(containerId: string, code: number): void {
    if (this.machine.containers.get(containerId)?.state.kind !== "running") return;
    this.#lastEvent = this.#dependencies.clock.monotonic();
    this.#dependencies.onExit(this, containerId, code);
    this.machine.exit(containerId, code);
  }

  /** As kill -9 does: what is under way elsewhere goes on. */
  kill(): void {
    this.#life?.process.kill();
    this.#life = undefined;
    this.link.reset();
  }

  /** Its worker's data is removed; its containers are there. */
  joinAnew(): void {
    this.kill();
    this.link.lastApplied = undefined;
    this.disk.setBack({ entries: new Map(), identity: undefined });
    this.start();
  }

  /** Worker and processes end; the disk is there. */
  powerOff(): void {
    this.isOn = false;
    this.#life?.process.kill();
    this.#life = undefined;
    this.link.cut(true);
    this.machine.reboot();
    this.network.attached.clear();
    this.network.endpoints = [];
    this.clock.reboot();
  }

  powerOn(): void {
    this.isOn = true;
    // Time off is no boot time.
    this.clock.reboot();
    this.link.join();
    this.start();
  }

  async close(): Promise<void> {
    this.#life?.process.resume();
    await this.#life?.agent?.close();
  }

  #watched(runtime: FakeRuntime): Runtime {
    const { onEnd } = this.#dependencies;
    const isRunning = (id: string): boolean => this.machine.containers.get(id)?.state.kind === "running";
    const ends = (id: string): void => {
      if (isRunning(id)) onEnd(this, id);
    };
    return new Proxy<Runtime>(runtime, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          if (name === "kill" || name === "remove") ends(args[0] as string);
          if (name === "collectOrphans")
            for (const id of this.running) if (!(args[0] as ReadonlySet<string>).has(id)) ends(id);
          return Reflect.apply(value, target, args);
        };
      },
    });
  }
}
