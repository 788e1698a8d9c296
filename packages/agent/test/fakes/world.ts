import { tmpdir } from "node:os";
import { AssignedTask, Endpoint, TaskState } from "@warren/api";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { FakeMachine, FakeRuntime, type RuntimeCall } from "@warren/runtime/testing";
import type { Random } from "@warren/std";
import { FakeClock, RecordingLogger, RecordingMetrics, seededRandom } from "@warren/std/testing";
import { startAgent, type Agent, type AgentOptions, type ProbeTransport } from "../../src/index.ts";
import { FakeManager } from "./fake-manager.ts";
import { FakeNetwork } from "./fake-network.ts";
import { MemoryDisk } from "./memory-state.ts";
import { severable, severableClock } from "./severable.ts";

type TaskInput = Parameters<typeof AssignedTask.fromPartial>[0];

export const image = "registry.example/web:1";

/** A task as a manager assigns it; wants to run. */
export function task(id: string, more: TaskInput = {}): AssignedTask {
  return AssignedTask.fromPartial({
    id,
    serviceId: "svc",
    serviceName: "web",
    slot: 1,
    desiredState: TaskState.RUNNING,
    state: TaskState.ASSIGNED,
    networks: ["net"],
    ...more,
    spec: { ...more.spec, container: { image, ...more.spec?.container } },
  });
}

/** A machine, its network and disk, a manager, and the workers that run there one after the other. */
export class World implements AsyncDisposable {
  readonly clock: FakeClock = new FakeClock();
  readonly machine: FakeMachine;
  readonly network: FakeNetwork = new FakeNetwork();
  readonly manager: FakeManager = new FakeManager();
  readonly log: RecordingLogger = new RecordingLogger();
  readonly metrics: RecordingMetrics = new RecordingMetrics();
  readonly random: Random;
  readonly disk: MemoryDisk;
  /** Calls of the runtime that will be done, and then seem to have failed. */
  readonly unheard: RuntimeCall[] = [];
  /** Set: health probes over the network go there. */
  probes: ProbeTransport = {
    http: () => Promise.resolve(200),
    tcp: () => Promise.resolve(),
  };
  readonly options: AgentOptions;
  #life: { readonly agent: Agent; readonly kill: AbortController } | undefined;

  constructor(options: Partial<AgentOptions> = {}, seed: number = 1) {
    this.machine = new FakeMachine({ clock: this.clock });
    this.machine.publish(image);
    this.random = seededRandom(seed);
    this.disk = new MemoryDisk(this.random);
    this.options = { dataDir: `${tmpdir()}/warren-agent-none`, hostname: "edge-1", version: "1", ...options };
    this.manager.setEndpoint(Endpoint.fromPartial({ serviceId: "svc", name: "web", vip: "10.96.0.1" }));
  }

  get agent(): Agent {
    if (this.#life === undefined) throw new Error("no worker runs");
    return this.#life.agent;
  }

  /** Starts a worker, which finds what the one before left. */
  async start(): Promise<Agent> {
    const kill = new AbortController();
    const killed = kill.signal;
    const agent = await startAgent(
      {
        runtime: severable(this.#unreliable(new FakeRuntime(this.machine)), killed),
        network: severable(this.network.connect(), killed),
        session: severable(this.manager.connect(), killed),
        state: this.disk.open(killed),
        clock: severableClock(this.clock, killed),
        random: this.random,
        log: this.log,
        metrics: this.metrics,
        probes: {
          http: (target, signal) => this.probes.http(target, signal),
          tcp: (target, signal) => this.probes.tcp(target, signal),
        },
      },
      this.options,
    );
    this.#life = { agent, kill };
    return agent;
  }

  /** As kill -9 does: nothing is closed, and what is under way elsewhere goes on. */
  kill(): void {
    this.#life?.kill.abort();
    this.#life = undefined;
  }

  /** Lets time pass until `condition` holds; at most ten minutes of it. */
  async until(what: string, condition: () => boolean): Promise<void> {
    for (let passed = 0; passed < 600_000; passed += 50) {
      for (let turn = 0; turn < 4; turn += 1) {
        if (condition()) return;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await this.clock.advanceAsync(50);
    }
    throw new Error(`waited in vain until ${what}; last: ${JSON.stringify(this.log.records.slice(-5))}`);
  }

  /** Lets so much time pass, and all that happens in it happen. */
  async pass(ms: number): Promise<void> {
    const end = this.clock.monotonic() + ms;
    while (this.clock.monotonic() < end) {
      for (let turn = 0; turn < 4; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      await this.clock.advanceAsync(Math.min(50, end - this.clock.monotonic()));
    }
  }

  state(id: string): TaskState | undefined {
    return this.manager.statuses.get(id)?.state;
  }

  async untilState(id: string, state: TaskState): Promise<void> {
    await this.until(`task ${id} is ${state}, not ${this.state(id) ?? "unheard of"}`, () => this.state(id) === state);
  }

  /** How often the runtime was asked for this. */
  calls(call: string, subject?: string): number {
    return this.machine.calls.filter(
      (each) => each.call === call && (subject === undefined || each.subject === subject),
    ).length;
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
