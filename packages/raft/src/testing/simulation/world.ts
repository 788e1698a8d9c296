/** The world of a seed: a cluster with clients, an operator and faults, then without faults, and what came of it. */
import { Clients } from "./clients.ts";
import { describeMachine, SimulatedCluster, type SimulationOptions } from "./cluster.ts";
import { Faults } from "./faults.ts";
import type { Operation } from "./history.ts";
import { Violation } from "./invariants.ts";
import { checkLinearizable } from "./linearizability.ts";
import type { Machine } from "./machines.ts";
import { confStateOf, Operator } from "./operator.ts";
import type { Plan } from "./plan.ts";
import type { Program } from "./programs.ts";

/** After the faults ended, how long the cluster has until it is one again, ms: several elections and timeouts. */
const healingMs = 60_000;
/** No run comes near it; one that does turns in circles. */
const mostEvents = 2_000_000;

export interface SimulationReport {
  readonly seed: number;
  readonly plan: Plan;
  /** The invariant that was broken, first of all, if any was. */
  readonly violation: Violation | undefined;
  /** Of all that was delivered, written and applied: equal for equal seeds and code. */
  readonly hash: number;
  readonly events: number;
  readonly simulatedMs: number;
  /** Entries that were committed. */
  readonly committed: number;
  readonly history: readonly Operation[];
  /** With members of two programs: which of them led, and how often the old one was refused once the level was raised. */
  readonly led: ReadonlySet<Program>;
  readonly oldProgramsRefused: number;
  /** How often the power failed, by the kind of point: `during` or `after` an operation of a disk. */
  readonly powerCuts: ReadonlyMap<string, number>;
  /** What the checker says of the history; undefined if it gave up, or the run ended before it was asked. */
  readonly linearizable: boolean | undefined;
}

/** Runs the world of a seed to its end. Never rejects for what a member does: that is a violation. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationReport> {
  const world = new World(seed, options);
  return world.run();
}

class World {
  private readonly cluster: SimulatedCluster;
  private readonly clients: Clients;
  private readonly operator: Operator;
  private readonly faults: Faults;
  private finished = false;
  private linearizable: boolean | undefined;
  private failure: unknown;

  constructor(seed: number, options: SimulationOptions) {
    this.cluster = new SimulatedCluster(seed, options);
    const { scheduler, random, network, machines, plan } = this.cluster;
    const note = (what: string): void => this.cluster.note(what);
    this.clients = new Clients(scheduler, random, plan, () => machines.running());
    const expectRefusal = (refused: boolean, what: string): void => this.cluster.invariants.expect(refused, 0, what);
    this.operator = new Operator({ scheduler, random, machines, plan, note, expectRefusal });
    const mayLose = (machine: Machine): boolean => this.operator.mayLose(machine);
    this.faults = new Faults({ scheduler, random, network, machines, plan, mayLose, note });
  }

  async run(): Promise<SimulationReport> {
    const { seed, plan, scheduler, invariants } = this.cluster;
    void this.mind(this.script());
    try {
      await this.cluster.run(Number.POSITIVE_INFINITY, () => this.over());
    } catch (error) {
      this.failure ??= error;
    }
    const { failure } = this;
    const violation = invariants.violation ?? (failure instanceof Violation ? failure : undefined);
    if (violation === undefined && failure !== undefined) throw failure;
    if (violation === undefined && !this.finished) throw new Error(`seed ${seed} came to a standstill`);
    return {
      seed,
      plan,
      violation,
      hash: this.cluster.hash,
      events: scheduler.events,
      simulatedMs: scheduler.nowMs,
      committed: invariants.lastCommitted,
      history: this.clients.history,
      led: this.cluster.machines.led,
      oldProgramsRefused: this.cluster.machines.oldProgramsRefused,
      powerCuts: this.cluster.machines.powerCuts,
      linearizable: this.linearizable,
    };
  }

  private over(): boolean {
    if (this.cluster.scheduler.events > mostEvents) throw new Error(`seed ${this.cluster.seed} does not end`);
    return this.finished || this.failure !== undefined;
  }

  private async script(): Promise<void> {
    const { cluster, clients, operator, faults } = this;
    faults.begin();
    cluster.start();
    await cluster.wait(1_500);
    clients.start();
    void this.mind(operator.run());
    void this.mind(faults.run());
    void this.mind(this.watchStalls());
    await cluster.wait(cluster.plan.chaosMs);
    clients.stop();
    operator.stop();
    faults.end();
    cluster.note("healed");
    await this.heal();
    cluster.machines.checkFailedWrites();
    this.judge();
    this.finished = true;
  }

  private async mind(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.failure ??= error;
    }
  }

  /** 0: a leader whose disk or state machine stalls gives way, within a few ticks of its limit. */
  private async watchStalls(): Promise<void> {
    const { cluster } = this;
    const { stallMs = 0, tickMs = 0 } = cluster.plan.options;
    const graceMs = 5 * tickMs;
    /** Since when, and in which term, a member leads though it is late. */
    const since = new Map<number, { readonly term: number; readonly atMs: number }>();
    while (!this.finished) {
      await cluster.wait(tickMs);
      const { nowMs } = cluster.scheduler;
      for (const { id, node, process } of cluster.machines.running()) {
        if (node === undefined) continue;
        // One that is stopped has no ticks to notice it by.
        const awake = (process?.stoppedUntilMs ?? 0) + graceMs < nowMs;
        const { term, isLeader } = node.leadership();
        if (!awake || !isLeader || node.inspect().busyMs < stallMs + graceMs) {
          since.delete(id);
          continue;
        }
        // It may have been handed the office while it stalls; it has some ticks to see it.
        const known = since.get(id);
        if (known?.term !== term) since.set(id, { term, atMs: nowMs });
        else cluster.invariants.expect(nowMs - known.atMs < graceMs, 0, `member ${id} leads on, though it stalls`);
      }
    }
  }

  /** 16. */
  private async heal(): Promise<void> {
    const { cluster, operator, clients } = this;
    const { scheduler, machines, invariants } = cluster;
    const deadline = scheduler.nowMs + healingMs;
    let tidy = false;
    let touched = false;
    let why = "";
    while (scheduler.nowMs < deadline) {
      await cluster.wait(100);
      tidy = (tidy && !operator.lossExpected()) || (await operator.tidy());
      const leader = machines.leader();
      if (!tidy || leader === undefined) {
        why = tidy ? "nobody leads" : "members are not settled";
        continue;
      }
      touched ||= await clients.touch(0, leader);
      why = touched ? this.apart(leader) : "a new write is not committed";
      if (why !== "") continue;
      const reads = await Promise.all(machines.running().map((machine, at) => clients.readAll(-1 - at, machine)));
      if (reads.every(Boolean) && this.apart(leader) === "") return;
      why = "reads are not answered";
    }
    for (const machine of machines.all.values()) cluster.say(describeMachine(machine));
    invariants.violated(16, `${healingMs} ms after the last fault ${why}`);
  }

  /** What keeps the members from being one cluster; empty if nothing does. */
  private apart(leader: Machine): string {
    if (leader.node === undefined) return "the leader ended";
    const { raft, applied } = leader.node.inspect();
    if (!raft.isLeader()) return "the leader stepped down";
    const last = raft.log.lastIndex();
    if (applied !== last) return `the leader has applied ${applied} of ${last}`;
    const { voters, learners } = confStateOf(leader.node);
    for (const id of [...voters, ...learners]) {
      const node = this.cluster.machines.all.get(id)?.node;
      if (node === undefined) return `member ${id} does not run`;
      if (node.leadership().leader !== leader.id) return `member ${id} follows another leader`;
      if (node.inspect().applied !== last) return `member ${id} has applied ${node.inspect().applied} of ${last}`;
    }
    return "";
  }

  /** 14. */
  private judge(): void {
    const verdict = checkLinearizable(this.clients.history);
    this.linearizable = verdict.linearizable;
    if (verdict.linearizable !== false) return;
    const stuck = verdict.stuck.map(({ operation, kind }) => `${kind} ${operation}`).join(", ");
    this.cluster.invariants.violated(14, `key ${verdict.key} is not linearizable: none of ${stuck} can come next`);
  }
}
