import { Health, TaskState, type AssignedTask, type TaskStatus } from "@warren/api";
import {
  parseReference,
  RuntimeError,
  type ContainerStatus as Container,
  type ExitStatus,
  type RegistryAuth,
  type Runtime,
} from "@warren/runtime";
import { abortable, type Clock, type Logger, type Random } from "@warren/std";
import type { Containers } from "./containers.ts";
import { runtimeSpec } from "./container-spec.ts";
import type { EndpointTable } from "./endpoint-table.ts";
import { AgentError } from "./errors.ts";
import { healthTimes, watchHealth, type ProbeOutcome } from "./health.ts";
import type { Images } from "./images.ts";
import type { Limiter } from "./limiter.ts";
import type { LocalRecord, TaskRecord } from "./local-record.ts";
import type { AgentMetrics } from "./metrics.ts";
import type { NodeNetwork } from "./node-network.ts";
import type { ResolvedOptions } from "./options.ts";
import { containerLost, hasEnded, outcomeOf, verdictOf, type Outcome } from "./outcome.ts";
import { probeOf } from "./probes.ts";
import type { ProbeTransport } from "./seams.ts";
import type { StatusReporter } from "./status-reporter.ts";
import type { Volumes } from "./volumes.ts";
import { Changes, persistently, within } from "./waiting.ts";

/** From the stop signal to SIGKILL where the task does not say, ms. */
const defaultGraceMs = 10_000;

/** The longest that the end of a task is kept back because it can't be written down, ms. */
const writeWaitMs = 5_000;

/** What controllers share. */
export interface TaskEnvironment {
  readonly nodeId: string;
  readonly options: ResolvedOptions;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: AgentMetrics;
  readonly runtime: Runtime;
  readonly containers: Containers;
  readonly network: NodeNetwork;
  readonly endpoints: EndpointTable;
  readonly images: Images;
  readonly volumes: Volumes;
  readonly record: LocalRecord;
  readonly reporter: StatusReporter;
  readonly starts: Limiter;
  readonly probes: ProbeTransport;
}

/**
 * Leads one task from its assignment to the end of its last trace, from wherever an earlier process left it. The
 * container's id is the task's.
 *
 * I1 A process starts only once its assignment, its address and that it is to start are on disk: whoever comes next
 *    adopts it, and makes another only of a container that the runtime lost in its start.
 * I2 What ends a task is on disk before the task is touched, so that whoever comes next tells the same reason.
 * I3 A task is in the balancer only between its first health and the decision to end it.
 * I4 The state that is told only moves forward.
 * I5 The end of a task is on disk before it is told, so that whoever comes next does not run it again; but a disk that
 *    can't be written for a while keeps no end back.
 */
export class TaskController {
  readonly #env: TaskEnvironment;
  readonly #id: string;
  readonly #log: Logger;
  readonly #changes = new Changes();
  /** Aborted when the task is told to stop. */
  readonly #stop = new AbortController();
  /** When this process was told of the task, in monotonic time. */
  readonly #since: number;
  /** The runtime was asked for a container, whatever came of it. */
  #mayExist = false;

  /** The task is in the record. */
  constructor(env: TaskEnvironment, id: string) {
    this.#env = env;
    this.#id = id;
    this.#log = env.log.child({ task: id, service: this.#assigned.serviceName, slot: this.#assigned.slot });
    this.#since = env.clock.monotonic();
    this.#take();
  }

  /** The manager's word on the task is another. What is desired never goes back. */
  assign(assigned: AssignedTask): void {
    const desiredState = Math.max(assigned.desiredState, this.#assigned.desiredState) as TaskState;
    this.#env.record.setAssigned(this.#id, { ...assigned, desiredState });
    if (this.#task.local.removed === true) {
      this.#env.record.setLocal(this.#id, { removed: undefined });
      this.#env.reporter.push(this.#id, this.#task.status);
    }
    this.#take();
  }

  /** It is no longer assigned: it is stopped, and all of it goes. */
  unassign(): void {
    this.#env.record.setLocal(this.#id, { removed: true });
    this.#env.reporter.drop(this.#id);
    this.#take();
  }

  /** Resolves when it has a container, with false if it ended without. */
  hasContainer(signal: AbortSignal): Promise<boolean> {
    return this.#changes.until(() => {
      if (this.#env.containers.get(this.#id) !== undefined) return true;
      if (!this.#env.record.tasks.has(this.#id)) return false;
      return this.#desires(TaskState.SHUTDOWN) || hasEnded(this.#task.status.state) ? false : undefined;
    }, signal);
  }

  /** Resolves when nothing of the task is left. Rejects when `closing` aborts, and leaves the task as it is. */
  async run(closing: AbortSignal): Promise<void> {
    const { record, images, reporter } = this.#env;
    if (!hasEnded(this.#task.status.state)) await this.#live(closing);
    await this.#detach(closing);
    if (this.#env.containers.get(this.#id)?.state.kind !== "exited") await this.#removeContainer(closing);
    // One that has run stays, for its log, for as long as somebody may ask for it.
    await this.#changes.until(() => this.#desires(TaskState.REMOVE) || undefined, closing);
    await this.#removeContainer(closing);
    await this.#changes.until(() => this.#task.local.removed, closing);
    record.deleteTask(this.#id);
    this.#changes.tell();
    reporter.drop(this.#id);
    images.released(closing);
  }

  get #task(): TaskRecord {
    const task = this.#env.record.tasks.get(this.#id);
    if (task === undefined) throw new Error(`assertion failed: task ${this.#id} is in the record until its end`);
    return task;
  }

  get #assigned(): AssignedTask {
    return this.#task.assigned;
  }

  #desires(state: TaskState): boolean {
    return this.#task.local.removed === true || this.#assigned.desiredState >= state;
  }

  #take(): void {
    // A manager that knows of its end knows more than this worker, whose record was lost or never written.
    if (this.#desires(TaskState.SHUTDOWN) || hasEnded(this.#assigned.state))
      this.#stop.abort(new DOMException(`task ${this.#id} is told to stop`, "AbortError"));
    this.#changes.tell();
  }

  /** Until the task has ended and that is told. */
  async #live(closing: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([closing, this.#stop.signal]);
    let told = false;
    if (this.#task.local.verdict === undefined) {
      try {
        do {
          await this.#prepare(signal);
          await this.#changes.until(() => this.#desires(TaskState.RUNNING) || undefined, signal);
        } while (!(await this.#start(signal)));
        await this.#attend(signal);
      } catch (error) {
        closing.throwIfAborted();
        if (this.#stop.signal.aborted) told = true;
        else this.#env.record.setLocal(this.#id, { verdict: verdictOf(error, this.#ran) });
      }
    }
    const { ran, exit } = await this.#end(closing);
    const { verdict } = this.#task.local;
    await this.#finish(outcomeOf({ assigned: this.#assigned, verdict, told, ran, exit }), exit, closing);
  }

  /** Image, container, interface: whatever of it is not there yet. */
  async #prepare(signal: AbortSignal): Promise<void> {
    const { containers } = this.#env;
    signal.throwIfAborted();
    this.#advance(TaskState.ACCEPTED, "accepted by the node");
    let container = containers.get(this.#id);
    if (container === undefined || container.state.kind === "unknown") {
      if (this.#seenRunning) throw containerLost();
      // Left half made, or its start was cut off.
      await this.#detach(signal);
      await this.#removeContainer(signal);
      container = await this.#create(signal);
    }
    // What has ended meanwhile needs no network.
    if (container.state.kind !== "exited") await this.#attach(container.netnsPath, signal);
    this.#advance(TaskState.READY, "ready to start");
  }

  async #create(signal: AbortSignal): Promise<Container> {
    const { images, volumes, starts, containers, options, nodeId, log } = this.#env;
    const image = this.#assigned.spec?.container?.image ?? "";
    this.#advance(TaskState.PREPARING, `pulling ${image}`);
    const { digest } = await persistently(this.#env, `pulling ${image}`, signal, () =>
      images.pull(image, this.#registryAuth(image), signal),
    );
    const mounts = await volumes.resolve(this.#assigned.spec?.container?.mounts ?? []);
    const spec = runtimeSpec(this.#assigned, { nodeId, mounts, nameServers: options.nameServers });
    const container = await persistently(this.#env, "making a container", signal, () =>
      starts.run(signal, async () => {
        this.#mayExist = true;
        try {
          return containers.put(await this.#env.runtime.create(spec));
        } catch (error) {
          // An earlier call that seemed to fail had made it.
          if (!RuntimeError.is(error, "RUNTIME_ALREADY_EXISTS")) throw error;
          log.info("the container was there already", { task: this.#id });
          const there = (await this.#env.runtime.list()).find(({ id }) => id === this.#id);
          if (there === undefined) throw error;
          return containers.put(there);
        }
      }),
    );
    this.#tell({ imageDigest: digest, containerId: container.id });
    return container;
  }

  /** What the service brought along, else what is stored for the image's registry. */
  #registryAuth(image: string): RegistryAuth | undefined {
    const own = this.#assigned.spec?.registryAuth;
    if (own !== undefined) return own;
    return this.#env.record.registries.get(parseReference(image).registry)?.auth;
  }

  async #attach(netnsPath: string, signal: AbortSignal): Promise<void> {
    const { network, record } = this.#env;
    const { address } = this.#task.local;
    const adopted = await network.opened(signal);
    if (address !== undefined && adopted.has(this.#id)) return;
    // Before the call: whoever comes next knows that there may be something to take back.
    record.setLocal(this.#id, { netnsPath });
    const { networks } = this.#assigned;
    const given = await network.attach({ id: this.#id, address, networks, netnsPath }, signal);
    record.setLocal(this.#id, { address: given });
    this.#tell({ address: given });
  }

  /** False: the start was cut off, and the container is to be made again. */
  async #start(signal: AbortSignal): Promise<boolean> {
    const { containers, record, runtime, starts } = this.#env;
    if (containers.get(this.#id)?.state.kind !== "created") return true;
    const tell = this.#enter(TaskState.STARTING, "starting");
    await record.durable(signal); // I1
    tell();
    await persistently(this.#env, "starting a container", signal, () =>
      starts.run(signal, async () => {
        try {
          await runtime.start(this.#id);
        } catch (error) {
          // An earlier call that seemed to fail had started it.
          if (!RuntimeError.is(error, "RUNTIME_WRONG_STATE")) throw error;
          await containers.refresh();
          if (containers.get(this.#id)?.state.kind === "created") throw error;
        }
      }),
    );
    if (containers.get(this.#id)?.state.kind === "unknown") return false;
    this.#tell({ startedAt: new Date(this.#env.clock.now()) });
    return true;
  }

  /** Whether anybody was told that its process runs. */
  get #seenRunning(): boolean {
    const { state, container } = this.#task.status;
    return state >= TaskState.RUNNING || container?.startedAt !== undefined;
  }

  /** While it runs: probes it and keeps it in use. Resolves when it has ended by itself; throws if it is unhealthy. */
  async #attend(signal: AbortSignal): Promise<void> {
    const { containers } = this.#env;
    if (containers.get(this.#id)?.state.kind === "exited") return;
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const work = [this.#followPid(both), this.#keepInUse(both)];
    try {
      // The work never ends a healthy task's wait, but its failure does.
      const failure = Promise.all(work).then(() => new Promise<never>(() => undefined));
      await Promise.race([containers.ended(this.#id, both), failure]);
    } finally {
      over.abort(new DOMException("the task has ended", "AbortError"));
      await Promise.allSettled(work);
    }
  }

  async #followPid(signal: AbortSignal): Promise<void> {
    const pid = await this.#env.containers.running(this.#id, signal);
    if (this.#task.status.container?.pid !== pid) this.#tell({ pid });
  }

  /** In use once it is healthy. Throws when it no longer is. */
  async #keepInUse(signal: AbortSignal): Promise<void> {
    const check = this.#assigned.spec?.container?.healthCheck;
    if (check === undefined) return this.#enterUse(signal, "running");
    const probe = probeOf(
      check,
      { containerId: this.#id, address: this.#task.local.address ?? "" },
      { runtime: this.#env.runtime, transport: this.#env.probes },
    );
    const { clock } = this.#env;
    const passed = this.#task.status.state === TaskState.RUNNING;
    const startedAt = this.#task.status.container?.startedAt?.getTime() ?? clock.now();
    const startedMsAgo = Math.max(0, clock.now() - startedAt);
    if (!passed) this.#tell({ health: Health.STARTING }, "waits for its first passed probe");
    const healthy = Promise.withResolvers<void>();
    if (passed) healthy.resolve();
    const onOutcome = (outcome: ProbeOutcome): void => {
      if (outcome.healthy) healthy.resolve();
      this.#noteHealth(outcome);
    };
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const entering = abortable(healthy.promise, both).then(() => this.#enterUse(both, "running and healthy"));
    try {
      const watching = watchHealth(clock, { times: healthTimes(check), probe, startedMsAgo, passed, onOutcome }, both);
      const { reason, failures } = await Promise.race([watching, entering.then(() => watching)]);
      throw new AgentError(
        { code: "AGENT_UNHEALTHY", failures },
        `unhealthy: ${failures === 1 ? "a probe" : `${failures} probes in a row`} failed: ${reason}`,
      );
    } finally {
      over.abort(new DOMException("the task is not healthy", "AbortError"));
      await Promise.allSettled([entering]);
    }
  }

  #noteHealth({ healthy, reason }: ProbeOutcome): void {
    if (!healthy) this.#env.metrics.probeFailures.add();
    const { status } = this.#task;
    const waits = status.state < TaskState.RUNNING;
    const failing = waits ? Health.STARTING : Health.UNHEALTHY;
    const failed = waits ? `not yet healthy: ${reason}` : `runs, but a probe failed: ${reason}`;
    const well = waits ? status.message : "running and healthy";
    const [health, message] = healthy ? [Health.HEALTHY, well] : [failing, failed];
    if (status.container?.health !== health || status.message !== message) this.#tell({ health }, message);
  }

  /** Into the balancer here, and only then told: who reads RUNNING reaches it. */
  async #enterUse(signal: AbortSignal, message: string): Promise<void> {
    const { endpoints, clock, options, metrics } = this.#env;
    const { address } = this.#task.local;
    if (address !== undefined) {
      const { serviceId, slot } = this.#assigned;
      endpoints.set(this.#id, { serviceId, slot, address, draining: false });
      if (!(await within(clock, options.balancerWaitMs, endpoints.applied(signal), signal)))
        this.#log.warn("runs, but the balancer does not know it yet");
    }
    if (this.#task.status.state >= TaskState.RUNNING) return;
    this.#advance(TaskState.RUNNING, message);
    metrics.startSeconds.observe((clock.monotonic() - this.#since) / 1_000);
  }

  /** Out of the balancer, stop signal, grace, SIGKILL: whatever of it is still needed. */
  async #end(closing: AbortSignal): Promise<{ readonly ran: boolean; readonly exit: ExitStatus | undefined }> {
    const { containers, endpoints, record, runtime, clock, options } = this.#env;
    const state = containers.get(this.#id)?.state;
    if (state?.kind === "running") {
      // I3. An unhealthy task is no use to those who are connected either.
      if (this.#task.local.verdict === undefined) endpoints.drain(this.#id);
      else endpoints.delete(this.#id);
      await record.durable(closing); // I2
      if (!(await within(clock, options.balancerWaitMs, endpoints.applied(closing), closing)))
        this.#log.warn("is stopped although the balancer may still know it");
      const ended = containers.ended(this.#id, closing);
      const kill = (signal?: string): Promise<void> =>
        persistently(
          this.#env,
          "stopping a container",
          closing,
          async () => {
            if (containers.get(this.#id)?.state.kind === "running") await runtime.kill(this.#id, signal);
          },
          (error) => {
            if (RuntimeError.is(error, "RUNTIME_NOT_FOUND")) containers.forget(this.#id);
            return true;
          },
        );
      await kill();
      const graceMs = this.#assigned.spec?.container?.stopGraceMs ?? defaultGraceMs;
      if (!(await within(clock, graceMs, ended, closing))) await kill("KILL");
      await ended;
    }
    endpoints.delete(this.#id);
    const last = containers.get(this.#id)?.state;
    const ran = this.#ran || last?.kind === "exited";
    return { ran, exit: last?.kind === "exited" ? last.exit : undefined };
  }

  /** Whether its process may have run. */
  get #ran(): boolean {
    const { containers } = this.#env;
    const state = containers.get(this.#id)?.state;
    return state === undefined ? this.#task.status.state >= TaskState.STARTING : state.kind !== "created";
  }

  async #finish(outcome: Outcome, exit: ExitStatus | undefined, closing: AbortSignal): Promise<void> {
    const { record, reporter, clock, metrics } = this.#env;
    const { status } = this.#task;
    const container = { ...(status.container ?? noContainer), pid: 0 };
    record.setStatus(this.#id, {
      ...status,
      ...outcome,
      at: new Date(clock.now()),
      container: {
        ...container,
        ...(exit !== undefined && {
          exitCode: exit.code,
          oomKilled: exit.oomKilled,
          finishedAt: new Date(exit.finishedAt),
        }),
        ...(outcome.code === "AGENT_UNHEALTHY" && { health: Health.UNHEALTHY }),
      },
    });
    this.#changes.tell();
    const state = stateName(outcome.state);
    metrics.ended.add(1, { state });
    this.#log.info("task ended", { state, message: outcome.message, exitCode: exit?.code });
    if (!(await within(clock, writeWaitMs, record.durable(closing), closing)))
      // I5
      this.#log.warn("its end is told although it is not on disk");
    if (this.#task.local.removed !== true) reporter.push(this.#id, this.#task.status);
  }

  /** Interface and address go back, once the end of the task is on disk. */
  async #detach(closing: AbortSignal): Promise<void> {
    const { record, network } = this.#env;
    if (this.#task.local.netnsPath === undefined) return;
    await record.durable(closing);
    await network.detach(this.#id, closing);
    record.setLocal(this.#id, { address: undefined, netnsPath: undefined });
  }

  async #removeContainer(closing: AbortSignal): Promise<void> {
    const { containers, record, runtime } = this.#env;
    if (containers.get(this.#id) === undefined && !this.#mayExist) return;
    await record.durable(closing);
    const remove = (): Promise<void> => runtime.remove(this.#id);
    await persistently(this.#env, `removing container ${this.#id}`, closing, remove, () => true);
    containers.forget(this.#id);
    this.#mayExist = false;
  }

  /** Enters a state before the end, if it lies ahead, and tells. */
  #advance(state: TaskState, message: string): void {
    const { status } = this.#task;
    if (state > status.state) this.#enter(state, message)(); // I4
  }

  /** Enters a state; what it returns tells of it. */
  #enter(state: TaskState, message: string): () => void {
    this.#env.record.setStatus(this.#id, { ...this.#task.status, state, message, at: new Date(this.#env.clock.now()) });
    this.#changes.tell();
    this.#log.debug("task state", { state: stateName(state) });
    return () => {
      if (this.#task.local.removed !== true) this.#env.reporter.push(this.#id, this.#task.status);
    };
  }

  /** Tells more of the same state. */
  #tell(container: Partial<NonNullable<TaskStatus["container"]>>, message = this.#task.status.message): void {
    const { status } = this.#task;
    if (hasEnded(status.state)) return;
    this.#set({ ...status, message, container: { ...(status.container ?? noContainer), ...container } });
  }

  #set(status: TaskStatus): void {
    this.#env.record.setStatus(this.#id, status);
    if (this.#task.local.removed !== true) this.#env.reporter.push(this.#id, status);
    this.#changes.tell();
  }
}

const noContainer: NonNullable<TaskStatus["container"]> = {
  containerId: "",
  pid: 0,
  oomKilled: false,
  address: "",
  startedAt: undefined,
  finishedAt: undefined,
  imageDigest: "",
  health: Health.UNSPECIFIED,
};

function stateName(state: TaskState): string {
  return Object.entries(TaskState).find(([, value]) => value === state)?.[0] ?? String(state);
}
