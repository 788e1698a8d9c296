/** What goes wrong in a run, one thing after another, each for a while. */
import type { Random } from "@warren/std";

import { damages, type Damage } from "./damage.ts";
import { operationKinds, type OperationKind, type PowerCut } from "./disk.ts";
import type { Machine, Machines } from "./machines.ts";
import { fairWeather, type SimulatedNetwork } from "./network.ts";
import { logSteps, type LogStep } from "./watched-storage.ts";
import type { Plan, Trouble } from "./plan.ts";
import type { Scheduler } from "./scheduler.ts";

const points = [...operationKinds, ...logSteps];

/** Moments at which the power is to be cut that a disk waits for at once. */
const mostPowerCuts = 8;

export interface FaultParts {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly network: SimulatedNetwork;
  readonly machines: Machines;
  readonly plan: Plan;
  /** Whether a member may be lost for good now: one at a time, and only where a majority is left without it. */
  readonly mayLose: (machine: Machine) => boolean;
  readonly note: (what: string) => void;
}

export class Faults {
  private readonly parts: FaultParts;
  /** What the power fails at again and again, so that points which seldom come are met where they come. */
  private readonly favourite: OperationKind | LogStep | undefined;
  private ended = false;

  constructor(parts: FaultParts) {
    this.parts = parts;
    this.favourite = points[parts.random.int(points.length)];
  }

  /** Before anything starts: the power may fail while a member makes its disk its own. */
  begin(): void {
    const { plan, random, machines } = this.parts;
    if (!plan.troubles.has("power")) return;
    for (const { disk } of machines.all.values()) {
      if (random.int(2) === 0) disk.powerCuts.push(this.cutAtFavourite());
      if (random.int(4) === 0) disk.powerCuts.push(this.cutSoon(60));
    }
  }

  async run(): Promise<void> {
    const { plan, random } = this.parts;
    const troubles = [...plan.troubles].filter((trouble) => trouble !== "membership");
    if (troubles.length === 0) return;
    while (!this.ended) {
      await this.wait(2 * random.next() * plan.faultEveryMs);
      if (!this.ended) this.strike(troubles[random.int(troubles.length)] as Trouble);
    }
  }

  /** All that can be mended is, and nothing more goes wrong; who is stopped goes on in its time. */
  end(): void {
    this.ended = true;
    const { network, machines } = this.parts;
    network.cut.clear();
    network.weather = fairWeather;
    for (const machine of machines.all.values()) {
      machine.disk.full = false;
      machine.disk.failNextWrite = false;
      machine.disk.stalledUntilMs = 0;
      machine.disk.powerCuts = [];
      machine.wedgedUntilMs = 0;
      if (machine.state === "down") machines.start(machine);
    }
  }

  private strike(trouble: Trouble): void {
    const { random, machines, scheduler, network, plan, note } = this.parts;
    const victim = this.victim();
    if (victim === undefined) return;
    const { disk } = victim;
    const forMs = (most: number): number => 50 + random.int(most);
    note(`fault ${trouble} at ${victim.id}`);
    switch (trouble) {
      case "partitions":
        this.partition(victim);
        break;
      case "weather":
        network.weather = {
          lossPerMille: random.int(300),
          repeatPerMille: random.int(200),
          minDelayMs: random.next() * 5,
          maxDelayMs: 5 + random.int(plan.options.tickMs === 20 ? 100 : 300),
        };
        this.later(forMs(2_000), () => (network.weather = fairWeather));
        break;
      case "crashes":
        this.crash(victim, false);
        break;
      case "power":
        // At any moment, now and then everywhere at once; and at some operation of the disk, as it starts again or later.
        if (random.int(4) === 0) for (const one of machines.running()) this.crash(one, true);
        else if (random.int(2) === 0) this.crash(victim, true);
        while (disk.powerCuts.length < mostPowerCuts) disk.powerCuts.push(this.cutSoon(100));
        break;
      case "stops":
        victim.process?.stop(scheduler.nowMs + forMs(3_000));
        break;
      case "stalls":
        disk.stalledUntilMs = scheduler.nowMs + forMs(4_000);
        break;
      case "write-errors":
        victim.blamed = true;
        disk.failNextWrite = true;
        break;
      case "full-disks":
        victim.blamed = true;
        disk.full = true;
        this.later(forMs(2_500), () => (disk.full = false));
        break;
      case "damage":
        this.damage(victim);
        break;
      case "wipes":
        this.wipe(victim);
        break;
      case "wedged-machines":
        victim.wedgedUntilMs = scheduler.nowMs + forMs(4_000);
        break;
      case "clock-jumps":
        victim.clock.wallMs += (random.next() - 0.5) * 1e9;
        break;
      case "transfers":
        machines
          .leader()
          ?.node?.transferLeadership(random.int(2) === 0 ? undefined : victim.id)
          .catch(() => undefined);
        break;
      case "drains":
        victim.node?.drain({ graceMs: 1_000 }).catch(() => undefined);
        break;
      case "membership":
    }
  }

  /** Anyone, the leader rather. */
  private victim(): Machine | undefined {
    const { machines, random } = this.parts;
    const running = machines.running();
    return (random.int(3) === 0 ? machines.leader() : undefined) ?? running[random.int(running.length)];
  }

  private crash(machine: Machine, power: boolean): void {
    const { machines, random, plan } = this.parts;
    machines.crash(machine, power);
    if (plan.troubles.has("power") && random.int(2) === 0) machine.disk.powerCuts.push(this.cutSoon(15));
    this.later(50 + random.int(2_000), () => {
      if (machine.state === "down") machines.start(machine);
    });
  }

  private partition(victim: Machine): void {
    const { network, machines, random } = this.parts;
    const ids = [...machines.all.keys()];
    const others = ids.filter((id) => id !== victim.id);
    const half = new Set(ids.filter(() => random.int(2) === 0));
    network.cut.clear();
    switch (random.int(5)) {
      case 0: // cut off
        for (const id of others) this.cutBoth(victim.id, id);
        break;
      case 1: // hears nothing
        for (const id of others) network.cutLink(id, victim.id);
        break;
      case 2: // is not heard
        for (const id of others) network.cutLink(victim.id, id);
        break;
      case 3: {
        // Two that don't hear each other, while the rest hears both.
        const other = others[random.int(others.length)];
        if (other !== undefined) this.cutBoth(victim.id, other);
        break;
      }
      default:
        for (const a of ids) for (const b of ids) if (half.has(a) !== half.has(b)) network.cutLink(a, b);
    }
    if (random.int(3) > 0) this.later(200 + random.int(3_000), () => network.cut.clear());
  }

  /** The power is cut during or after one of the next so many operations of a disk, or the next of some kind. */
  private cutSoon(operations: number): PowerCut {
    const { random } = this.parts;
    const roll = random.int(4);
    if (roll < 2) return this.cutAtFavourite();
    if (roll < 3) return { ...this.cutAtFavourite(), kind: undefined, operations: 1 + random.int(operations) };
    return { ...this.cutAtFavourite(), kind: points[random.int(points.length)], operations: 1 + random.int(2) };
  }

  private cutAtFavourite(): PowerCut {
    return { kind: this.favourite, operations: 1, moment: this.parts.random.int(2) === 0 ? "during" : "after" };
  }

  private cutBoth(a: number, b: number): void {
    this.parts.network.cutLink(a, b);
    this.parts.network.cutLink(b, a);
  }

  private damage(machine: Machine): void {
    const { machines, random, mayLose, note } = this.parts;
    if (!mayLose(machine)) return;
    machines.crash(machine, random.int(2) === 0);
    const kind = damages[random.int(damages.length)] as Damage;
    if (machine.disk.damage(kind)) {
      machine.damage = kind;
      note(`damage ${machine.id} ${kind}`);
    }
    this.later(50 + random.int(500), () => machines.start(machine));
  }

  private wipe(machine: Machine): void {
    const { machines, random, mayLose } = this.parts;
    const others = [...machines.all.values()].filter(({ id, state }) => id !== machine.id && state !== "retired");
    // A member that never met it can't notice that it lost its log.
    if (!mayLose(machine) || others.some(({ disk }) => !disk.hasMet(machine.id))) return;
    machines.wipe(machine);
    this.later(50 + random.int(500), () => machines.start(machine));
  }

  private later(delayMs: number, run: () => void): void {
    this.parts.scheduler.after(delayMs, () => {
      if (!this.ended) run();
    });
  }

  private wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.parts.scheduler.after(delayMs, resolve));
  }
}
