import { isDeepStrictEqual } from "node:util";
import { TaskState, type RegistryAuth, type TaskStatus } from "@warren/api";
import { firstRun, serviceOfSlot, taskIdOf, type RunKey } from "@warren/api/model";
import { nextRun, recordAt, remainingWait } from "@warren/slot";
import { abortable, Backoff, Changes, delay, type Logger } from "@warren/std";
import type { NodeEnvironment } from "./environment.ts";
import type { LeaseRecord, RunRecord } from "./local-record.ts";
import { registryAuthOf, Run, type Conclusion, type RunMaterial } from "./run.ts";
import { within } from "./waiting.ts";

/** What the managers want of a lease, as far as this node may obey. */
export type Wish =
  /** Nothing is known, or may be obeyed: what runs goes on, and nothing starts (L12, L14). */
  | "unknown"
  /** To be prepared. */
  | "offered"
  /** To be kept alive. */
  | "held"
  /** To be stopped, or no longer assigned. */
  | "released";

/** What a controller asks of the other leases of its node. */
export interface LeaseSurroundings {
  wish(key: string): Wish;
  /** Whether a lease that was held for its slot here has ended, so that this one may take over (L2). */
  mayFollow(key: string): boolean;
  /** Something that `wish` or `mayFollow` depends on has changed. */
  readonly changes: Changes;
  /** Whether a manager has asked for this lease by now, or ever will again. */
  isForgotten(key: string): boolean;
}

/**
 * Keeps one lease alive: prepares it while it is offered, has run after run while it is held, by the rules of `slot`,
 * connected or not (L6), and ends it when it is released.
 *
 * I1 A run is started by the worker that made it. Run (0, 1) is made only in the life that received the offer; every
 *    other is (life, n), so that no disk, old or new, names one twice.
 * I2 That a lease is releasing is on disk before anything of it ends, and is not taken back.
 */
export class LeaseController {
  readonly key: string;
  readonly #env: NodeEnvironment;
  readonly #around: LeaseSurroundings;
  readonly #log: Logger;
  /** Aborted when the lease is to be released. */
  readonly #release = new AbortController();
  readonly #dropped: Backoff;
  #current: Run | undefined;
  #runsOfLife = 0;
  #firstUsed = false;
  /** What the image was pulled with last; undefined: this worker has not tried. */
  #tried: { readonly login: RegistryAuth | undefined } | undefined;

  /** The lease is in the record. */
  constructor(env: NodeEnvironment, around: LeaseSurroundings, key: string) {
    this.key = key;
    this.#env = env;
    this.#around = around;
    this.#log = env.log.child({ lease: key });
    this.#dropped = new Backoff(env.random);
  }

  /** The run that it has now. */
  get current(): Run | undefined {
    return this.#current;
  }

  /** Looks at what the managers want now. */
  look(): void {
    if (this.#lease.local.stage !== undefined || this.#around.wish(this.key) === "released") this.#beginRelease();
  }

  /** Resolves when nothing of the lease is left to do. Rejects when `closing` aborts, and leaves the lease as it is. */
  async run(closing: AbortSignal): Promise<void> {
    const { record, reporter } = this.#env;
    this.look();
    if (this.#lease.local.stage !== "released") {
      await this.#takeUp(closing);
      await this.#live(closing);
      await this.#stop(closing);
    }
    reporter.push(this.key);
    await this.#around.changes.until(() => this.#around.isForgotten(this.key) || undefined, closing);
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

  /** Of the runs that an earlier worker left, the newest goes on if it runs; all others end. */
  async #takeUp(closing: AbortSignal): Promise<void> {
    const runs = this.#env.record.runsOf(this.key).map(({ id }) => new Run(this.#env, id));
    const newest = runs.at(-1);
    for (const run of runs) {
      run.judgeLeft();
      if (run === newest && !run.ended && run.local.verdict === undefined) this.#current = run;
      else await this.#conclude(run, closing);
    }
    await this.#trim(closing);
  }

  /** Run after run, until the lease is to be released. */
  async #live(closing: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([closing, this.#release.signal]);
    try {
      for (;;) {
        signal.throwIfAborted();
        if (this.#lease.local.settled !== undefined) await abortable(new Promise<never>(() => undefined), signal);
        this.#current ??= await this.#makeRun(signal);
        await this.#lead(this.#current, signal, closing);
        this.#current = undefined;
      }
    } catch (error) {
      closing.throwIfAborted();
      if (!this.#release.signal.aborted) throw error;
    }
  }

  /** One run, to its end. */
  async #lead(run: Run, signal: AbortSignal, closing: AbortSignal): Promise<void> {
    try {
      if (run.isOfThisLife) {
        const material = await this.#material(signal);
        this.#tried = { login: this.#login };
        await run.prepare(material, signal);
        await this.#mayStart(signal);
        await run.start(signal);
        await run.attend(material.version, signal);
      } else await run.attend(this.#version, signal);
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
    await run.conclude(() => this.#judgeable(closing), count, closing);
  }

  /** L7: an end counts by the slot's policy and its record: it waits until both are known, or the lease is released. */
  async #judgeable(closing: AbortSignal): Promise<void> {
    const isKnown = (): true | undefined => {
      const { restart, recordLost } = this.#lease.local;
      return (recordLost !== true && (this.#service ?? restart) !== undefined) || undefined;
    };
    try {
      await this.#around.changes.until(isKnown, AbortSignal.any([closing, this.#release.signal]));
    } catch {
      closing.throwIfAborted();
    }
  }

  /** L12: of runs that were found by their containers all but the newest had been counted, and that one perhaps. */
  #isCounted(run: Run): boolean {
    if (run.local.found !== true) return true;
    const isNewest = this.#env.record.runsOf(this.key).at(-1)?.id === run.id;
    return isNewest && this.#lease.record.lastEnd?.taskId !== run.id;
  }

  /** What is known of the version that a lease is of. */
  get #version(): RunMaterial["version"] | undefined {
    return this.#env.record.assigned.of("version").get(this.#lease.local.versionId);
  }

  /** Resolves when all that a run is made from is there. */
  async #material(signal: AbortSignal): Promise<RunMaterial> {
    const version = await this.#around.changes.until(() => this.#version, signal);
    return { version };
  }

  async #makeRun(signal: AbortSignal): Promise<Run> {
    const { record, boot, clock } = this.#env;
    await this.#around.changes.until(() => (this.#around.wish(this.key) === "unknown" ? undefined : true), signal);
    const { lastEnd } = this.#lease.record;
    // What could not be prepared is not prepared again before its time; what has run is, while it waits for its start.
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

  /** Resolves when the lease is held, its turn has come, and the wait after its last run is over. */
  async #mayStart(signal: AbortSignal): Promise<void> {
    const { changes } = this.#around;
    for (;;) {
      await changes.until(() => (this.#isItsTurn ? true : undefined), signal);
      await this.#waitOut(signal);
      if (this.#isItsTurn) return;
    }
  }

  get #isItsTurn(): boolean {
    return this.#around.wish(this.key) === "held" && this.#around.mayFollow(this.key);
  }

  /** L7: by boot time, so that sleep counts and a wrong wall clock does not. */
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
      await Promise.race([this.#waitOut(either), this.#around.changes.until(isAnother, either)]);
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

  /** What a run's end means for the slot. */
  #count({ end, kind }: Conclusion): void {
    const { record, boot, random } = this.#env;
    const before = this.#lease.record;
    if (kind === "released") {
      record.setSlotRecord(this.key, { ...recordAt(before, boot()), waitMs: 0, lastEnd: end });
      return;
    }
    if (kind === "dropped") {
      // What it waited for is waited for on; and a runtime that keeps losing containers is not hurried.
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

  /** Out of names and balancer; then, once no node leads there any more, the run ends (L8). */
  async #stop(closing: AbortSignal): Promise<void> {
    const { record, clock, endpoints, options } = this.#env;
    const run = this.#current;
    if (run !== undefined) {
      run.stop();
      if (run.runs && endpoints.drain(this.key)) {
        await within(clock, options.balancerWaitMs, endpoints.applied(closing), closing);
        await delay(clock, options.leaveMs, closing);
      }
      await this.#conclude(run, closing);
      await this.#trim(closing);
      this.#current = undefined;
    }
    endpoints.forget(this.key);
    record.setLease(this.key, { stage: "released" });
    this.#around.changes.notify();
    this.#log.info("released");
  }

  /** Of the runs that have ended the last few stay, for their logs. */
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
