import { isDeepStrictEqual } from "node:util";
import { TaskState, type RegistryAuth, type TaskStatus } from "@warren/api";
import { firstRun, serviceOfSlot, taskIdOf, type RunKey } from "@warren/api/model";
import { nextRun, recordAt, remainingWait } from "@warren/slot";
import { abortable, Backoff, Changes, delay, type Logger } from "@warren/std";
import type { NodeEnvironment } from "./environment.ts";
import type { LeaseRecord, RunRecord } from "./local-record.ts";
import { registryAuthOf, Run, type Conclusion, type RunMaterial } from "./run.ts";
import { within } from "./waiting.ts";

/** What the managers want of a lease. */
export type DesiredState =
  /** Not known, or not to be applied: what runs goes on, and nothing starts (L12, L14). */
  | "unknown"
  /** To be prepared. */
  | "offered"
  /** To be kept alive. */
  | "held"
  /** To be stopped, or no longer assigned. */
  | "released";

/** What a controller needs from outside its lease. */
export interface LeaseContext {
  desired(key: string): DesiredState;
  /** Whether all earlier leases of its slot that were held on this node are released (L2). */
  mayFollow(key: string): boolean;
  /** Notified when a result of the other methods may have changed. */
  readonly changes: Changes;
  /** Whether the record can drop the released lease: it is unassigned, and its release stored or of no interest. */
  isForgotten(key: string): boolean;
}

/**
 * Controls one lease, with or without a manager (L6): prepares a run while the lease is offered; starts run after run,
 * by the rules of `slot`, while it is held; stops the run when it is released.
 *
 * I1 Only the worker that made a run starts it. Run (0, 1) is made only in the life that received the offer; all others
 *    are (life, n). So no id is used twice, even after the disk was set back.
 * I2 That a lease is releasing is on disk before its run is stopped, and is never reverted.
 * I3 When the machine goes down the run is stopped and the lease stays held: the next boot's worker goes on with it.
 */
export class LeaseController {
  readonly key: string;
  readonly #env: NodeEnvironment;
  readonly #context: LeaseContext;
  readonly #log: Logger;
  /** Aborted when the lease is to be released. */
  readonly #release = new AbortController();
  readonly #dropped: Backoff;
  readonly #atRest = Promise.withResolvers<void>();
  #current: Run | undefined;
  #runsOfLife = 0;
  #firstUsed = false;
  /** What the image was pulled with last; undefined: this worker has not tried. */
  #tried: { readonly login: RegistryAuth | undefined } | undefined;

  /** @param key of a lease in the record */
  constructor(env: NodeEnvironment, context: LeaseContext, key: string) {
    this.key = key;
    this.#env = env;
    this.#context = context;
    this.#log = env.log.child({ lease: key });
    this.#dropped = new Backoff(env.random);
  }

  /** Resolves when its last run has ended, because it is released or the machine goes down. */
  get atRest(): Promise<void> {
    return this.#atRest.promise;
  }

  /** The present run. */
  get current(): Run | undefined {
    return this.#current;
  }

  /** Begins the release if the managers want it now. */
  reconcile(): void {
    if (this.#lease.local.stage !== undefined || this.#context.desired(this.key) === "released") this.#beginRelease();
  }

  /** Resolves when the lease is forgotten. Rejects when `closing` aborts, and leaves the lease as it is. */
  async run(closing: AbortSignal): Promise<void> {
    const { record, reporter } = this.#env;
    this.reconcile();
    if (this.#lease.local.stage !== "released") {
      await this.#adoptRuns(closing);
      await this.#runUntilReleased(closing);
      await this.#stop(closing);
    }
    this.#atRest.resolve();
    if (this.#lease.local.stage !== "released") await abortable(new Promise<never>(() => undefined), closing); // I3
    reporter.push(this.key);
    await this.#context.changes.until(() => this.#context.isForgotten(this.key) || undefined, closing);
    record.deleteLease(this.key);
    reporter.drop(this.key);
  }

  get #lease(): LeaseRecord {
    return this.#env.record.lease(this.key);
  }

  /** I2 */
  #beginRelease(): void {
    const { record, reporter } = this.#env;
    if (this.#lease.local.stage === undefined) {
      record.setLease(this.key, { stage: "releasing" });
      reporter.push(this.key);
    }
    this.#release.abort(new DOMException(`lease ${this.key} is released`, "AbortError"));
  }

  /** Adopts the newest run that an earlier worker left, if it runs; concludes all others. */
  async #adoptRuns(closing: AbortSignal): Promise<void> {
    const runs = this.#env.record.runsOf(this.key).map(({ id }) => new Run(this.#env, id));
    const newest = runs.at(-1);
    for (const run of runs) {
      run.dropUnstarted();
      if (run === newest && !run.ended && run.local.verdict === undefined) this.#current = run;
      else await this.#conclude(run, closing);
    }
    await this.#trim(closing);
  }

  /** Run after run, until the lease is to be released or the machine goes down. */
  async #runUntilReleased(closing: AbortSignal): Promise<void> {
    const { goingDown } = this.#env;
    const signal = AbortSignal.any([closing, this.#release.signal, goingDown]);
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#lease.local.settled !== undefined) await abortable(new Promise<never>(() => undefined), signal);
        this.#current ??= await this.#makeRun(signal);
        await this.#runToEnd(this.#current, signal, closing);
        this.#current = undefined;
      }
    } catch (error) {
      closing.throwIfAborted();
      if (!this.#release.signal.aborted && !goingDown.aborted) throw error;
    }
  }

  /** One run, from its preparation to its conclusion. */
  async #runToEnd(run: Run, signal: AbortSignal, closing: AbortSignal): Promise<void> {
    try {
      if (run.isOfThisLife) {
        const material = await this.#material(signal);
        this.#tried = { login: this.#login };
        await run.prepare(material, signal);
        await this.#mayStart(signal);
        await run.start(signal);
        await run.monitor(material.version, signal);
      } else await run.monitor(this.#version, signal);
    } catch (error) {
      signal.throwIfAborted();
      run.fail(error);
    }
    await this.#conclude(run, closing);
    await this.#trim(closing);
  }

  async #conclude(run: Run, closing: AbortSignal): Promise<void> {
    const count = (conclusion: Conclusion): void => {
      if (this.#isCounted(run)) this.#count(conclusion);
    };
    await run.conclude(() => this.#policyKnown(closing), count, closing);
  }

  /**
   * L7: an end is counted by restart policy and record. Resolves when both are known, the lease is released, or the
   * machine goes down.
   */
  async #policyKnown(closing: AbortSignal): Promise<void> {
    const isKnown = (): true | undefined => {
      const { restart, recordLost } = this.#lease.local;
      return (recordLost !== true && (this.#service ?? restart) !== undefined) || undefined;
    };
    try {
      await this.#context.changes.until(isKnown, AbortSignal.any([closing, this.#release.signal, this.#env.goingDown]));
    } catch {
      closing.throwIfAborted();
    }
  }

  /**
   * L12: a run that was rebuilt from its container was counted before, unless it is the newest and not the last end.
   */
  #isCounted(run: Run): boolean {
    if (run.local.found !== true) return true;
    const isNewest = this.#env.record.runsOf(this.key).at(-1)?.id === run.id;
    return isNewest && this.#lease.record.lastEnd?.taskId !== run.id;
  }

  /** The lease's version; undefined while it is not assigned. */
  get #version(): RunMaterial["version"] | undefined {
    return this.#env.record.assigned.of("version").get(this.#lease.local.versionId);
  }

  /** Resolves when everything that a run is made from is assigned. */
  async #material(signal: AbortSignal): Promise<RunMaterial> {
    const version = await this.#context.changes.until(() => this.#version, signal);
    return { version };
  }

  async #makeRun(signal: AbortSignal): Promise<Run> {
    const { record, boot, clock } = this.#env;
    await this.#context.changes.until(() => (this.#context.desired(this.key) === "unknown" ? undefined : true), signal);
    const { lastEnd } = this.#lease.record;
    // A rejected run's successor waits before its preparation; every other prepares first and then waits to start.
    if (lastEnd?.rejected === true) await this.#waitOutOrLogin(signal);
    const { version } = await this.#material(signal);
    const runKey = this.#nextKey();
    const id = taskIdOf(this.#lease.local.slotId, this.#lease.local.epoch, runKey);
    const container = version.task?.container;
    const local = {
      lease: this.key,
      slotId: this.#lease.local.slotId,
      ...runKey,
      serviceName: this.#service?.name ?? "",
      image: container?.image ?? "",
      memoryLimitBytes: version.task?.resources?.memoryLimitBytes ?? 0,
      ...(container?.stopGraceMs !== undefined && { graceMs: container.stopGraceMs }),
    };
    record.addRun(id, local, newStatus(clock.now()));
    record.setSlotRecord(this.key, recordAt(this.#lease.record, boot()));
    this.#env.reporter.push(this.key);
    return new Run(this.#env, id);
  }

  /** I1 */
  #nextKey(): RunKey {
    const { offeredLife } = this.#lease.local;
    if (offeredLife === this.#env.life && !this.#firstUsed && this.#runsOfLife === 0) {
      this.#firstUsed = true;
      return firstRun;
    }
    this.#runsOfLife += 1;
    return { life: this.#env.life, run: this.#runsOfLife };
  }

  /** Resolves when the lease is held, its predecessors are released, and the wait after its last run is over. */
  async #mayStart(signal: AbortSignal): Promise<void> {
    const { changes } = this.#context;
    for (;;) {
      await changes.until(() => (this.#isItsTurn ? true : undefined), signal);
      await this.#waitOut(signal);
      if (this.#isItsTurn) return;
    }
  }

  get #isItsTurn(): boolean {
    return this.#context.desired(this.key) === "held" && this.#context.mayFollow(this.key);
  }

  /** L7: waits in boot time, which includes sleep and ignores the wall clock. */
  async #waitOut(signal: AbortSignal): Promise<void> {
    const { clock, boot } = this.#env;
    for (;;) {
      const waitMs = remainingWait(this.#lease.record, boot());
      if (waitMs <= 0) return;
      await delay(clock, waitMs, signal);
    }
  }

  /** As `#waitOut`; another login than was tried last ends the wait, since what was refused may be had with it. */
  async #waitOutOrLogin(signal: AbortSignal): Promise<void> {
    const tried = this.#tried ?? { login: this.#login };
    const over = new AbortController();
    const either = AbortSignal.any([signal, over.signal]);
    const isAnother = (): true | undefined => (isDeepStrictEqual(this.#login, tried.login) ? undefined : true);
    try {
      await Promise.race([this.#waitOut(either), this.#context.changes.until(isAnother, either)]);
    } finally {
      over.abort(new DOMException("the wait is over", "AbortError"));
    }
    const { record, boot } = this.#env;
    if (isAnother() === true) record.setSlotRecord(this.key, { ...recordAt(this.#lease.record, boot()), waitMs: 0 });
  }

  /** With which its image is pulled. */
  get #login(): RegistryAuth | undefined {
    const version = this.#version;
    return version === undefined ? undefined : registryAuthOf(this.#env.record, version);
  }

  get #service(): { readonly name: string; readonly restart: Parameters<typeof nextRun>[0] } | undefined {
    return this.#env.record.assigned.of("service").get(serviceOfSlot(this.#lease.local.slotId));
  }

  /** Counts a run's end in the slot's record. */
  #count({ end, kind }: Conclusion): void {
    const { record, boot, random } = this.#env;
    const before = this.#lease.record;
    if (kind === "released") {
      record.setSlotRecord(this.key, { ...recordAt(before, boot()), waitMs: 0, lastEnd: end });
      return;
    }
    if (kind === "dropped") {
      // A wait that is under way goes on; back-off slows down a runtime that keeps losing containers.
      const now = recordAt(before, boot());
      record.setSlotRecord(this.key, { ...now, waitMs: Math.max(now.waitMs, Math.round(this.#dropped.next())) });
      return;
    }
    this.#dropped.reset();
    const next = nextRun(this.#service?.restart ?? this.#lease.local.restart, before, end, boot(), random);
    record.setSlotRecord(this.key, next.record);
    if (next.kind === "settled") {
      record.setLease(this.key, { settled: next.why });
      this.#log.info("settled", { why: next.why });
    }
  }

  /**
   * Removes the lease from names and balancer, waits until all nodes have done so, then stops the run (L8). The lease is
   * released then, unless it is the machine that goes down (I3).
   */
  async #stop(closing: AbortSignal): Promise<void> {
    const { record, clock, endpoints, options } = this.#env;
    const isReleased = this.#release.signal.aborted;
    const run = this.#current;
    if (run !== undefined) {
      if (isReleased) run.stop();
      if (run.runs && endpoints.drain(this.key)) {
        await within(clock, options.balancerWaitMs, endpoints.applied(closing), closing);
        await delay(clock, options.leaveMs, closing);
      }
      await this.#conclude(run, closing);
      await this.#trim(closing);
      this.#current = undefined;
    }
    endpoints.forget(this.key);
    if (!isReleased) return;
    record.setLease(this.key, { stage: "released" });
    this.#context.changes.notify();
    this.#log.info("released");
  }

  /** Removes ended runs but the last `keptRuns`, which are kept for their logs. */
  async #trim(closing: AbortSignal): Promise<void> {
    const { record, options } = this.#env;
    const old = record.runsOf(this.key).slice(0, -options.keptRuns);
    for (const { id } of old.filter(isOver)) {
      await new Run(this.#env, id).removeContainer(closing);
      record.deleteRun(id);
    }
  }
}

function isOver({ status, local }: RunRecord): boolean {
  return status.state > TaskState.RUNNING && local.netnsPath === undefined;
}

function newStatus(at: number): TaskStatus {
  return {
    state: TaskState.ASSIGNED,
    at: new Date(at),
    message: "",
    code: "",
    container: undefined,
    pending: undefined,
  };
}
