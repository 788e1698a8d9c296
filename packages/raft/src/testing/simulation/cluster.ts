/** Simulated members on their machines and network, watched by the invariants: for a script, or for a seed's world. */
import { crc32 } from "node:zlib";

import { seededRandom } from "@warren/std/testing";
import { errorText, type Random } from "@warren/std";

import { describeConfState, describeMessage } from "../../core/describe.ts";
import { RaftError } from "../../errors.ts";
import type { Hello } from "../../transport/transport.ts";
import { Invariants, Violation } from "./invariants.ts";
import { Machines, type Machine } from "./machines.ts";
import { SimulatedNetwork } from "./network.ts";
import { planOf, type Plan } from "./plan.ts";
import { programs } from "./programs.ts";
import { Scheduler } from "./scheduler.ts";

export interface SimulationOptions {
  /** Takes a line for each thing that happens. */
  readonly trace?: (line: string) => void;
  /** Changes what the seed decides. */
  readonly plan?: Partial<Plan>;
}

export class SimulatedCluster {
  readonly seed: number;
  readonly plan: Plan;
  readonly random: Random;
  readonly scheduler: Scheduler = new Scheduler();
  readonly invariants: Invariants = new Invariants();
  readonly network: SimulatedNetwork;
  readonly machines: Machines;
  /** Of all that was delivered and noted so far. */
  hash = 0;
  private readonly trace: ((line: string) => void) | undefined;

  constructor(seed: number, { trace, plan = {} }: SimulationOptions = {}) {
    this.seed = seed;
    this.trace = trace;
    this.random = seededRandom(seed);
    this.plan = { ...planOf(this.random), ...plan };
    const { scheduler, random, invariants } = this;
    this.network = new SimulatedNetwork(scheduler, random, {
      sent: (from, m) => {
        if (trace !== undefined) this.say(`sent ${describeMessage(m, () => "…")}`);
        invariants.sent(from, m);
      },
      unreadable: (by, error) => this.unreadable(by, error),
      delivered: (from, to, bytes) => this.delivered(from, to, bytes),
    });
    const parts = { scheduler, random, invariants, network: this.network, plan: this.plan };
    this.machines = new Machines({ ...parts, note: (what) => this.note(what) });
    const voters = [...this.machines.all.keys()];
    invariants.bootstrapped({ voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false });
  }

  /** Starts all members. */
  start(): void {
    for (const machine of this.machines.all.values()) this.machines.start(machine);
  }

  /**
   * Lets time pass until `condition` holds, or `ms` are over: whether it held. @throws Violation of an invariant, the
   * first one, whatever the members made of it
   */
  async run(ms: number, condition: () => boolean = () => false): Promise<boolean> {
    const held = await this.scheduler.run(this.scheduler.nowMs + ms, () => {
      const { violation } = this.invariants;
      if (violation !== undefined) throw violation;
      this.check();
      return condition();
    });
    return held;
  }

  /** Work of members, while time passes; undefined if it is not done after `ms`. */
  async settle<T>(work: Promise<T>, ms: number): Promise<T | undefined> {
    let done = false;
    let value: T | undefined;
    let failure: unknown;
    void work
      .then(
        (result) => (value = result),
        (error: unknown) => (failure = error),
      )
      .then(() => (done = true));
    await this.run(ms, () => done);
    if (failure !== undefined) throw failure as Error;
    return value;
  }

  /** Resolves `delayMs` from now; only while time passes. */
  wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.scheduler.after(delayMs, resolve));
  }

  note(what: string): void {
    this.hash = crc32(what, this.hash);
    this.say(what);
  }

  say(what: string): void {
    this.trace?.(`${this.scheduler.nowMs.toFixed(2)} ${what}`);
  }

  private check(): void {
    try {
      this.invariants.check();
    } catch (error) {
      if (error instanceof Violation) throw error;
      this.invariants.violated(10, `what a member holds can't be read: ${errorText(error)}`);
    }
  }

  /** Only a frame of a level above its program's may be refused. */
  private unreadable(by: Hello, error: unknown): void {
    const known = RaftError.is(error, "RAFT_LEVEL_UNREADABLE") && by.level === programs.present.level;
    this.invariants.expect(known, 0, `member ${by.from} can't take a frame: ${errorText(error)}`);
  }

  private delivered(from: number, to: number, bytes: Uint8Array): void {
    this.hash = crc32(bytes, crc32(`${from} ${to} ${this.scheduler.nowMs}`, this.hash));
    if (this.trace === undefined || bytes.length === 0) return;
    for (const m of programs.next.decodeMessages(bytes)) this.say(`    got ${describeMessage(m, () => "…")}`);
  }
}

/** What a member is now, in a line. */
export function describeMachine({ id, state, node }: Machine): string {
  if (node === undefined) return `member ${id} is ${state}`;
  const { raft, applied } = node.inspect();
  const { log, term, lead, tracker } = raft;
  const configuration = describeConfState(tracker.confState());
  return (
    `member ${id} is ${state}, ${raft.state} of term ${term}, lead ${lead}, applied ${applied}, committed ` +
    `${log.committed}, last ${log.lastIndex()}, on disk below ${log.unstable.offset}, ${configuration}`
  );
}
