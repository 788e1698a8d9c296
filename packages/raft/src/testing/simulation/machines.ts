/** Simulated machines: each a disk, a clock, and the member that runs on them, from start to crash to start. */
import { errorText, WarrenError, type Random } from "@warren/std";

import { RaftError } from "../../errors.ts";
import { startRaftNode, type RaftNode } from "../../node/index.ts";
import { openLogStorage, type RaftStorage } from "../../storage/index.ts";
import type { Member } from "../../transport/transport.ts";
import type { Damage } from "./damage.ts";
import { SimulatedDisk } from "./disk.ts";
import type { Invariants } from "./invariants.ts";
import { RegisterMachine } from "./machine.ts";
import type { SimulatedNetwork } from "./network.ts";
import type { Plan } from "./plan.ts";
import { levelKey, programs, type Program } from "./programs.ts";
import { MachineClock, Process, type Scheduler } from "./scheduler.ts";

export class Machine {
  readonly member: Member;
  readonly clock: MachineClock;
  /** Whether it is one of the first, which make the cluster, or joined later. */
  readonly founder: boolean;
  disk: SimulatedDisk;
  process: Process | undefined;
  /** Present while it runs. */
  node: RaftNode | undefined;
  registers: RegisterMachine | undefined;
  /** `lost`: its log is gone or damaged, and it is to be replaced; `retired`: nobody starts it again. */
  state: "down" | "up" | "lost" | "retired" = "down";
  damage: Damage | undefined;
  /** A fault was put in for which its member may stop. */
  blamed = false;
  /** The program that it runs, or ran last. */
  program: Program = "present";
  /** Until when its state machine takes its time. */
  wedgedUntilMs = 0;

  constructor(member: Member, clock: MachineClock, founder: boolean, disk: SimulatedDisk) {
    this.member = member;
    this.clock = clock;
    this.founder = founder;
    this.disk = disk;
  }

  get id(): number {
    return this.member.id;
  }
}

/** What damage may be refused as. */
const refusals = new Set([
  "RAFT_LOG_CORRUPT",
  "RAFT_LOG_HOLE",
  "RAFT_LOG_TAIL_LOST",
  "RAFT_STATE_CORRUPT",
  "RAFT_SNAPSHOT_CORRUPT",
  "RAFT_JOURNAL_CORRUPT",
  "RAFT_LEVEL_UNREADABLE",
]);

export interface MachinesParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly invariants: Invariants;
  readonly plan: Plan;
  readonly note: (what: string) => void;
}

export class Machines {
  readonly all: Map<number, Machine> = new Map();
  /** How far the cluster has come to run the next program alone. `raised`: its level is the active one. */
  upgrade: "mixed" | "under-way" | "raised" | "done" = "mixed";
  /** Programs that led, and how often the old one was refused after the level was raised. */
  readonly led: Set<Program> = new Set();
  oldProgramsRefused = 0;
  /** How often the power failed during or after each kind of operation of a disk. */
  readonly powerCuts: Map<string, number> = new Map();
  private readonly parts: MachinesParts;
  private readonly founders: readonly Member[];
  /** Processes whose log refused a write: they must end. */
  private readonly failedWrites = new Set<Process>();

  constructor(parts: MachinesParts) {
    this.parts = parts;
    this.founders = Array.from({ length: parts.plan.members }, (_, at) => memberOf(at + 1));
    for (const { id } of this.founders) this.add(id, true);
  }

  running(): Machine[] {
    return [...this.all.values()].filter(({ node, state }) => node !== undefined && state === "up");
  }

  /** The one that leads in the highest term. */
  leader(): Machine | undefined {
    let found: Machine | undefined;
    for (const machine of this.running()) {
      const leadership = machine.node?.leadership();
      if (leadership?.isLeader !== true) continue;
      if (found === undefined || leadership.term > (found.node as RaftNode).leadership().term) found = machine;
    }
    return found;
  }

  /** Starts every member that runs the old program again with the new one; true once none is left. */
  upgradeAll(): boolean {
    const old = this.running().filter(({ program }) => program === "present");
    for (const machine of old) {
      this.crash(machine, false);
      this.start(machine);
    }
    const ran = [...this.all.values()].filter(({ state }) => state !== "retired");
    return ran.every(({ node, program }) => node !== undefined && program === "next");
  }

  add(id: number, founder: boolean): Machine {
    const { scheduler, random, plan } = this.parts;
    const rate = 1 + (2 * random.next() - 1) * plan.drift;
    const machine = new Machine(memberOf(id), new MachineClock(scheduler, rate), founder, this.newDisk(id));
    this.all.set(id, machine);
    return machine;
  }

  /** Starts a member, if it is down. */
  start(machine: Machine): void {
    if (machine.process !== undefined || machine.state === "retired") return;
    const process = new Process();
    machine.process = process;
    machine.blamed = machine.disk.full || machine.state === "lost";
    this.parts.note(`start ${machine.id}`);
    // What it throws is kept as a violation.
    this.boot(machine, process)
      .catch((error: unknown) => this.refused(machine, process, error))
      .catch(() => undefined);
  }

  /** Ends a member abruptly, as `kill -9` does, or by cutting its machine's power. */
  crash(machine: Machine, power: boolean): void {
    this.parts.note(`crash ${machine.id} power=${power}`);
    machine.process?.kill();
    this.gone(machine);
    machine.disk.crash(power);
  }

  /** The power of a process's machine fails, unless that would undo a loss that its member is to notice. */
  private cutPower(process: Process): boolean {
    const { scheduler, random } = this.parts;
    const machine = [...this.all.values()].find((one) => one.process === process);
    if (machine === undefined || machine.damage !== undefined) return false;
    if (machine.state !== "up" && machine.state !== "down") return false;
    this.crash(machine, true);
    scheduler.after(50 + random.int(1_000), () => {
      if (machine.state === "down") this.start(machine);
    });
    return true;
  }

  /** Gives a member an empty disk. */
  wipe(machine: Machine): void {
    this.crash(machine, true);
    this.parts.note(`wipe ${machine.id}`);
    machine.disk = this.newDisk(machine.id);
    machine.state = "lost";
  }

  retire(machine: Machine): void {
    if (machine.process !== undefined) this.crash(machine, false);
    machine.state = "retired";
  }

  /** 15: a member that could not write has ended. */
  checkFailedWrites(): void {
    for (const machine of this.all.values()) {
      const { process } = machine;
      const goesOn = process?.alive === true && this.failedWrites.has(process) && machine.node !== undefined;
      this.parts.invariants.expect(!goesOn, 15, `member ${machine.id} goes on though its log could not be written`);
    }
  }

  private get isRaised(): boolean {
    return this.upgrade === "raised" || this.upgrade === "done";
  }

  private nextProgram(): Program {
    const { plan, random } = this.parts;
    if (!plan.mixedPrograms) return "present";
    if (this.upgrade === "mixed") return random.int(2) === 0 ? "present" : "next";
    // Now and then somebody starts the old one again.
    return this.upgrade === "raised" && random.int(2) === 0 ? "present" : "next";
  }

  private newDisk(id: number): SimulatedDisk {
    const { scheduler, random, plan, invariants } = this.parts;
    const disk: SimulatedDisk = new SimulatedDisk(scheduler, random, plan.journal, {
      durable: () => invariants.written(id, disk),
      notDurable: (key) =>
        invariants.violated(15, `member ${id} has ${JSON.stringify(key)} synced, and not on its disk`),
      failed: (process) => void this.failedWrites.add(process),
      powerCut: (process) => this.cutPower(process),
      cutAt: (point) => void this.powerCuts.set(point, (this.powerCuts.get(point) ?? 0) + 1),
    });
    disk.syncMs = plan.syncMs;
    invariants.addDisk(id, disk);
    return disk;
  }

  private async boot(machine: Machine, process: Process): Promise<void> {
    const { scheduler, random, network, invariants, plan } = this.parts;
    const { id, disk } = machine;
    machine.program = this.nextProgram();
    const formats = programs[machine.program];
    const expected = machine.damage === undefined ? disk.readableState() : undefined;
    const log = await openLogStorage(disk.mount(process), {
      clusterId: "simulation",
      nodeId: id,
      newIncarnation: () => String(random.int(2 ** 32)),
      cacheBytes: plan.cacheBytes,
      levels: formats,
    });
    const storage = invariants.watched(id, log, (step) => disk.after(process, step));
    const { term, vote } = storage.initialState().hardState;
    const last = storage.lastIndex();
    if (expected !== undefined) {
      const opened = `a log to ${last}, of term ${term}, vote ${vote}`;
      const found = `a log to ${expected.last}, of term ${expected.term}, vote ${expected.vote}`;
      invariants.expect(opened === found, 15, `member ${id} opened ${opened}; on its disk is ${found}`);
    }
    let running: RaftNode | undefined;
    const follow = (): void => {
      const level = registers.state.get(levelKey);
      // Before it runs, its storage says the level.
      if (level === undefined || running === undefined || running.activeLevel === Number(level)) return;
      running.setActiveLevel(Number(level)).catch(() => undefined);
    };
    const registers: RegisterMachine = new RegisterMachine(
      {
        applied: (index, data, result) => {
          if (process.alive) invariants.applied(id, index, data, result);
          follow();
        },
        restored: (image) => {
          invariants.restored(id, image, newestIndex(storage));
          follow();
        },
      },
      () => {
        const leftMs = machine.wedgedUntilMs - scheduler.nowMs;
        const pauseMs = leftMs > 0 ? leftMs : random.int(8) === 0 ? random.next() * 3 : 0;
        if (pauseMs === 0) return undefined;
        return new Promise((resolve) => scheduler.after(pauseMs, resolve, process));
      },
    );
    // A lone founder that lost its disk and founds again has a cluster of its own, and nobody can tell: not to be done.
    const founds = machine.founder && !(machine.state === "lost" && this.founders.length === 1);
    const first = founds ? { bootstrap: this.founders } : { join: this.founders };
    const node = await startRaftNode(
      {
        clock: machine.clock.of(process),
        random,
        storage,
        transport: network.transport(process),
        fsm: registers,
        formats,
        probe: invariants.probe(id),
        defer: (run) => void scheduler.after(0, run, process),
      },
      { ...plan.options, ...first },
    );
    invariants.expect(machine.damage === undefined, 15, `member ${id} did not notice ${machine.damage}`);
    invariants.started(id, node, storage);
    running = node;
    follow();
    node.onLeadership(({ isLeader }) => isLeader && this.led.add(machine.program));
    machine.node = node;
    machine.registers = registers;
    if (machine.state !== "lost") machine.state = "up";
    node.done.then((error) => this.ended(machine, process, error)).catch(() => undefined);
  }

  /** A member ended by itself. */
  private ended(machine: Machine, process: Process, error: RaftError | undefined): void {
    if (machine.process !== process) return;
    const { note, invariants, scheduler, random } = this.parts;
    note(`ended ${machine.id} ${error?.message ?? ""}`);
    const blamed = machine.blamed || machine.state !== "up";
    process.kill();
    this.gone(machine);
    const text = `member ${machine.id} stopped: ${errorText(error)}`;
    invariants.expect(error === undefined || blamed, 0, text);
    machine.disk.crash(random.int(2) === 0);
    scheduler.after(200 + random.int(800), () => this.start(machine));
  }

  private refused(machine: Machine, process: Process, error: unknown): void {
    if (machine.process !== process) return;
    const { note, invariants, scheduler, random } = this.parts;
    note(`refused ${machine.id} ${String(error)}`);
    process.kill();
    this.gone(machine);
    machine.disk.crash(false);
    const again = (): void => void scheduler.after(300 + random.int(700), () => this.start(machine));
    if (WarrenError.is(error, "RAFT_LEVEL_UNREADABLE") && machine.program === "present" && this.isRaised) {
      this.oldProgramsRefused++;
      again();
      return;
    }
    if (machine.damage !== undefined && !faulted(error)) {
      const known = WarrenError.is(error) && refusals.has(error.code);
      invariants.expect(known, 15, `member ${machine.id} refused ${machine.damage} as ${String(error)}`);
      machine.state = "lost";
      return;
    }
    invariants.expect(machine.blamed || faulted(error), 15, `member ${machine.id} did not start: ${String(error)}`);
    again();
  }

  private gone(machine: Machine): void {
    this.parts.invariants.ended(machine.id);
    machine.process = undefined;
    machine.node = undefined;
    machine.registers = undefined;
    if (machine.state === "up") machine.state = "down";
  }
}

/** Whether it is a write error that was put in. */
function faulted(error: unknown): boolean {
  return errorText(error).includes("simulated");
}

function memberOf(id: number): Member {
  return { id, address: `machine-${id}` };
}

/** What a member restores is its newest snapshot. */
function newestIndex(storage: RaftStorage): number {
  return storage.snapshots()[0]?.index ?? 0;
}
