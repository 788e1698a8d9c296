import type { NodeDescription, SessionMessage, TaskStatus } from "@warren/api";
import { defaultStopGraceMs, isRunning, level, minLevel, serviceOfSlot } from "@warren/api/model";
import type { Runtime } from "@warren/runtime";
import {
  abortable,
  logFailures,
  newId,
  systemBootClock,
  TaskGroup,
  type BootClock,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
} from "@warren/std";
import { NodeConditions } from "./conditions.ts";
import { Containers } from "./containers.ts";
import { EndpointTable } from "./endpoint-table.ts";
import type { NodeEnvironment } from "./environment.ts";
import { AgentError } from "./errors.ts";
import { Images } from "./images.ts";
import { KeptRuns } from "./kept-runs.ts";
import { LeaseReporter } from "./lease-reporter.ts";
import { Leases } from "./leases.ts";
import { Limiter } from "./limiter.ts";
import { LocalRecord, type NodeRecord } from "./local-record.ts";
import { agentMetrics, type AgentMetrics } from "./metrics.ts";
import { NodeNetwork } from "./node-network.ts";
import { resolveOptions, type AgentOptions, type ResolvedOptions } from "./options.ts";
import { nodeProbes } from "./probes.ts";
import type { VersionInUse } from "./relay.ts";
import { RelayServer } from "./relay-server.ts";
import type { AgentState, NetworkSettings, ProbeTransport, Session, TaskNetwork } from "./seams.ts";
import { SessionLoop } from "./session-loop.ts";
import { Volumes } from "./volumes.ts";
import { persistently } from "./waiting.ts";

const nanosPerCore = 1_000_000_000;

/** Lives are drawn below this, so that a number of JavaScript holds each. */
const lives = 2 ** 48;

export interface AgentDependencies {
  readonly runtime: Runtime;
  readonly network: TaskNetwork;
  readonly session: Session;
  /** Closed by its owner, after the agent. */
  readonly state: AgentState;
  readonly clock: Clock;
  /** @default `systemBootClock` */
  readonly boot?: BootClock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** Conditions that other parts of the worker report to managers. @default none */
  readonly conditions?: NodeConditions;
  /** @default `nodeProbes` */
  readonly probes?: ProbeTransport;
}

/** A task of this node: a run of one of its leases. */
export interface TaskView {
  readonly id: string;
  readonly serviceName: string;
  readonly slotId: string;
  readonly status: TaskStatus;
}

/**
 * Starts the worker's side of a node: adopts what an earlier process left, runs the node's leases, and keeps a session
 * with a manager. Resolves when the record is read. The recorded leases then go on with or without a manager, once the
 * runtime answers.
 *
 * `signal` is as `close()`.
 *
 * @throws AgentError `AGENT_OPTIONS_INVALID`, `AGENT_RECORD_UNREADABLE`, `AGENT_IDENTITY_LOST`, `AGENT_IDENTITY_CONFLICT`
 */
export async function startAgent(
  dependencies: AgentDependencies,
  options: AgentOptions,
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<Agent> {
  const resolved = resolveOptions(options);
  const { state, random } = dependencies;
  const record = await LocalRecord.load(state);
  const node = { ...record.node, id: identify(state, record) ?? newId(random) };
  record.begin();
  record.setNode(node);
  return new Agent(dependencies, resolved, record, node, signal);
}

/** The node's id, which the identity file and the record each hold; undefined on a machine that was never a node. */
function identify({ nodeId, lost }: AgentState, record: LocalRecord): string | undefined {
  const recorded = record.node?.id;
  if (nodeId !== undefined && recorded !== undefined && nodeId !== recorded)
    throw new AgentError(
      { code: "AGENT_IDENTITY_CONFLICT", nodeId, recorded },
      `the worker's identity is node ${nodeId}, and its record is of node ${recorded}: put back the folder that belongs to it`,
    );
  const id = nodeId ?? recorded;
  if (id === undefined && (lost !== undefined || record.incomplete))
    throw new AgentError(
      { code: "AGENT_IDENTITY_LOST" },
      `which node this is can't be read any more (${record.damage.join("; ")}): put back the worker's data folder from a backup, or remove it, and this machine becomes a new node`,
    );
  return id;
}

/** The worker's side of a node. Tasks outlive it: `close()` stops none. */
export class Agent implements AsyncDisposable {
  readonly nodeId: string;
  readonly #state: AgentState;
  readonly #conditions: NodeConditions;
  readonly #runtime: Runtime;
  readonly #options: ResolvedOptions;
  readonly #metrics: AgentMetrics;
  readonly #record: LocalRecord;
  readonly #env: NodeEnvironment;
  readonly #loop: SessionLoop;
  readonly #work: TaskGroup;
  readonly #leases: Leases;
  readonly #kept: KeptRuns;
  /** Resolves when the node's id is on disk; no session begins before, as a crash would make another id. */
  readonly #identified = Promise.withResolvers<void>();
  readonly #goingDown = new AbortController();
  readonly #adoption = Promise.withResolvers<void>();
  #node: NodeRecord;
  #adopted = false;

  /** @internal `startAgent` makes it. */
  constructor(
    dependencies: AgentDependencies,
    options: ResolvedOptions,
    record: LocalRecord,
    node: NodeRecord,
    signal: AbortSignal | undefined,
  ) {
    const { runtime, clock, random, session, boot = systemBootClock } = dependencies;
    const log = dependencies.log.child({ component: "agent" });
    this.nodeId = node.id;
    this.#node = node;
    this.#state = dependencies.state;
    this.#conditions = dependencies.conditions ?? new NodeConditions({ clock, log });
    this.#runtime = runtime;
    this.#options = options;
    this.#record = record;
    this.#metrics = agentMetrics(dependencies.metrics);
    this.#work = new TaskGroup(logFailures(log), signal);
    const network = new NodeNetwork(dependencies.network, { clock, random, log });
    const reporter = new LeaseReporter(
      { record, clock, log },
      (key, { state }) => this.#leases.acknowledged(key, state),
      (known) => this.#leases.adopt(known),
    );
    const { assigned } = record;
    this.#env = {
      nodeId: node.id,
      life: 1 + random.int(lives - 1),
      options,
      clock,
      boot: () => {
        const { bootId, elapsedMs } = boot.bootTime();
        return { bootId, elapsedMs: Math.floor(elapsedMs) };
      },
      random,
      log,
      metrics: this.#metrics,
      runtime,
      containers: new Containers(runtime),
      network,
      endpoints: new EndpointTable(
        node.id,
        clock,
        { endpoints: assigned.of("endpoint"), backends: assigned.of("backend") },
        (endpoints) => network.setEndpoints(endpoints, this.#work.signal),
      ),
      images: new Images(
        { runtime, clock, log },
        options.imageGraceMs,
        () => assigned.of("version").values(),
        (ending) => this.#kept.free(ending),
      ),
      volumes: new Volumes(options.dataDir),
      record,
      reporter,
      starts: new Limiter(options.parallelStarts),
      probes: dependencies.probes ?? nodeProbes,
      goingDown: this.#goingDown.signal,
    };
    this.#leases = new Leases(this.#env, (controller) => this.#control(controller));
    this.#kept = new KeptRuns(
      { ...this.#env, removed: () => this.#env.images.released(this.#work.signal) },
      options.keepEndedMs,
    );
    const relays = new RelayServer(
      {
        session,
        runtime,
        containers: this.#env.containers,
        clock,
        log,
        nodeId: node.id,
        runs: () => record.runs,
        volumes: this.#env.volumes,
        images: this.#env.images,
        inUse: () => this.#inUse(),
        inUnknownUse: () => this.#inUnknownUse(),
        hasContainer: async (id, ending) => this.#hasContainer(id, ending),
      },
      options.maxRelays,
    );
    this.#loop = new SessionLoop(
      { session, clock, random, log, metrics: this.#metrics },
      {
        nodeId: node.id,
        reporter,
        reportAll: () => this.#leases.reportAll(),
        lastApplied: () => record.lastApplied,
        held: () => assigned.held(),
        describe: (ending) => this.#describe(ending),
        descriptionChanges: this.#conditions.changes,
        onNode: (message) => this.#takeNode(message),
        onAssignments: (message) => this.#leases.apply(message),
        onRemoved: (point) => this.#leases.applyRemoval(point),
        onRelay: (request, sessionId, ending) => relays.serve(request, sessionId, ending),
      },
      options.managerTimeoutMs,
    );
    for (const damage of record.damage)
      log.error("a part of the worker's record was lost, and is fetched anew from the managers", { damage });
    this.#work.run("record", (ending) => record.write({ clock, random, log }, ending));
    this.#work.run("containers", (ending) => this.#env.containers.run({ clock, random, log }, ending));
    this.#work.run("agent", (ending) => this.#run(ending));
  }

  /** Whether a manager is connected. */
  get connected(): boolean {
    return this.#loop.connected;
  }

  /** Whether everything that an earlier process left is adopted. */
  get adopted(): boolean {
    return this.#adopted;
  }

  tasks(): readonly TaskView[] {
    return [...this.#record.runs.values()].map(({ id, local, status }) => ({
      id,
      serviceName: local.serviceName,
      slotId: local.slotId,
      status,
    }));
  }

  /**
   * The machine goes down: every run leaves the balancer and ends by its stop signal and its own grace, all at the same
   * time, and none starts any more. It is no failure of theirs, and their leases stay held: the worker of the next boot
   * goes on with them. Resolves when all that is on disk.
   *
   * @param announce is called first, with how long it takes at most, ms, by the longest grace of what runs
   */
  async endWithMachine(announce: (mostMs: number) => Promise<void>): Promise<void> {
    const { signal } = this.#work;
    this.#goingDown.abort(new DOMException("the machine goes down", "AbortError"));
    await abortable(this.#adoption.promise, signal);
    await announce(this.#longestStopMs);
    await abortable(this.#leases.atRest(), signal);
    await this.#record.durable(signal);
  }

  /** Leaves all tasks as they are. */
  async close(): Promise<void> {
    await this.#work.close();
    this.#metrics.connected.set(0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** From the decision to end all that runs to the last SIGKILL, ms. */
  get #longestStopMs(): number {
    const { leaveMs, balancerWaitMs } = this.#options;
    const runs = [...this.#record.runs.values()].filter(
      ({ id }) => this.#env.containers.get(id)?.state.kind === "running",
    );
    const graces = runs.map(({ local }) => local.graceMs ?? defaultStopGraceMs);
    return graces.length === 0 ? 0 : leaveMs + 2 * balancerWaitMs + Math.max(...graces);
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { network, clock, random, log, containers } = this.#env;
    this.#preload();
    this.#work.run("endpoints", async (ending) => {
      await network.opened(ending);
      await this.#env.endpoints.run({ clock, random, log }, ending);
    });
    this.#work.run("identity", (ending) => this.#keepIdentity(ending));
    const settings = this.#node.network;
    // Of a damaged record, interfaces are only known once the containers are listed.
    if (this.#record.incomplete) await containers.listed(signal);
    else if (settings !== undefined) this.#openNetwork(settings);
    await this.#adopt(signal);
    if (this.#record.incomplete && settings !== undefined) this.#openNetwork(settings);
    await abortable(this.#identified.promise, signal);
    await this.#loop.run(signal);
  }

  async #keepIdentity(signal: AbortSignal): Promise<void> {
    // The record first: its count of openings must never be behind the identity's.
    await this.#record.durable(signal);
    const keep = (): Promise<void> => this.#state.identify(this.nodeId, this.#record.opened);
    await persistently(this.#env, "keeping the node's id", signal, keep, () => true);
    this.#identified.resolve();
  }

  /** Puts the leases that were in use into the balancer's first rules. */
  #preload(): void {
    for (const { status, local } of this.#record.runs.values()) {
      const lease = this.#record.leases.get(local.lease)?.local;
      if (lease === undefined || !isRunning({ status }) || local.verdict !== undefined || lease.foreign) continue;
      const { slotId, address, stage } = lease;
      this.#env.endpoints.set(local.lease, { slotId, address, draining: stage !== undefined, health: 1 });
    }
  }

  #openNetwork(settings: NetworkSettings): void {
    const expected = this.#leases.attachments();
    this.#work.run("network", (ending) => this.#env.network.open(settings, expected, ending));
  }

  /** Adopts what an earlier process left: containers of leases go on, and all others are removed. */
  async #adopt(signal: AbortSignal): Promise<void> {
    const { containers, images, log } = this.#env;
    await containers.listed(signal);
    this.#leases.rebuild(containers.all());
    const keep = new Set(this.#record.runs.keys());
    const collect = (): Promise<readonly string[]> => this.#runtime.collectOrphans(keep);
    const orphans = await persistently(this.#env, "removing orphans", signal, collect, () => true);
    for (const id of orphans) containers.forget(id);
    // Incomplete containers of recorded runs may be removed too, so the list is read again.
    await persistently(
      this.#env,
      "listing containers",
      signal,
      () => containers.refresh(),
      () => true,
    );
    this.#leases.begin();
    this.#adopted = true;
    this.#adoption.resolve();
    images.released(signal);
    this.#kept.collect(signal);
    log.info("adopted what an earlier worker left", { leases: this.#record.leases.size, orphans: orphans.length });
  }

  #control(controller: Parameters<ConstructorParameters<typeof Leases>[1]>[0]): void {
    this.#work.run(`lease ${controller.key}`, async (ending) => {
      this.#metrics.leases.set(this.#leases.size);
      // A bug that one lease runs into ends neither worker nor lease: its controller starts again, as after a restart.
      await persistently(
        this.#env,
        `lease ${controller.key}`,
        ending,
        () => controller.run(ending),
        () => true,
      );
      this.#leases.ended(controller);
      this.#metrics.leases.set(this.#leases.size);
      this.#kept.collect(ending);
      this.#env.images.released(ending);
    });
  }

  #takeNode(message: SessionMessage): void {
    const { node, clusterId, taskPool, vipPool } = message;
    this.#record.writeLevel(message.level === 0 ? level : message.level);
    const nodeSubnet = node?.subnet ?? "";
    const known = this.#node.network;
    // A node that just joined has no subnet until the managers allocate one.
    const network = nodeSubnet === "" ? known : { nodeSubnet, taskPool, vipPool };
    const same =
      known?.nodeSubnet === network?.nodeSubnet &&
      known?.taskPool === network?.taskPool &&
      known?.vipPool === network?.vipPool;
    if (same && this.#node.clusterId === clusterId) return;
    this.#node = { ...this.#node, clusterId, ...(network !== undefined && { network }) };
    this.#record.setNode(this.#node);
    if (network !== undefined) this.#openNetwork(network);
  }

  *#inUse(): Generator<VersionInUse, void, void> {
    const { assigned } = this.#record;
    for (const version of assigned.of("version").values())
      yield { version, serviceName: assigned.of("service").get(version.serviceId)?.name ?? version.serviceId };
  }

  #inUnknownUse(): ReadonlySet<string> {
    const { assigned, leases } = this.#record;
    const versions = assigned.of("version");
    const unknown = [...leases].filter(([, { local }]) => local.stage !== "released" && !versions.has(local.versionId));
    return new Set(
      unknown.map(([key, { local }]) => {
        const name = this.#record.runsOf(key).at(-1)?.local.serviceName ?? "";
        return name === "" ? serviceOfSlot(local.slotId) : name;
      }),
    );
  }

  async #hasContainer(id: string, signal: AbortSignal): Promise<boolean> {
    if (this.#env.containers.get(id) !== undefined) return true;
    const lease = this.#record.runs.get(id)?.local.lease;
    const run = lease === undefined ? undefined : this.#leases.get(lease)?.current;
    return run?.id === id ? run.hasContainer(signal) : false;
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
      level,
      minLevel,
      life: this.#env.life,
      conditions: this.#conditions.all(),
    };
  }
}
