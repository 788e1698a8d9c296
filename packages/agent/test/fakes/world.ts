import { tmpdir } from "node:os";
import {
  AssignedLease,
  AssignedService,
  Endpoint,
  LeaseState,
  TaskState,
  Version,
  type Epoch,
  type LeaseReport,
  type TaskSpec,
} from "@warren/api";
import { firstRun, leaseKey, serviceOfSlot, taskIdOf } from "@warren/api/model";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { FakeMachine, FakeRuntime, type FakeProgram, type RuntimeCall } from "@warren/runtime/testing";
import type { Random } from "@warren/std";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import {
  NodeConditions,
  startAgent,
  type Agent,
  type AgentOptions,
  type AgentState,
  type ProbeTransport,
} from "../../src/index.ts";
import { FakeManager, FakeNetwork, FakeProbes, MemoryDisk } from "../../src/testing/index.ts";
import { severable, severableClock } from "./severable.ts";

type SpecInput = NonNullable<Parameters<typeof TaskSpec.fromPartial>[0]>;
type ServiceInput = NonNullable<Parameters<typeof AssignedService.fromPartial>[0]>;

export const image = "registry.example/web:1";

export interface LeaseInput {
  /** Index of its epoch. @default one more than the last */
  readonly epoch?: number;
  readonly spec?: SpecInput;
  readonly address?: string;
  readonly after?: Epoch;
  readonly imageDigest?: string;
  readonly networks?: readonly string[];
  readonly initialRecord?: AssignedLease["initialRecord"];
  readonly versionId?: string;
}

/** An assigned lease. */
export interface GivenLease {
  readonly key: string;
  readonly lease: AssignedLease;
  readonly epoch: Epoch;
  /** Its run (0, 1). */
  readonly task: string;
}

/** A program that ends by SIGKILL alone. */
export const ignoresSignals: FakeProgram = (process) => process.onSignal(() => undefined);

/** A machine, its network and disk, a manager, and the workers that run there one after the other. */
export class World implements AsyncDisposable {
  readonly clock: FakeClock = new FakeClock();
  machine: FakeMachine;
  readonly network: FakeNetwork = new FakeNetwork();
  readonly manager: FakeManager = new FakeManager();
  readonly log: RecordingLogger = new RecordingLogger();
  readonly metrics: RecordingMetrics = new RecordingMetrics();
  readonly conditions: NodeConditions = new NodeConditions({ clock: this.clock, log: this.log });
  readonly random: Random;
  readonly disk: MemoryDisk;
  /** Calls of the runtime that are done and then reject. */
  readonly unheard: RuntimeCall[] = [];
  /** Set: health probes over the network go there. */
  probes: ProbeTransport = new FakeProbes();
  /** Called before each call of a seam (`runtime.pull`); the call rejects with the returned error. */
  fault: ((call: string) => Error | undefined) | undefined;
  readonly options: AgentOptions;
  /** Storage of the record instead of `disk`. */
  place: AgentState | undefined;
  #life: { readonly agent: Agent; readonly kill: AbortController } | undefined;
  /** Calls of `place` that have not returned: a real disk takes real time, and the clock waits for it. */
  #calls = 0;
  #epochs = 0;

  constructor(options: Partial<AgentOptions> = {}, seed: number = 1) {
    this.machine = new FakeMachine({ clock: this.clock, boot: this.clock });
    this.machine.publish(image);
    this.random = seededRandom(seed);
    this.disk = new MemoryDisk(this.random);
    this.options = { dataDir: `${tmpdir()}/warren-agent-none`, hostname: "edge-1", version: "1", ...options };
    this.service({ id: "svc", name: "web" });
    this.manager.assign("endpoint", "svc", Endpoint.fromPartial({ serviceId: "svc", name: "web", vip: "10.96.0.1" }));
  }

  /** One whose worker runs. */
  static async started(options: Partial<AgentOptions> = {}): Promise<World> {
    const world = new World(options);
    await world.start();
    return world;
  }

  get agent(): Agent {
    if (this.#life === undefined) throw new Error("no worker runs");
    return this.#life.agent;
  }

  /** Assigns a service; restarts come after 1 s unless it says otherwise. */
  service(service: ServiceInput): void {
    const restart = { delayMs: 1_000, ...service.restart };
    this.manager.assign("service", service.id ?? "", AssignedService.fromPartial({ ...service, restart }));
  }

  /** Creates a lease and assigns its version. */
  make(slotId: string, input: LeaseInput = {}): GivenLease {
    const index = input.epoch ?? this.#epochs + 1;
    this.#epochs = Math.max(this.#epochs, index);
    const epoch = { reign: 7, index };
    const versionId = input.versionId ?? `version-${slotId}-${index}`;
    const { spec, networks = ["net"], imageDigest = "" } = input;
    const version = Version.fromPartial({
      meta: { id: versionId },
      serviceId: serviceOfSlot(slotId),
      task: { ...spec, container: { image, ...spec?.container } },
      networks: [...networks],
      imageDigest,
    });
    if (!this.manager.objects.has(`version/${versionId}`)) this.manager.assign("version", versionId, version);
    const lease = AssignedLease.fromPartial({
      slotId,
      epoch,
      versionId,
      state: LeaseState.OFFERED,
      address: input.address ?? `10.77.1.${1 + index}`,
      after: input.after,
      initialRecord: input.initialRecord,
    });
    return { key: leaseKey(slotId, epoch), lease, epoch, task: taskIdOf(slotId, epoch, firstRun) };
  }

  offer(slotId: string, input: LeaseInput = {}): GivenLease {
    const given = this.make(slotId, input);
    this.manager.lease(given.lease);
    return given;
  }

  /** Offers a lease, and sets it held at once. */
  give(slotId: string, input: LeaseInput = {}): GivenLease {
    const given = this.offer(slotId, input);
    this.hold(given);
    return given;
  }

  /** As `give`; it runs when this resolves. */
  async run(slotId: string, input: LeaseInput = {}): Promise<GivenLease> {
    const given = this.give(slotId, input);
    await this.untilRunning(given);
    return given;
  }

  hold({ key }: GivenLease): void {
    this.manager.setState(key, LeaseState.HELD);
  }

  release({ key }: GivenLease): void {
    this.manager.setState(key, LeaseState.RELEASING);
  }

  report({ key }: GivenLease): LeaseReport | undefined {
    return this.manager.reports.get(key);
  }

  /** Starts a worker on what the last one left. Resolves when it has a session, if it can have one. */
  async start({ wait = true }: { readonly wait?: boolean } = {}): Promise<Agent> {
    const kill = new AbortController();
    const killed = kill.signal;
    const agent = await startAgent(
      {
        runtime: severable(this.#faulty("runtime", this.#unreliable(new FakeRuntime(this.machine))), killed),
        network: severable(this.#faulty("network", this.network.connect()), killed),
        session: severable(this.#faulty("session", this.manager.connect()), killed),
        state: this.#faulty("state", this.place === undefined ? this.disk.open(killed) : this.#counted(this.place)),
        clock: severableClock(this.clock, killed),
        boot: this.clock,
        random: this.random,
        log: this.log,
        metrics: this.metrics,
        conditions: this.conditions,
        probes: this.#faulty("probes", {
          http: (target, signal) => this.probes.http(target, signal),
          tcp: (target, signal) => this.probes.tcp(target, signal),
        } satisfies ProbeTransport),
      },
      this.options,
    );
    this.#life = { agent, kill };
    const { completes } = this.manager;
    const before = completes.length;
    if (wait) for (let turn = 0; turn < 100 && completes.length === before; turn += 1) await this.#turn();
    return agent;
  }

  /** Kills the worker, as kill -9: nothing is closed, and calls under way go on. */
  kill(): void {
    this.#life?.kill.abort();
    this.#life = undefined;
  }

  /** A power cut: worker and processes end, and the runtime's containers are in state unknown; disks are kept. */
  powerCut(downMs: number = 0): void {
    this.kill();
    for (const [id, { state }] of this.machine.containers) if (state.kind !== "exited") this.machine.lose(id);
    this.network.attached.clear();
    this.network.endpoints = [];
    this.clock.reboot(downMs);
  }

  /** Lets time pass until `condition` holds; at most ten minutes of it. */
  async until(what: string, condition: () => boolean): Promise<void> {
    for (let passed = 0; passed < 600_000; passed += 50) {
      for (let turn = 0; turn < 4; turn += 1) {
        if (condition()) return;
        await this.#turn();
      }
      await this.clock.advanceAsync(50);
    }
    const last = this.log.records.slice(-5).map(({ event, fields }) => `${event} ${JSON.stringify(fields, readable)}`);
    throw new Error(`waited in vain until ${what}; last: ${last.join("; ")}`);
  }

  /** Advances the clock, with all events on the way. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    while (this.clock.monotonic() < end) {
      for (let turn = 0; turn < 4; turn += 1) await this.#turn();
      await this.clock.advanceAsync(Math.min(50, end - this.clock.monotonic()));
    }
  }

  /** One turn of the event loop, or as many as pending disk writes need. */
  async #turn(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve));
    while (this.#calls > 0);
  }

  state(task: string): TaskState | undefined {
    return this.manager.statuses.get(task)?.state;
  }

  async untilState(task: string, state: TaskState): Promise<void> {
    await this.until(
      `task ${task} is ${state}, not ${this.state(task) ?? "unheard of"}`,
      () => this.state(task) === state,
    );
  }

  async untilRunning(...given: GivenLease[]): Promise<void> {
    for (const { task } of given) await this.untilState(task, TaskState.RUNNING);
  }

  /** Containers of a slot that run now, as their tasks' ids. */
  running(slotId?: string): string[] {
    return [...this.machine.containers]
      .filter(([, { state, spec }]) => {
        const labels = spec.labels ?? {};
        return state.kind === "running" && (slotId === undefined || labels["warren.slot-id"] === slotId);
      })
      .map(([id]) => id);
  }

  /** Number of the runtime's calls of this kind. */
  calls(call: string, subject?: string): number {
    return this.machine.calls.filter(
      (each) => each.call === call && (subject === undefined || each.subject === subject),
    ).length;
  }

  #faulty<T extends object>(seam: string, target: T): T {
    return new Proxy(target, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const error = this.fault?.(`${seam}.${String(name)}`);
          if (error === undefined) return Reflect.apply(value, target, args);
          const streams =
            ["events", "logs", "assignments", "relay"].includes(String(name)) ||
            (seam === "session" && name === "open");
          return streams ? failing(error) : Promise.reject(error);
        };
      },
    });
  }

  #counted<T extends object>(target: T): T {
    return new Proxy(target, {
      get: (_target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const result: unknown = Reflect.apply(value, target, args);
          if (!(result instanceof Promise)) return result;
          this.#calls += 1;
          return result.finally(() => void (this.#calls -= 1));
        };
      },
    });
  }

  #unreliable(runtime: Runtime): Runtime {
    return new Proxy(runtime, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...args: unknown[]): unknown => {
          const result: unknown = Reflect.apply(value, target, args);
          const at = this.unheard.indexOf(name as RuntimeCall);
          if (at < 0 || !(result instanceof Promise)) return result;
          this.unheard.splice(at, 1);
          return result.then(() => {
            throw new RuntimeError({ code: "RUNTIME_UNAVAILABLE" }, `${String(name)} was done, and its answer lost`);
          });
        };
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#life?.agent.close();
  }
}

function failing(error: Error): AsyncIterable<never> {
  return { [Symbol.asyncIterator]: () => ({ next: () => delayedFailure(error) }) };
}

function readable(_key: string, value: unknown): unknown {
  return value instanceof Error ? (value.stack ?? String(value)) : value;
}

async function delayedFailure(failure: Error): Promise<never> {
  await Promise.resolve();
  throw failure;
}
