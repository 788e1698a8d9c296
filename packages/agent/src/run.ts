import { Health, TaskState, type RunEnd, type TaskStatus, type Version } from "@warren/api";
import { defaultStopGraceMs, hasEnded, slotName, keyOfSlot, taskStateText } from "@warren/api/model";
import {
  RuntimeError,
  parseReference,
  type ContainerStatus as Container,
  type ExitStatus,
  type ImageConfig,
  type RegistryAuth,
} from "@warren/runtime";
import { recordStart } from "@warren/slot";
import { abortable, Changes, type Logger } from "@warren/std";
import { runtimeSpec } from "./container-spec.ts";
import type { NodeEnvironment } from "./environment.ts";
import { AgentError } from "./errors.ts";
import { healthOf, watchHealth, type ProbeOutcome } from "./health.ts";
import type { OnProgress } from "./images.ts";
import type { LeaseLocal, LocalRecord, RunLocal, RunRecord } from "./local-record.ts";
import { isByMachine, notStarted, outcomeOf, verdictOf, type Outcome } from "./outcome.ts";
import { probeOf } from "./probes.ts";
import { resolverOf } from "./resolver.ts";
import { persistently, within } from "./waiting.ts";

/** Durations in wall and boot time that differ by more than this show that the wall clock was set, ms. */
const clockSetMs = 5_000;
/** Between two reports of how far a pull is: a fifth of the time that it has taken, within these bounds. */
const pullReportMs = { least: 1_000, most: 10_000 };

/** The assigned objects that a run is made from. */
export interface RunMaterial {
  readonly version: Version;
}

/**
 * The end of a run, for the slot's record. `ended`: by itself or by its machine; `released`: its lease is released;
 * `dropped`: it was never started, which does not count.
 */
export interface Conclusion {
  readonly end: RunEnd;
  readonly kind: "ended" | "released" | "dropped";
}

/**
 * One run of a container under a lease, made by this worker or adopted from an earlier one. The container's id is the
 * task's.
 *
 * I1 A process starts only after its lease, its address and state STARTING are on disk: the next worker adopts it, and
 *    starts no run that an earlier worker made (L6).
 * I2 The reason for a stop is on disk before the stop begins, so that the next worker reports the same reason.
 * I3 A run gets new connections only from its first healthy state to the decision to stop it.
 * I4 The reported state only moves forward.
 */
export class Run {
  readonly id: string;
  readonly #env: NodeEnvironment;
  readonly #lease: string;
  readonly #log: Logger;
  readonly #changes = new Changes();
  /** When this object was created, in monotonic time. */
  readonly #since: number;
  /** A call to create the container was made, so it may exist. */
  #mayExist = false;
  /** It was killed after its grace. */
  #outlivedGrace = false;
  /** It had not ended when its machine began to go down. */
  #stoppedWithMachine = false;

  /** @param id of a run in the record, whose lease is there too */
  constructor(env: NodeEnvironment, id: string) {
    this.#env = env;
    this.id = id;
    const { lease, serviceName } = env.record.run(id).local;
    this.#lease = lease;
    const { slotId } = this.#leaseLocal;
    this.#log = env.log.child({ task: id, slot: slotName({ serviceName, slot: keyOfSlot(slotId) }) });
    this.#since = env.clock.monotonic();
  }

  get status(): TaskStatus {
    return this.#record.status;
  }

  get local(): RunLocal {
    return this.#record.local;
  }

  get ended(): boolean {
    return hasEnded({ status: this.status });
  }

  /** Whether this worker's life made the run; only that life starts it. */
  get isOfThisLife(): boolean {
    const { life } = this.local;
    return life === this.#env.life || (life === 0 && this.#leaseLocal.offeredLife === this.#env.life);
  }

  /** Whether its process runs. */
  get runs(): boolean {
    return this.#env.containers.get(this.id)?.state.kind === "running";
  }

  /** Resolves when the container exists, with false if the run ended without one. */
  hasContainer(signal: AbortSignal): Promise<boolean> {
    return this.#changes.until(() => {
      if (this.#env.containers.get(this.id) !== undefined) return true;
      return !this.#env.record.runs.has(this.id) || this.ended ? false : undefined;
    }, signal);
  }

  /** Sets a verdict on a run that an earlier worker prepared and never started. */
  dropUnstarted(): void {
    if (!this.isOfThisLife && this.local.verdict === undefined && this.local.stopRequested !== true && !this.ended) {
      const state = this.#env.containers.get(this.id)?.state.kind;
      const begun = state === "running" || state === "exited" || this.#seenRunning;
      if (!begun) this.#setVerdict(notStarted("the worker restarted before it was started"));
    }
  }

  /** Pulls the image, creates the container and attaches the interface, as far as they are missing. */
  async prepare({ version }: RunMaterial, signal: AbortSignal): Promise<void> {
    const { containers } = this.#env;
    signal.throwIfAborted();
    this.#advance(TaskState.ACCEPTED, "accepted by the node");
    let container = containers.get(this.id);
    if (container === undefined) container = await this.#create(version, signal);
    if (container.state.kind === "unknown") throw notStarted("the runtime lost its container before it was started");
    await this.#attach(container.netnsPath, version.networks, signal);
    this.#advance(TaskState.READY, "ready to start");
  }

  /** Starts the process. */
  async start(signal: AbortSignal): Promise<void> {
    const { containers, record, runtime, starts, boot } = this.#env;
    const now = boot();
    record.setSlotRecord(this.#lease, recordStart(record.lease(this.#lease).record, now));
    record.setRun(this.id, { bootId: now.bootId, startedMs: now.elapsedMs });
    this.#advance(TaskState.STARTING, "starting");
    await record.durable(signal); // I1
    await persistently(this.#env, "starting a container", signal, () =>
      starts.run(signal, async () => {
        try {
          await runtime.start(this.id);
        } catch (error) {
          // An earlier call whose outcome was unknown had started it.
          if (!RuntimeError.is(error, "RUNTIME_WRONG_STATE")) throw error;
          await containers.refresh();
          if (containers.get(this.id)?.state.kind === "created") throw error;
        }
      }),
    );
    if (containers.get(this.id)?.state.kind === "unknown")
      throw notStarted("the runtime lost its container in its start");
    this.#update({ startedAt: new Date(this.#env.clock.now()) });
  }

  /**
   * Probes the run and keeps it in the balancer. Resolves when it has ended by itself; throws if it is unhealthy.
   *
   * @param version undefined after a loss of the record: nothing is probed
   */
  async monitor(version: Version | undefined, signal: AbortSignal): Promise<void> {
    const { containers } = this.#env;
    if (containers.get(this.id)?.state.kind !== "running" && !this.isOfThisLife) return;
    if (containers.get(this.id)?.state.kind === "exited") return;
    if (this.#leaseLocal.foreign === true) return void (await containers.ended(this.id, signal));
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const work = [this.#followPid(both), this.#attachLeft(version, both).then(() => this.#keepInUse(version, both))];
    try {
      // Only a failure of the work ends the wait.
      const failure = Promise.all(work).then(() => new Promise<never>(() => undefined));
      await Promise.race([containers.ended(this.id, both), failure]);
    } finally {
      over.abort(new DOMException("the run has ended", "AbortError"));
      await Promise.allSettled(work);
    }
  }

  /** Records the reason for which this worker will stop the run (I2). */
  fail(error: unknown): void {
    this.#setVerdict(error);
  }

  /** Records that the run is stopped because its lease is released (I2). */
  stop(): void {
    if (this.local.verdict === undefined && this.local.stopRequested !== true)
      this.#env.record.setRun(this.id, { stopRequested: true });
  }

  /**
   * Stops the run if it has not ended (balancer, stop signal, grace, SIGKILL), stores its end, and removes interface
   * and flows. A container that has run is kept for its log.
   *
   * @param policyKnown resolves when the end can be counted
   * @param count counts the end in the slot's record, in the same write as the end
   */
  async conclude(
    policyKnown: () => Promise<void>,
    count: (conclusion: Conclusion) => void,
    closing: AbortSignal,
  ): Promise<void> {
    if (!this.ended) {
      // A run that had ended by itself before keeps its own outcome.
      this.#stoppedWithMachine = this.#env.goingDown.aborted && (this.runs || !this.#ran);
      const { ran, exit } = await this.#end(closing);
      await policyKnown();
      this.#finish(ran, exit, count);
    }
    await this.#detach(closing);
    if (this.#env.containers.get(this.id)?.state.kind !== "exited") await this.removeContainer(closing);
  }

  async removeContainer(closing: AbortSignal): Promise<void> {
    const { containers, record, runtime } = this.#env;
    if (containers.get(this.id) === undefined && !this.#mayExist) return;
    await record.durable(closing);
    const remove = (): Promise<void> => runtime.remove(this.id);
    await persistently(this.#env, `removing container ${this.id}`, closing, remove, () => true);
    containers.forget(this.id);
    this.#mayExist = false;
    this.#changes.notify();
  }

  get #record(): RunRecord {
    return this.#env.record.run(this.id);
  }

  get #leaseLocal(): LeaseLocal {
    return this.#env.record.lease(this.#lease).local;
  }

  /** Whether the record says that its process has run. */
  get #seenRunning(): boolean {
    const { state, container } = this.status;
    return state >= TaskState.RUNNING || container?.startedAt !== undefined;
  }

  /** Whether its process may have run. */
  get #ran(): boolean {
    const state = this.#env.containers.get(this.id)?.state;
    return state === undefined || state.kind === "unknown" ? this.#seenRunning : state.kind !== "created";
  }

  /** Whether it started in an earlier boot of the machine. */
  get #ofEarlierBoot(): boolean {
    const { bootId } = this.local;
    return bootId !== undefined && bootId !== this.#env.boot().bootId && !this.runs;
  }

  #setVerdict(error: unknown): void {
    const { record } = this.#env;
    if (this.local.verdict === undefined) record.setRun(this.id, { verdict: verdictOf(error, this.#ran) });
  }

  async #create(version: Version, signal: AbortSignal): Promise<Container> {
    const { images, volumes, starts, containers, options, record, nodeId, log } = this.#env;
    const { slotId, epoch, versionId, address, incarnation } = this.#leaseLocal;
    const { networks } = version;
    const { dns, upstreams: nameServers } = resolverOf(version.task?.container?.dns, networks, options);
    const { life, run, serviceName } = this.local;
    const spec = version.task?.container;
    const asked = spec?.image ?? "";
    this.#advance(TaskState.PREPARING, `pulling ${asked}`);
    const image = await persistently(this.#env, `pulling ${asked}`, signal, () =>
      images.obtain(asked, version.imageDigest, registryAuthOf(record, version), signal, this.#pullReports()),
    );
    record.setLease(this.#lease, { imageDigest: image.digest, networks, nameServers });
    const { healthcheck } = await this.#configOf(image.ref, signal);
    if (healthcheck !== undefined) record.setRun(this.id, { imageHealthcheck: healthcheck });
    const mounts = await volumes.resolve(spec?.mounts ?? []);
    const lease = { slotId, epoch, versionId, address, networks, nameServers, nodeId, incarnation };
    const labels = { taskId: this.id, serviceName, life, run, bootId: this.#env.boot().bootId, ...lease };
    const made = runtimeSpec(version.task, { run: labels, image: image.ref, mounts, dns });
    const container = await persistently(this.#env, "making a container", signal, () =>
      starts.run(signal, async () => {
        this.#mayExist = true;
        try {
          return containers.put(await images.withRoom(signal, () => this.#env.runtime.create(made)));
        } catch (error) {
          // An earlier call whose outcome was unknown had created it.
          if (!RuntimeError.is(error, "RUNTIME_ALREADY_EXISTS")) throw error;
          log.info("the container was there already", { task: this.id });
          const there = (await this.#env.runtime.list()).find(({ id }) => id === this.id);
          if (there === undefined) throw error;
          return containers.put(there);
        }
      }),
    );
    this.#update({ imageDigest: image.digest, containerId: container.id });
    return container;
  }

  /** Takes how far a pull is, and reports it from time to time: each report is written to disk, here and by managers. */
  #pullReports(): OnProgress {
    const { clock, record, reporter } = this.#env;
    const begun = clock.monotonic();
    let dueMs = begun + pullReportMs.least;
    return ({ doneBytes, totalBytes }) => {
      const now = clock.monotonic();
      if (now < dueMs || this.ended) return;
      dueMs = now + Math.min(pullReportMs.most, Math.max(pullReportMs.least, (now - begun) / 5));
      record.setStatus(this.id, { ...this.status, pull: { doneBytes, totalBytes } });
      reporter.push(this.#lease);
    };
  }

  async #attach(netnsPath: string, networks: readonly string[], signal: AbortSignal): Promise<void> {
    const { network, record } = this.#env;
    const { address, nameServers = [] } = this.#leaseLocal;
    const adopted = await network.opened(signal);
    if (this.local.netnsPath !== undefined && adopted.has(this.id)) return this.#noteAddress();
    // Before the call, so that the next worker knows that the interface may exist.
    record.setRun(this.id, { netnsPath });
    try {
      await network.attach({ id: this.id, address, networks, nameServers, netnsPath }, signal);
    } catch (cause) {
      signal.throwIfAborted();
      throw new AgentError(
        { code: "AGENT_NETWORK_FAILED", address },
        `its interface with address ${address} can't be made`,
        {
          cause,
        },
      );
    }
    this.#noteAddress();
  }

  #noteAddress(): void {
    const { address } = this.#leaseLocal;
    if (this.status.container?.address !== address) this.#update({ address });
  }

  /** Attaches the interface of an adopted run again if it is gone. */
  async #attachLeft(version: Version | undefined, signal: AbortSignal): Promise<void> {
    const container = this.#env.containers.get(this.id);
    if (this.isOfThisLife || container?.state.kind !== "running") return;
    await this.#attach(container.netnsPath, version?.networks ?? this.#leaseLocal.networks ?? [], signal);
  }

  async #followPid(signal: AbortSignal): Promise<void> {
    const pid = await this.#env.containers.running(this.id, signal);
    if (this.status.container?.pid !== pid) this.#update({ pid });
  }

  /** Puts the run into the balancer once it is healthy. Throws when it is unhealthy. */
  async #keepInUse(version: Version | undefined, signal: AbortSignal): Promise<void> {
    // Without its version, after a loss of the record, nothing is probed.
    const wanted = version && healthOf(version.task?.container?.healthCheck, this.local.imageHealthcheck);
    if (wanted === undefined) return this.#enterUse(signal, "running");
    const { check, times, ofImage } = wanted;
    const { clock, runtime, probes } = this.#env;
    const target = { containerId: this.id, address: this.#leaseLocal.address };
    const probe = probeOf(check, target, { runtime, transport: probes });
    const passed = this.status.state === TaskState.RUNNING;
    const whose = ofImage ? " of its image's health check" : "";
    if (!passed) this.#update({ health: Health.STARTING }, `waits for its first passed probe${whose}`);
    const healthy = Promise.withResolvers<void>();
    if (passed) healthy.resolve();
    const onOutcome = (outcome: ProbeOutcome): void => {
      if (outcome.healthy) healthy.resolve();
      this.#noteHealth(outcome, times.retries);
    };
    const over = new AbortController();
    const both = AbortSignal.any([signal, over.signal]);
    const entering = abortable(healthy.promise, both).then(() => this.#enterUse(both, "running and healthy"));
    try {
      const watching = watchHealth(clock, { times, probe, startedMsAgo: this.#ranMs(), passed, onOutcome }, both);
      const { reason, failures } = await Promise.race([watching, entering.then(() => watching)]);
      throw new AgentError(
        { code: "AGENT_UNHEALTHY", failures },
        `unhealthy: ${failures === 1 ? "a probe" : `${failures} probes in a row`}${whose} failed: ${reason}`,
      );
    } finally {
      over.abort(new DOMException("the run is not healthy", "AbortError"));
      await Promise.allSettled([entering]);
    }
  }

  #configOf(ref: string, signal: AbortSignal): Promise<ImageConfig> {
    return persistently(this.#env, `reading what ${ref} says`, signal, () => this.#env.images.configOf(ref));
  }

  /** How long its process has run, in boot time. */
  #ranMs(exit?: ExitStatus): number {
    const { bootId, startedMs } = this.local;
    const now = this.#env.boot();
    const startedAt = this.status.container?.startedAt?.getTime();
    const most = bootId === now.bootId && startedMs !== undefined ? now.elapsedMs - startedMs : undefined;
    // A wall clock that was set meanwhile is ignored (L7).
    const wallMs = startedAt === undefined ? undefined : this.#env.clock.now() - startedAt;
    const wasSet = most !== undefined && wallMs !== undefined && Math.abs(wallMs - most) > clockSetMs;
    // An end while no worker ran has only its wall time; boot time bounds the result.
    const byWall = exit === undefined || startedAt === undefined || wasSet ? undefined : exit.finishedAt - startedAt;
    return Math.max(0, Math.min(most ?? byWall ?? 0, byWall ?? most ?? 0));
  }

  #noteHealth({ healthy, reason, failures }: ProbeOutcome, retries: number): void {
    const { metrics, endpoints } = this.#env;
    if (!healthy) metrics.probeFailures.add();
    endpoints.setHealth(this.#lease, Math.max(0, retries - failures) / retries);
    const waits = this.status.state < TaskState.RUNNING;
    const failing = waits ? Health.STARTING : Health.UNHEALTHY;
    const failed = waits ? `not yet healthy: ${reason}` : `runs, but a probe failed: ${reason}`;
    const well = waits ? this.status.message : "running and healthy";
    const [health, message] = healthy ? [Health.HEALTHY, well] : [failing, failed];
    if (this.status.container?.health !== health || this.status.message !== message) this.#update({ health }, message);
  }

  /** Puts the run into this node's balancer, and then reports RUNNING, so that a RUNNING task can be reached. */
  async #enterUse(signal: AbortSignal, message: string): Promise<void> {
    const { endpoints, clock, options, metrics } = this.#env;
    const { slotId, address } = this.#leaseLocal;
    endpoints.set(this.#lease, { slotId, address, draining: false, health: 1 });
    if (!(await within(clock, options.balancerWaitMs, endpoints.applied(signal), signal)))
      this.#log.warn("runs, but is not in the balancer yet");
    if (this.status.state >= TaskState.RUNNING) return;
    this.#advance(TaskState.RUNNING, message);
    metrics.startSeconds.observe((clock.monotonic() - this.#since) / 1_000);
  }

  async #end(closing: AbortSignal): Promise<{ readonly ran: boolean; readonly exit: ExitStatus | undefined }> {
    const { containers, endpoints, record, clock, options } = this.#env;
    if (this.runs) {
      // I3. An unhealthy run loses its open connections too.
      if (this.local.verdict === undefined) endpoints.drain(this.#lease);
      else endpoints.delete(this.#lease);
      await record.durable(closing); // I2
      if (!(await within(clock, options.balancerWaitMs, endpoints.applied(closing), closing)))
        this.#log.warn("is stopped, but may still be in the balancer");
      await this.#kill(undefined, closing);
      const graceMs = this.local.graceMs ?? defaultStopGraceMs;
      if (!(await within(clock, graceMs, containers.ended(this.id, closing), closing)))
        await this.#kill("KILL", closing);
      await containers.ended(this.id, closing);
    }
    endpoints.delete(this.#lease);
    const last = containers.get(this.id)?.state;
    return { ran: this.#ran, exit: last?.kind === "exited" ? last.exit : undefined };
  }

  /**
   * Sends a signal. An unknown stop signal, which the runtime refuses, is only logged: SIGKILL follows after the grace.
   */
  async #kill(signal: "KILL" | undefined, closing: AbortSignal): Promise<void> {
    const { containers, runtime } = this.#env;
    await persistently(
      this.#env,
      "stopping a container",
      closing,
      async () => {
        if (!this.runs) return;
        try {
          await runtime.kill(this.id, signal);
          if (signal === "KILL") this.#outlivedGrace = true;
        } catch (error) {
          if (signal !== undefined || !RuntimeError.is(error, "RUNTIME_SPEC_INVALID")) throw error;
          this.#log.warn("its stop signal can't be sent: SIGKILL follows after its grace", { error });
        }
      },
      (error) => {
        if (RuntimeError.is(error, "RUNTIME_NOT_FOUND")) containers.forget(this.id);
        return true;
      },
    );
  }

  #finish(ran: boolean, exit: ExitStatus | undefined, count: (conclusion: Conclusion) => void): void {
    const { record, reporter, clock, metrics } = this.#env;
    const { verdict, stopRequested = false } = this.local;
    const memoryLimitBytes = this.local.memoryLimitBytes ?? 0;
    const outlivedGraceMs = this.#outlivedGrace ? (this.local.graceMs ?? defaultStopGraceMs) : undefined;
    const earlierBoot = this.#ofEarlierBoot;
    const outcome = outcomeOf({
      memoryLimitBytes,
      verdict,
      stopRequested,
      ran,
      earlierBoot,
      goingDown: this.#stoppedWithMachine,
      exit,
      outlivedGraceMs,
    });
    const at = new Date(clock.now());
    const container = { ...(this.status.container ?? noContainer), pid: 0 };
    // The end and its count are written together.
    record.setStatus(this.id, {
      ...this.status,
      ...outcome,
      at,
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
    const released = stopRequested && verdict === undefined;
    const kind = verdict?.kind === "dropped" ? "dropped" : released ? "released" : "ended";
    count({ end: this.#endOf(outcome, exit, at), kind });
    this.#changes.notify();
    const state = taskStateText(outcome.state);
    metrics.ended.add(1, { state });
    this.#log.info("run ended", { state, message: outcome.message, exitCode: exit?.code });
    reporter.push(this.#lease);
  }

  #endOf(outcome: Outcome, exit: ExitStatus | undefined, at: Date): RunEnd {
    return {
      taskId: this.id,
      at,
      exitCode: exit?.code,
      oomKilled: exit?.oomKilled ?? false,
      code: outcome.code,
      message: outcome.message,
      ranMs: Math.round(this.#ranMs(exit)),
      byMachine: isByMachine(outcome),
      complete: outcome.state === TaskState.COMPLETE,
      rejected: outcome.state === TaskState.REJECTED,
    };
  }

  /** Removes interface and flows once the end of the run is on disk (L8). */
  async #detach(closing: AbortSignal): Promise<void> {
    const { record, network } = this.#env;
    if (this.local.netnsPath === undefined) return;
    await record.durable(closing);
    await network.detach(this.id, this.#leaseLocal.address, closing);
    record.setRun(this.id, { netnsPath: undefined });
  }

  /** Moves forward to a state before the end, and reports it. */
  #advance(state: TaskState, message: string): void {
    if (state <= this.status.state) return; // I4
    this.#env.record.setStatus(this.id, {
      ...this.status,
      state,
      message,
      at: new Date(this.#env.clock.now()),
      pull: undefined,
    });
    this.#env.reporter.push(this.#lease);
    this.#changes.notify();
    this.#log.debug("task state", { state: taskStateText(state) });
  }

  /** Reports more details of the same state. */
  #update(container: Partial<NonNullable<TaskStatus["container"]>>, message = this.status.message): void {
    if (this.ended) return;
    const before = this.status.container ?? noContainer;
    this.#env.record.setStatus(this.id, {
      ...this.status,
      message,
      container: { ...before, ...container },
      pull: undefined,
    });
    this.#env.reporter.push(this.#lease);
    this.#changes.notify();
  }
}

/** The login that the spec names, else what is stored for the image's registry. */
export function registryAuthOf(
  { assigned }: Pick<LocalRecord, "assigned">,
  { task }: Version,
): RegistryAuth | undefined {
  const name = task?.registryLogin ?? "";
  const registry = name === "" ? parseReference(task?.container?.image ?? "").registry : name;
  return assigned.of("registry").get(registry)?.auth;
}

export const noContainer: NonNullable<TaskStatus["container"]> = {
  containerId: "",
  pid: 0,
  oomKilled: false,
  address: "",
  startedAt: undefined,
  finishedAt: undefined,
  imageDigest: "",
  health: Health.UNSPECIFIED,
};
