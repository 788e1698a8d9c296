/** The operator of a simulated cluster: adds, promotes, demotes, exchanges and removes members, one thing at a time; or asks members for elections and snapshots. */
import { errorText, type Random } from "@warren/std";

import { describeConfState } from "../../core/describe.ts";
import type { ConfState } from "../../core/index.ts";
import type { RaftNode } from "../../node/index.ts";
import { RaftError } from "../../errors.ts";
import { encodeAction } from "./machine.ts";
import type { Machine, Machines } from "./machines.ts";
import { nonsense } from "./nonsense.ts";
import type { Plan } from "./plan.ts";
import { levelKey, programs } from "./programs.ts";
import type { Scheduler } from "./scheduler.ts";

/** How long the operator waits for anything, ms. */
const patienceMs = 4_000;
const mostMembers = 7;

export interface OperatorParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly machines: Machines;
  readonly plan: Plan;
  readonly note: (what: string) => void;
  readonly expectRefusal: (refused: boolean, what: string) => void;
}

export class Operator {
  private readonly parts: OperatorParts;
  private stopped = false;
  /** Something was asked for, and its outcome is not known yet. */
  private busy = false;
  private nextId: number;
  private proposals = 0;

  constructor(parts: OperatorParts) {
    this.parts = parts;
    this.nextId = parts.plan.members + 1;
  }

  stop(): void {
    this.stopped = true;
  }

  /**
   * One lost voter at a time, of three at least, and only while every member has applied the same configuration: the
   * others know then that they are a majority, and stay one.
   */
  mayLose(machine: Machine): boolean {
    const { machines } = this.parts;
    const leader = machines.leader();
    if (this.busy || this.stopped || leader?.node === undefined) return false;
    const confState = confStateOf(leader.node);
    const { voters, votersOutgoing, learners } = confState;
    const agreed = [...voters, ...learners].every((id) => {
      const node = machines.all.get(id)?.node;
      return node !== undefined && describeConfState(confStateOf(node)) === describeConfState(confState);
    });
    const settled = agreed && votersOutgoing.length === 0 && !this.lossExpected();
    return settled && voters.length >= 3 && machine.state === "up";
  }

  async run(): Promise<void> {
    const { random, machines, plan } = this.parts;
    while (!this.stopped) {
      await this.wait(200 + random.int(1_000));
      const leader = machines.leader();
      if (leader === undefined || this.stopped) continue;
      if (await this.replaceLost()) continue;
      if (plan.mixedPrograms && (await this.upgrade())) continue;
      if (!plan.troubles.has("membership")) await this.askOnDemand();
      else if (!this.lossExpected()) await this.attempt((node) => this.change(node));
    }
  }

  /** Once in a run: everyone gets the new program, then the new level is made the active one. True while it goes on. */
  private async upgrade(): Promise<boolean> {
    const { machines, random } = this.parts;
    if (machines.upgrade === "mixed" && random.int(6) === 0) machines.upgrade = "under-way";
    if (machines.upgrade !== "under-way") return false;
    if (machines.upgradeAll() && (await this.raiseLevel())) machines.upgrade = "raised";
    return true;
  }

  private async raiseLevel(): Promise<boolean> {
    const value = String(programs.next.level);
    const raise = encodeAction(-++this.proposals, { kind: "put", key: levelKey, value });
    return this.committed(raise);
  }

  /** Removes members that lost their logs, and switches off those that are none any more; true once all is so. */
  async tidy(): Promise<boolean> {
    if (this.busy || (await this.replaceLost())) return false;
    const { machines, plan } = this.parts;
    if (plan.mixedPrograms) {
      machines.upgrade = machines.upgrade === "mixed" || machines.upgrade === "under-way" ? "under-way" : "done";
      if (!machines.upgradeAll()) return false;
      if (machines.upgrade === "under-way" && !(await this.raiseLevel())) return false;
      machines.upgrade = "done";
    }
    const confState = await this.settled();
    if (confState === undefined || confState.votersOutgoing.length > 0) return false;
    const present = new Set([...confState.voters, ...confState.learners]);
    for (const machine of this.parts.machines.all.values()) {
      if (!present.has(machine.id) && machine.state !== "retired") this.parts.machines.retire(machine);
    }
    return true;
  }

  /** Whether a member is lost, or will be found so when it starts. */
  lossExpected(): boolean {
    return [...this.parts.machines.all.values()].some(
      ({ state, damage }) => state === "lost" || (damage !== undefined && state !== "retired"),
    );
  }

  /** True if a member is lost, and was or is to be removed. */
  private async replaceLost(): Promise<boolean> {
    const { machines } = this.parts;
    const lost = [...machines.all.values()].find(({ state }) => state === "lost");
    if (lost === undefined) return false;
    await this.attempt(async (node) => {
      const { voters, votersOutgoing, learners } = confStateOf(node);
      if (![...voters, ...votersOutgoing, ...learners].includes(lost.id)) {
        machines.retire(lost);
        return;
      }
      await node.remove(lost.id);
    });
    return true;
  }

  /** What may be asked of any member at any time; it may stop before it answers. */
  private async askOnDemand(): Promise<void> {
    const { random, machines, note } = this.parts;
    const up = [...machines.all.values()].flatMap(({ node }) => node ?? []);
    const node = up[random.int(Math.max(1, up.length))];
    if (node === undefined) return;
    const calls = {
      campaign: () => node.campaign(),
      takeSnapshot: () => node.takeSnapshot(),
      compact: () => node.compact(),
      changeOptions: async () =>
        node.changeOptions({ snapshotEntries: 10 + random.int(100), trailingEntries: random.int(20) }),
    };
    const asked = (Object.keys(calls) as (keyof typeof calls)[])[random.int(4)] ?? "campaign";
    note(`operator asks member ${node.id} to ${asked}`);
    await Promise.race([
      calls[asked]().catch((error: unknown) => note(`member ${node.id}: ${errorText(error)}`)),
      this.wait(patienceMs),
    ]);
  }

  private async change(node: RaftNode): Promise<void> {
    const { random, machines, plan, note } = this.parts;
    const confState = confStateOf(node);
    const { voters, votersOutgoing, learners, learnersNext } = confState;
    if (random.int(3) === 0) await this.askNonsense(node, confState);
    if (votersOutgoing.length > 0) return;
    // From two voters to one there is a way into a standstill: see "Limits" in DESIGN.md.
    const fewest = Math.max(2, Math.min(3, plan.members));
    const candidates = voters.filter((id) => id !== node.id);
    const victim = candidates[random.int(candidates.length)];
    const learner = learners[random.int(learners.length)];
    const roll = random.int(6);
    note(`operator ${roll} voters ${voters.join()} learners ${learners.join()}`);
    if (roll < 2 && voters.length + learners.length + learnersNext.length < mostMembers) {
      const machine = machines.add(this.nextId++, false);
      machines.start(machine);
      await node.addLearner(machine.member);
    } else if (roll === 2 && learner !== undefined) {
      await node.promote(learner);
    } else if (roll === 3 && victim !== undefined && voters.length > fewest) {
      await node.demote(victim);
    } else if (roll === 4 && victim !== undefined && voters.length > fewest) {
      await node.remove(victim);
    } else if (roll === 5 && victim !== undefined && learner !== undefined) {
      await node.changeMembers([
        { type: "ConfChangeAddNode", nodeId: learner },
        { type: "ConfChangeRemoveNode", nodeId: victim },
      ]);
    }
  }

  /** 0: what can't be applied, or would end the group, is refused by a code, whatever else goes on. */
  private async askNonsense(node: RaftNode, confState: ConfState): Promise<void> {
    const { random, note, expectRefusal } = this.parts;
    const [what, call] = nonsense(random, node, confState);
    note(`operator asks for ${what}`);
    const refused = await call().then(
      () => false,
      (error: unknown) => RaftError.is(error),
    );
    expectRefusal(refused, `member ${node.id} took ${what}`);
  }

  /** Does something through the leader, and whatever came of it, waits until that is decided. */
  private async attempt(work: (node: RaftNode) => Promise<void>): Promise<void> {
    const leader = this.parts.machines.leader();
    if (leader?.node === undefined) return;
    this.busy = true;
    const done = await Promise.race([
      work(leader.node).then(
        () => true,
        () => false,
      ),
      this.wait(patienceMs).then(() => false),
    ]);
    if (!done) while ((await this.settled()) === undefined) await this.wait(100);
    this.busy = false;
  }

  /** Commits something new: whatever was proposed before is in the log before it, or never will be. The configuration then. */
  private async settled(): Promise<ConfState | undefined> {
    const node = this.parts.machines.leader()?.node;
    if (node === undefined) return undefined;
    const mark = encodeAction(-++this.proposals, { kind: "put", key: "operator", value: "" });
    return (await this.committed(mark, node)) && node.leadership().isLeader ? confStateOf(node) : undefined;
  }

  private committed(
    data: Uint8Array,
    node: RaftNode | undefined = this.parts.machines.leader()?.node,
  ): Promise<boolean> {
    if (node === undefined) return Promise.resolve(false);
    return Promise.race([
      node.propose(data).then(
        () => true,
        () => false,
      ),
      this.wait(patienceMs).then(() => false),
    ]);
  }

  private wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.parts.scheduler.after(delayMs, resolve));
  }
}

export function confStateOf(node: RaftNode): ConfState {
  return node.inspect().raft.tracker.confState();
}
