/** A cluster in a seed: members that run production's code, their machines and network, clients, an operator, faults. */
import { crc32 } from "node:zlib";

import { seededRandom } from "@warren/std/testing";

import { describeConfState, describeMessage } from "../../core/describe.ts";
import { decodeMessages } from "../../transport/wire.ts";
import { Clients } from "./clients.ts";
import { Faults } from "./faults.ts";
import type { Operation } from "./history.ts";
import { Invariants, Violation } from "./invariants.ts";
import { checkLinearizable } from "./linearizability.ts";
import { Machines, type Machine } from "./machines.ts";
import { SimulatedNetwork } from "./network.ts";
import { confStateOf, Operator } from "./operator.ts";
import { planOf, type Plan } from "./plan.ts";
import { Scheduler } from "./scheduler.ts";
import { glance } from "./probe.ts";

/** After the faults ended, how long the cluster has until it is one again, ms: several elections and timeouts. */
const healingMs = 60_000;
/** No run comes near it; one that does turns in circles. */
const mostEvents = 2_000_000;

export interface SimulationOptions {
  /** Takes a line for each thing that happens. */
  readonly trace?: (line: string) => void;
  /** Changes what the seed decides. */
  readonly plan?: Partial<Plan>;
}

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
}

/** Runs the world of a seed to its end. Never rejects for what a member does: that is a violation. */
export async function simulate(seed: number, options: SimulationOptions = {}): Promise<SimulationReport> {
  const world = new World(seed, options);
  return world.run();
}

class World {
  private readonly seed: number;
  private readonly options: SimulationOptions;
  private readonly plan: Plan;
  private readonly scheduler = new Scheduler();
  private readonly invariants = new Invariants();
  private readonly network: SimulatedNetwork;
  private readonly machines: Machines;
  private readonly clients: Clients;
  private readonly operator: Operator;
  private readonly faults: Faults;
  private hash = 0;
  private finished = false;
  private failure: unknown;

  constructor(seed: number, options: SimulationOptions) {
    this.seed = seed;
    this.options = options;
    const random = seededRandom(seed);
    const { scheduler, invariants } = this;
    this.plan = { ...planOf(random), ...options.plan };
    const { plan } = this;
    const note = (what: string): void => this.note(what);
    this.network = new SimulatedNetwork(scheduler, random, {
      sent: (from, m) => {
        if (options.trace !== undefined) this.say(`sent ${describeMessage(m, () => "…")}`);
        invariants.sent(from, m);
      },
      delivered: (from, to, bytes) => this.delivered(from, to, bytes),
    });
    const { network } = this;
    this.machines = new Machines({ scheduler, random, network, invariants, plan, note });
    const { machines } = this;
    this.clients = new Clients(scheduler, random, plan, () => machines.running());
    this.operator = new Operator({ scheduler, random, machines, plan, note });
    const mayLose = (machine: Machine): boolean => this.operator.mayLose(machine);
    this.faults = new Faults({ scheduler, random, network, machines, plan, mayLose, note });
  }

  async run(): Promise<SimulationReport> {
    this.script().catch((error: unknown) => (this.failure ??= error));
    try {
      await this.scheduler.run(Number.POSITIVE_INFINITY, () => this.over());
    } catch (error) {
      this.failure ??= error;
    }
    const { failure, invariants } = this;
    const violation = invariants.violation ?? (failure instanceof Violation ? failure : undefined);
    if (violation === undefined && failure !== undefined) throw failure;
    if (violation === undefined && !this.finished) throw new Error(`seed ${this.seed} came to a standstill`);
    return {
      seed: this.seed,
      plan: this.plan,
      violation,
      hash: this.hash,
      events: this.scheduler.events,
      simulatedMs: this.scheduler.nowMs,
      committed: invariants.lastCommitted,
      history: this.clients.history,
    };
  }

  private over(): boolean {
    if (this.invariants.violation !== undefined || this.finished || this.failure !== undefined) return true;
    this.invariants.check();
    if (this.scheduler.events > mostEvents) throw new Error(`seed ${this.seed} does not end`);
    return false;
  }

  private async script(): Promise<void> {
    const { machines, clients, operator, faults, invariants, plan } = this;
    const voters = [...machines.all.keys()];
    invariants.bootstrapped({ voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false });
    for (const machine of machines.all.values()) machines.start(machine);
    await this.wait(1_500);
    clients.start();
    void this.mind(operator.run());
    void this.mind(faults.run());
    await this.wait(plan.chaosMs);
    clients.stop();
    operator.stop();
    faults.end();
    this.note("healed");
    await this.heal();
    machines.checkFailedWrites();
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

  /** 16. */
  private async heal(): Promise<void> {
    const deadline = this.scheduler.nowMs + healingMs;
    let tidy = false;
    let touched = false;
    let why = "";
    while (this.scheduler.nowMs < deadline) {
      await this.wait(100);
      tidy = (tidy && !this.operator.lossExpected()) || (await this.operator.tidy());
      const leader = this.machines.leader();
      if (!tidy || leader === undefined) {
        why = tidy ? "nobody leads" : "members are not settled";
        continue;
      }
      touched ||= await this.clients.touch(0, leader);
      why = touched ? this.apart(leader) : "a new write is not committed";
      if (why !== "") continue;
      const reads = await Promise.all(
        this.machines.running().map((machine, at) => this.clients.readAll(-1 - at, machine)),
      );
      if (reads.every(Boolean) && this.apart(leader) === "") return;
      why = "reads are not answered";
    }
    for (const machine of this.machines.all.values()) this.say(describeMachine(machine));
    this.invariants.violated(16, `${healingMs} ms after the last fault ${why}`);
  }

  /** What keeps the members from being one cluster; empty if nothing does. */
  private apart(leader: Machine): string {
    if (leader.node === undefined) return "the leader ended";
    const { raft, applied } = glance(leader.node);
    if (!raft.isLeader()) return "the leader stepped down";
    const last = raft.log.lastIndex();
    if (applied !== last) return `the leader has applied ${applied} of ${last}`;
    const { voters, learners } = confStateOf(leader.node);
    for (const id of [...voters, ...learners]) {
      const node = this.machines.all.get(id)?.node;
      if (node === undefined) return `member ${id} does not run`;
      if (node.leadership().leader !== leader.id) return `member ${id} follows another leader`;
      if (glance(node).applied !== last) return `member ${id} has applied ${glance(node).applied} of ${last}`;
    }
    return "";
  }

  /** 14. */
  private judge(): void {
    const verdict = checkLinearizable(this.clients.history);
    if (verdict.linearizable !== false) return;
    const stuck = verdict.stuck.map(({ operation, kind }) => `${kind} ${operation}`).join(", ");
    this.invariants.violated(14, `key ${verdict.key} is not linearizable: none of ${stuck} can come next`);
  }

  private delivered(from: number, to: number, bytes: Uint8Array): void {
    this.hash = crc32(bytes, crc32(`${from} ${to} ${this.scheduler.nowMs}`, this.hash));
    if (this.options.trace === undefined || bytes.length === 0) return;
    for (const m of decodeMessages(bytes)) this.say(`    got ${describeMessage(m, () => "…")}`);
  }

  private note(what: string): void {
    this.hash = crc32(what, this.hash);
    this.say(what);
  }

  private say(what: string): void {
    this.options.trace?.(`${this.scheduler.nowMs.toFixed(2)} ${what}`);
  }

  private wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.scheduler.after(delayMs, resolve));
  }
}

function describeMachine({ id, state, node }: Machine): string {
  if (node === undefined) return `member ${id} is ${state}`;
  const { raft, applied } = glance(node);
  const { log, term, lead, tracker } = raft;
  const configuration = describeConfState(tracker.confState());
  return (
    `member ${id} is ${state}, ${raft.state} of term ${term}, lead ${lead}, applied ${applied}, committed ` +
    `${log.committed}, last ${log.lastIndex()}, on disk below ${log.unstable.offset}, ${configuration}`
  );
}
