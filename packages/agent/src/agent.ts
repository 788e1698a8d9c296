import type { AssignmentsMessage, NodeDescription, SessionMessage, TaskStatus } from "@warren/api";
import { TaskState } from "@warren/api";
import type { Runtime } from "@warren/runtime";
import { logFailures, newId, TaskGroup, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import { AssignmentChain } from "./assignments.ts";
import { Containers } from "./containers.ts";
import { EndpointTable } from "./endpoint-table.ts";
import { Images } from "./images.ts";
import { Limiter } from "./limiter.ts";
import { LocalRecord, type NodeRecord, type TaskRecord } from "./local-record.ts";
import { agentMetrics, type AgentMetrics } from "./metrics.ts";
import { NodeNetwork } from "./node-network.ts";
import { resolveOptions, type AgentOptions, type ResolvedOptions } from "./options.ts";
import { containerLost, hasEnded, verdictOf } from "./outcome.ts";
import { nodeProbes } from "./probes.ts";
import { RelayServer } from "./relay-server.ts";
import type { AgentState, NetworkSettings, ProbeTransport, Session, TaskAttachment, TaskNetwork } from "./seams.ts";
import { SessionLoop } from "./session-loop.ts";
import { StatusReporter } from "./status-reporter.ts";
import { TaskController, type TaskEnvironment } from "./task-controller.ts";
import { Volumes } from "./volumes.ts";
import { persistently } from "./waiting.ts";

const nanosPerCore = 1_000_000_000;

export interface AgentDependencies {
  readonly runtime: Runtime;
  readonly network: TaskNetwork;
  readonly session: Session;
  /** Closed by its owner, after the agent. */
  readonly state: AgentState;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** @default `nodeProbes` */
  readonly probes?: ProbeTransport;
}

/** A task of this node, as it is now. */
export interface TaskView {
  readonly id: string;
  readonly serviceName: string;
  readonly slot: number;
  readonly desiredState: TaskState;
  readonly status: TaskStatus;
}

/**
 * Starts the worker's side of a node: takes up what an earlier process left, runs what is assigned, and keeps a
 * session with a manager. Resolves when the record is read; what the record says goes on from there, with a manager or
 * without, and waits for a runtime that is away.
 *
 * `signal` is as `close()`.
 *
 * @throws AgentError `AGENT_OPTIONS_INVALID`, `AGENT_RECORD_UNREADABLE`
 */
export async function startAgent(
  dependencies: AgentDependencies,
  options: AgentOptions,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<Agent> {
  const resolved = resolveOptions(options);
  const record = await LocalRecord.load(dependencies.state);
  const node = record.node ?? { id: newId(dependencies.random) };
  if (record.node === undefined) record.setNode(node);
  return new Agent(dependencies, resolved, record, node, signal);
}

/** The worker's side of a node. Tasks outlive it: to close it stops none. */
export class Agent implements AsyncDisposable {
  readonly nodeId: string;
  readonly #runtime: Runtime;
  readonly #options: ResolvedOptions;
  readonly #metrics: AgentMetrics;
  readonly #record: LocalRecord;
  readonly #env: TaskEnvironment;
  readonly #loop: SessionLoop;
  readonly #work: TaskGroup;
  readonly #controllers = new Map<string, TaskController>();
  readonly #chain = new AssignmentChain();
  #adopted = false;

  /** @internal `startAgent` makes it. */
  constructor(
    dependencies: AgentDependencies,
    options: ResolvedOptions,
    record: LocalRecord,
    node: NodeRecord,
    signal: AbortSignal | undefined,
  ) {
    const { runtime, clock, random, session } = dependencies;
    const log = dependencies.log.child({ component: "agent" });
    this.nodeId = node.id;
    this.#runtime = runtime;
    this.#options = options;
    this.#record = record;
    this.#metrics = agentMetrics(dependencies.metrics);
    this.#work = new TaskGroup(logFailures(log), signal);
    const network = new NodeNetwork(dependencies.network, { clock, random, log });
    const reporter = new StatusReporter();
    const inUse = (): string[] => [...record.tasks.values()].map(imageOf);
    this.#env = {
      nodeId: node.id,
      options,
      clock,
      random,
      log,
      metrics: this.#metrics,
      runtime,
      containers: new Containers(runtime),
      network,
      endpoints: new EndpointTable(node.id, record.endpoints, (endpoints) =>
        network.setEndpoints(endpoints, this.#work.signal),
      ),
      images: new Images({ runtime, clock, log }, options.imageGraceMs, inUse),
      volumes: new Volumes(options.dataDir),
      record,
      reporter,
      starts: new Limiter(options.parallelStarts),
      probes: dependencies.probes ?? nodeProbes,
    };
    const relays = new RelayServer(
      {
        session,
        runtime,
        containers: this.#env.containers,
        clock,
        log,
        nodeId: node.id,
        tasks: () => [...record.tasks.values()].map(({ assigned }) => assigned),
        hasContainer: async (id, ending) => (await this.#controllers.get(id)?.hasContainer(ending)) ?? false,
      },
      options.maxRelays,
    );
    this.#loop = new SessionLoop(
      { session, clock, random, log, metrics: this.#metrics },
      {
        nodeId: node.id,
        reporter,
        describe: (ending) => this.#describe(ending),
        onNode: (message) => this.#takeNode(message),
        onAssignments: (message) => this.#assign(message),
        onRelay: (request, sessionId, ending) => relays.serve(request, sessionId, ending),
      },
      options.managerTimeoutMs,
    );
    this.#work.run("record", (ending) => record.run({ clock, random, log }, ending));
    this.#work.run("containers", (ending) => this.#env.containers.run({ clock, random, log }, ending));
    this.#work.run("agent", (ending) => this.#run(ending));
  }

  /** Whether a manager is connected. */
  get connected(): boolean {
    return this.#loop.connected;
  }

  /** Whether what an earlier process left is taken up. */
  get adopted(): boolean {
    return this.#adopted;
  }

  tasks(): readonly TaskView[] {
    return [...this.#record.tasks.values()].map(({ assigned, status }) => ({
      id: assigned.id,
      serviceName: assigned.serviceName,
      slot: assigned.slot,
      desiredState: assigned.desiredState,
      status,
    }));
  }

  /** Leaves all tasks as they are. */
  async close(): Promise<void> {
    await this.#work.close();
    this.#metrics.connected.set(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { network, clock, random, log } = this.#env;
    this.#preload();
    this.#work.run("endpoints", async (ending) => {
      await network.opened(ending);
      await this.#env.endpoints.run({ clock, random, log }, ending);
    });
    const settings = this.#record.node?.network;
    if (settings !== undefined) this.#openNetwork(settings);
    await this.#adopt(signal);
    // An id that is not on disk could be another one after a crash.
    await this.#record.durable(signal);
    await this.#loop.run(signal);
  }

  /** What was in use goes on being so, in the first rules that are applied too. */
  #preload(): void {
    for (const [taskId, { assigned, status, local }] of this.#record.tasks) {
      if (status.state !== TaskState.RUNNING || local.address === undefined || local.verdict !== undefined) continue;
      const { serviceId, slot, desiredState } = assigned;
      const draining = local.removed === true || desiredState >= TaskState.SHUTDOWN;
      this.#env.endpoints.set(taskId, { serviceId, slot, address: local.address, draining });
    }
  }

  #openNetwork(settings: NetworkSettings): void {
    const expected = [...this.#record.tasks.values()].map(attachmentOf).filter((each) => each !== undefined);
    this.#work.run("network", (ending) => this.#env.network.open(settings, expected, ending));
  }

  /** Takes up what an earlier process left: containers that are in the record go on, all others go. */
  async #adopt(signal: AbortSignal): Promise<void> {
    const { containers, images, log } = this.#env;
    await containers.listed(signal);
    const keep = new Set(this.#record.tasks.keys());
    const collect = (): Promise<readonly string[]> => this.#runtime.collectOrphans(keep);
    const orphans = await persistently(this.#env, "removing orphans", signal, collect, () => true);
    for (const id of orphans) containers.forget(id);
    // A piece of a container that is in the record may have gone too: what is left is looked at again.
    await persistently(this.#env, "listing containers", signal, () => containers.refresh());
    for (const [id, { status }] of this.#record.tasks) {
      if (this.#record.tasks.get(id)?.local.removed !== true) this.#env.reporter.push(id, status);
      this.#control(id);
    }
    this.#adopted = true;
    images.released(signal);
    log.info("took up what was there", { tasks: this.#record.tasks.size, orphans: orphans.length });
  }

  #control(id: string): void {
    const controller = new TaskController(this.#env, id);
    this.#controllers.set(id, controller);
    this.#metrics.tasks.set(this.#controllers.size);
    this.#work.run(`task ${id}`, async (ending) => {
      await controller.run(ending);
      // It may have been assigned anew in that moment.
      if (this.#controllers.get(id) === controller) this.#controllers.delete(id);
      this.#metrics.tasks.set(this.#controllers.size);
    });
  }

  #takeNode({ node, taskPool, vipPool }: SessionMessage): void {
    const nodeSubnet = node?.subnet ?? "";
    // A node that just joined has no subnet before the managers have found it one.
    if (nodeSubnet === "") return;
    const network = { nodeSubnet, taskPool, vipPool };
    const known = this.#record.node?.network;
    if (known?.nodeSubnet === nodeSubnet && known.taskPool === taskPool && known.vipPool === vipPool) return;
    this.#record.setNode({ id: this.nodeId, network });
    this.#openNetwork(network);
  }

  #assign(message: AssignmentsMessage): boolean {
    const record = this.#record;
    const delta = this.#chain.follow(message, {
      tasks: record.tasks.keys(),
      endpoints: record.endpoints.keys(),
      registries: record.registries.keys(),
    });
    if (delta === undefined) return false;
    for (const login of delta.registries) record.setRegistry(login);
    for (const endpoint of delta.endpoints) record.setEndpoint(endpoint);
    for (const serviceId of delta.removedEndpoints) record.deleteEndpoint(serviceId);
    if (delta.endpoints.length + delta.removedEndpoints.length > 0) this.#env.endpoints.changed();
    for (const assigned of delta.tasks) {
      if (record.tasks.has(assigned.id)) this.#controllers.get(assigned.id)?.assign(assigned);
      else {
        record.addTask(this.#newTask(assigned));
        this.#control(assigned.id);
      }
    }
    for (const id of delta.removedTasks) if (record.tasks.has(id)) this.#controllers.get(id)?.unassign();
    for (const registry of delta.removedRegistries) record.deleteRegistry(registry);
    return true;
  }

  #newTask(assigned: TaskRecord["assigned"]): TaskRecord {
    const state = Math.max(assigned.state, TaskState.ASSIGNED) as TaskState;
    // What has started has a record: this one was lost, and the container went as an orphan.
    const lost = state >= TaskState.STARTING && !hasEnded(state);
    return {
      assigned,
      status: {
        state,
        at: new Date(this.#env.clock.now()),
        message: "",
        code: "",
        container: undefined,
        pending: undefined,
      },
      local: lost ? { verdict: verdictOf(containerLost(), true) } : {},
    };
  }

  async #describe(signal: AbortSignal): Promise<NodeDescription> {
    const info = await persistently(this.#env, "asking the runtime", signal, () => this.#runtime.info());
    return {
      hostname: this.#options.hostname,
      os: info.os,
      architecture: info.architecture,
      cpuNanos: info.cpus * nanosPerCore,
      memoryBytes: info.memoryBytes,
      runtime: info.version,
      version: this.#options.version,
    };
  }
}

function imageOf({ assigned }: TaskRecord): string {
  return assigned.spec?.container?.image ?? "";
}

/** The interface that a task had, and may have still. */
function attachmentOf({ assigned, status, local }: TaskRecord): TaskAttachment | undefined {
  const { address, netnsPath } = local;
  if (address === undefined || netnsPath === undefined || hasEnded(status.state)) return undefined;
  return { id: assigned.id, address, networks: assigned.networks, netnsPath };
}
