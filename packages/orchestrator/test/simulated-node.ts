/**
 * A worker that obeys the lease protocol, with containers that are numbers: it reads what it is assigned, moves each run
 * one state further in a step, follows a run that ended by the rules of `slot`, and reports. Cut off, it goes on with
 * what it holds.
 */
import {
  LeaseState,
  RunEnd,
  TaskState,
  type Lease,
  type RestartPolicy,
  type SlotRecord,
  type TaskStatus,
} from "@warren/api";
import { hasEnded, isUnreleased, leaseKey, type RunKey } from "@warren/api/model";
import { adoptRecord, emptyRecord, nextRun, recordAt, recordStart, withRunCounts } from "@warren/slot";
import type { BootTime, Random } from "@warren/std";
import type { FakeClock } from "@warren/std/testing";
import type { View } from "@warren/store";

/** What a container of an image does. */
export type Behaviour =
  | "run"
  /** Ends with code 1 as soon as it runs. */
  | "crash"
  /** Ends with code 0 as soon as it runs. */
  | "complete"
  | "reject"
  /** Stays in PREPARING. */
  | "stall";

export interface RunSeen extends RunKey {
  readonly taskId: string;
  status: TaskStatus;
}

/** A lease as the node has it. */
export interface HeldLease {
  readonly slotId: string;
  readonly serviceId: string;
  readonly epoch: Lease["epoch"];
  readonly versionId: string;
  readonly address: string;
  readonly image: string;
  state: LeaseState;
  after: Lease["after"];
  policy: RestartPolicy | undefined;
  record: SlotRecord;
  run: RunSeen;
  /** The last few, the newest last (L10). */
  runs: RunSeen[];
  /** What was last reported, as `newsOf` has it. */
  reported: string;
  startedAtMs: number;
  settled: string;
  released: boolean;
}

export interface NodeEnvironment {
  readonly clock: FakeClock;
  readonly random: Random;
  behaviourOf(nodeId: string, image: string): Behaviour;
  /** It does not stop when it is told. */
  isStubborn(taskId: string): boolean;
  taskIdOf(slotId: string, epoch: Lease["epoch"], run: RunKey): string;
}

export class SimulatedNode {
  readonly id: string;
  readonly #environment: NodeEnvironment;
  readonly leases: Map<string, HeldLease> = new Map();
  /** Of the worker process; made at each start. */
  life: number;
  #boot = 1;
  #bootedAt = 0;
  /** Runs of the life so far. */
  #runs = new Map<string, number>();
  connected = true;

  constructor(id: string, environment: NodeEnvironment) {
    this.id = id;
    this.#environment = environment;
    this.life = 1 + environment.random.int(2 ** 31);
  }

  get now(): BootTime {
    const elapsedMs = Math.round(this.#environment.clock.monotonic() - this.#bootedAt);
    return { bootId: `${this.id}/${this.#boot}`, elapsedMs };
  }

  /** Containers that run, as an observer at the machine sees them. */
  get running(): HeldLease[] {
    return [...this.leases.values()].filter(({ run }) => isUp(run.status));
  }

  /** A new worker process: its containers go on, and its further runs are of another life. */
  restartWorker(): void {
    this.life = 1 + this.#environment.random.int(2 ** 31);
    this.#runs.clear();
  }

  /** The machine is booted anew: what ran has ended with it. */
  reboot(): void {
    this.restartWorker();
    const before = this.now;
    this.#boot += 1;
    this.#bootedAt = this.#environment.clock.monotonic();
    for (const lease of this.leases.values()) {
      if (!isUp(lease.run.status)) continue;
      this.#end(
        lease,
        RunEnd.create({ byMachine: true, ranMs: before.elapsedMs, message: "the machine was rebooted" }),
      );
    }
  }

  /** Takes in what the managers' state assigns to this node. */
  receive(view: View): void {
    const assigned = new Set<string>();
    for (const slot of view.find("slots", "node", this.id)) {
      for (const lease of slot.leases) {
        if (lease.nodeId !== this.id || !isUnreleased(lease)) continue;
        const key = leaseKey(slot.meta!.id, lease.epoch);
        assigned.add(key);
        const held = this.leases.get(key);
        const policy = view.get("services", slot.serviceId)?.spec?.task?.restart;
        if (held === undefined) this.#accept(view, slot.meta!.id, slot.serviceId, lease, policy);
        else {
          // L9: runs of the lease before went on counting while this one was only offered.
          if (held.state === LeaseState.OFFERED && lease.state === LeaseState.HELD && lease.initialRecord !== undefined)
            held.record = withRunCounts(recordAt(held.record, this.now), adoptRecord(lease.initialRecord, this.now));
          held.state = lease.state;
          held.after = lease.after;
          held.policy = policy ?? held.policy;
        }
      }
    }
    for (const [key] of this.leases) if (!assigned.has(key)) this.leases.delete(key);
  }

  /** Each lease one state further; false if none moved. */
  step(): boolean {
    let moved = false;
    for (const lease of this.leases.values()) moved = this.#advance(lease) || moved;
    return moved;
  }

  /** Ends the run of a lease as its container would. */
  end(taskId: string, end: RunEnd): void {
    const lease = [...this.leases.values()].find(({ run }) => run.taskId === taskId);
    if (lease === undefined) throw new Error(`${this.id} has no task ${taskId}`);
    this.#end(lease, end);
  }

  #accept(view: View, slotId: string, serviceId: string, lease: Lease, policy: RestartPolicy | undefined): void {
    const version = view.get("versions", lease.versionId);
    // L6: the run that the manager names is of the life to which it was offered, and of no other.
    const isMine = lease.offeredLife === this.life;
    const key = leaseKey(slotId, lease.epoch);
    if (!isMine) this.#runs.set(key, 1);
    const run = this.#runOf(slotId, lease.epoch, isMine ? { life: 0, run: 1 } : { life: this.life, run: 1 });
    this.leases.set(key, {
      slotId,
      serviceId,
      epoch: lease.epoch,
      versionId: lease.versionId,
      address: lease.address,
      image: version?.task?.container?.image ?? "",
      state: lease.state,
      after: lease.after,
      policy,
      record: adoptRecord(lease.initialRecord ?? emptyRecord(), this.now),
      run,
      runs: [run],
      reported: "",
      startedAtMs: 0,
      settled: "",
      released: false,
    });
  }

  #runOf(slotId: string, epoch: Lease["epoch"], key: RunKey): RunSeen {
    const { clock } = this.#environment;
    return {
      ...key,
      taskId: this.#environment.taskIdOf(slotId, epoch, key),
      status: {
        state: TaskState.ASSIGNED,
        at: new Date(clock.now()),
        message: "",
        code: "",
        container: undefined,
        pending: undefined,
      },
    };
  }

  #advance(lease: HeldLease): boolean {
    if (lease.released || lease.settled !== "") return lease.state === LeaseState.RELEASING && this.#stop(lease);
    if (lease.state === LeaseState.RELEASING) return this.#stop(lease);
    const { state } = lease.run.status;
    if (hasEnded(lease.run)) return this.#startNext(lease);
    const behaviour = this.#environment.behaviourOf(this.id, lease.image);
    switch (state) {
      case TaskState.ASSIGNED:
        return this.#enter(lease, TaskState.ACCEPTED);
      case TaskState.ACCEPTED:
        return this.#enter(lease, TaskState.PREPARING);
      case TaskState.PREPARING:
        if (behaviour === "stall") return false;
        if (behaviour !== "reject") return this.#enter(lease, TaskState.READY);
        return this.#end(lease, RunEnd.create({ rejected: true, message: "no such image", code: "IMAGE_MISSING" }));
      case TaskState.READY:
        if (lease.state !== LeaseState.HELD || this.#waitsForOther(lease)) return false;
        lease.record = recordStart(lease.record, this.now);
        lease.startedAtMs = this.now.elapsedMs;
        return this.#enter(lease, TaskState.STARTING);
      case TaskState.STARTING:
        return this.#enter(lease, TaskState.RUNNING);
      default: {
        const ranMs = this.now.elapsedMs - lease.startedAtMs;
        if (behaviour === "crash") return this.#end(lease, RunEnd.create({ exitCode: 1, ranMs }));
        return behaviour === "complete" && this.#end(lease, RunEnd.create({ exitCode: 0, complete: true, ranMs }));
      }
    }
  }

  /** L2: the node makes the hand-over itself, from all leases of the slot that are older. */
  #waitsForOther({ slotId, after, epoch }: HeldLease): boolean {
    if (after === undefined) return false;
    const isBefore = (other: HeldLease): boolean => other.slotId === slotId && other.epoch!.index < epoch!.index;
    return [...this.leases.values()].some((other) => isBefore(other) && !other.released);
  }

  #startNext(lease: HeldLease): boolean {
    const waits = lease.record.waitMs > 0 && lease.record.bootMs + lease.record.waitMs > this.now.elapsedMs;
    if (waits && lease.record.bootId === this.now.bootId) return false;
    const key = leaseKey(lease.slotId, lease.epoch);
    const run = (this.#runs.get(key) ?? 0) + 1;
    this.#runs.set(key, run);
    lease.run = this.#runOf(lease.slotId, lease.epoch, { life: this.life, run });
    lease.runs = [...lease.runs, lease.run].slice(-5);
    return true;
  }

  #stop(lease: HeldLease): boolean {
    if (lease.released || this.#environment.isStubborn(lease.run.taskId)) return false;
    if (!hasEnded(lease.run)) return this.#enter(lease, TaskState.SHUTDOWN);
    lease.released = true;
    return true;
  }

  #end(lease: HeldLease, end: RunEnd): true {
    const { clock, random } = this.#environment;
    const complete = { ...end, taskId: lease.run.taskId, at: new Date(clock.now()) };
    const state = end.rejected ? TaskState.REJECTED : end.complete ? TaskState.COMPLETE : TaskState.FAILED;
    this.#enter(lease, state, end);
    const next = nextRun(lease.policy, lease.record, complete, this.now, random);
    lease.record = next.record;
    if (next.kind === "settled") lease.settled = next.why;
    else if (next.waitMs > 0) clock.setTimeout(() => undefined, next.waitMs);
    return true;
  }

  #enter(lease: HeldLease, state: TaskState, end?: RunEnd): true {
    const now = new Date(this.#environment.clock.now());
    const { container } = lease.run.status;
    const started = state === TaskState.RUNNING ? { startedAt: now, address: lease.address } : {};
    const ended = state >= TaskState.COMPLETE ? { finishedAt: now, exitCode: end?.exitCode } : {};
    lease.run.status = {
      state,
      at: now,
      message: end?.message ?? "",
      code: end?.code ?? "",
      container: {
        containerId: "c",
        pid: 1,
        exitCode: undefined,
        oomKilled: false,
        address: "",
        startedAt: undefined,
        finishedAt: undefined,
        imageDigest: "",
        health: 0,
        ...container,
        ...started,
        ...ended,
      },
      pending: undefined,
    };
    return true;
  }
}

function isUp({ state }: TaskStatus): boolean {
  return state === TaskState.STARTING || state === TaskState.RUNNING;
}
