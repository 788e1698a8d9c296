/** The managers of a cluster: one log, elections at any moment, and others that take their place with less of a history. */
import { controlServices, createCluster } from "@warren/control";
import { NodesDefinition, ServicesDefinition, type ServiceDefinition } from "@warren/api";
import type { CallContext, Handlers } from "@warren/api/server";
import { checkClusterSpec } from "@warren/api/spec";
import type { Dispatcher } from "@warren/dispatcher";
import { whileLeading, type LeaderTerm } from "@warren/membership";
import { assert, noMetrics, type Logger, type Random } from "@warren/std";
import type { FakeClock } from "@warren/std/testing";
import { Store, StoreStateMachine, type LogCommand, type View } from "@warren/store";
import { MemoryLog, MemoryProposer, type ProposerFault } from "@warren/store/testing";
import { joinParts } from "../../src/parts.ts";
import { MachineClock } from "./machine-clock.ts";

export interface ManagersDependencies {
  readonly clock: FakeClock;
  readonly random: Random;
  readonly log: Logger;
}

/** Calls a function after each command that is applied. It never leads. */
class Witness extends MemoryProposer {
  #seen = 0;
  readonly #onApplied: (view: View) => void;
  readonly #view: () => View;

  static join(log: MemoryLog, onApplied: (view: View) => void): void {
    // The log keeps its members.
    void new Witness(new StoreStateMachine({ metrics: noMetrics }), log, onApplied);
  }

  constructor(machine: StoreStateMachine, log: MemoryLog, onApplied: (view: View) => void) {
    super(machine, log);
    this.#view = () => machine.view();
    this.#onApplied = onApplied;
  }

  override applyCommitted(): void {
    super.applyCommitted();
    if (this.#seen === this.applied.length) return;
    this.#seen = this.applied.length;
    this.#onApplied(this.#view());
  }
}

class Manager implements AsyncDisposable {
  readonly clock: MachineClock;
  readonly store: Store;
  readonly proposer: MemoryProposer;
  readonly dispatcher: Dispatcher;
  readonly #handlers: ReadonlyMap<ServiceDefinition, unknown>;
  readonly #listeners = new Set<(term: LeaderTerm) => void>();
  readonly #leading: AsyncDisposable;
  #term: AbortController | undefined;

  constructor(name: string, { clock: world, random, log }: ManagersDependencies, shared: MemoryLog) {
    const clock = new MachineClock(name, world);
    this.clock = clock;
    const machine = new StoreStateMachine({ metrics: noMetrics });
    this.proposer = new MemoryProposer(machine, shared);
    this.store = new Store({ clock, random, machine, proposer: this.proposer, log });
    const { work, lead } = joinParts({ clock, random, log, metrics: noMetrics }, this.store);
    this.dispatcher = work;
    const services = controlServices({
      store: () => this.store,
      initCluster: () => Promise.reject(new Error("the world makes its cluster itself")),
      relay: work.relay,
      version: "1",
      clock,
      random,
      log,
    });
    this.#handlers = new Map(services.map(({ definition, handlers }) => [definition, handlers]));
    const onLeaderTerm = (listener: (term: LeaderTerm) => void): (() => void) => {
      this.#listeners.add(listener);
      return () => this.#listeners.delete(listener);
    };
    this.#leading = whileLeading({ onLeaderTerm, store: this.store, clock, random, log }, lead);
  }

  handlersOf<D extends ServiceDefinition>(definition: D): Handlers<D> {
    return this.#handlers.get(definition) as Handlers<D>;
  }

  lead(term: number): void {
    this.#term = new AbortController();
    for (const listener of this.#listeners) listener({ term, signal: this.#term.signal });
  }

  /** What tells it that its present term is over. */
  ending(): () => void {
    const term = this.#term;
    return () => term?.abort(new DOMException("deposed", "AbortError"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.ending()();
    await this.#leading[Symbol.asyncDispose]();
  }
}

/** Managers on one log. */
export class Managers implements AsyncDisposable {
  readonly #dependencies: ManagersDependencies;
  readonly #log: MemoryLog;
  readonly #members: readonly Manager[];
  #leader: Manager | undefined;

  /** @param entries what their log has already */
  constructor(
    count: number,
    dependencies: ManagersDependencies,
    { entries = [], onApplied }: { entries?: readonly LogCommand[]; onApplied?: (view: View) => void } = {},
  ) {
    this.#dependencies = dependencies;
    this.#log = new MemoryLog();
    this.#log.entries.push(...entries);
    const last = entries.at(-1)?.term ?? 0;
    while (this.#log.term < last) this.#log.elect(undefined);
    // The first to apply each command.
    if (onApplied !== undefined) Witness.join(this.#log, onApplied);
    this.#members = Array.from({ length: count }, (_, at) => new Manager(`manager-${at}`, dependencies, this.#log));
    for (const { proposer } of this.#members) proposer.applyCommitted();
  }

  get count(): number {
    return this.#members.length;
  }

  get entries(): readonly LogCommand[] {
    return this.#log.entries;
  }

  get leader(): Manager | undefined {
    return this.#leader;
  }

  member(index: number): Manager {
    const member = this.#members[index % this.#members.length];
    assert(member !== undefined, "there is such a manager");
    return member;
  }

  /** @param noticeMs after which the leader before learns of it */
  elect(index: number, noticeMs: number): void {
    this.#depose(noticeMs);
    const member = this.member(index);
    const term = this.#log.elect(member.proposer);
    this.#leader = member;
    member.lead(term);
  }

  /** Nobody leads, and none can be reached. */
  stop(): void {
    this.#depose(0);
    this.#log.elect(undefined);
  }

  fail(...faults: readonly ProposerFault[]): void {
    this.#leader?.proposer.failNext(...faults);
  }

  /** A member applies nothing for so long. */
  holdBack(index: number, ms: number): void {
    const release = this.member(index).proposer.holdBack();
    this.#dependencies.clock.setTimeout(release, ms);
  }

  async found(): Promise<void> {
    const { random } = this.#dependencies;
    const { leader } = this;
    assert(leader !== undefined, "a manager leads");
    await createCluster(leader.store, checkClusterSpec(undefined), { random });
  }

  #depose(noticeMs: number): void {
    const learn = this.#leader?.ending();
    this.#leader = undefined;
    if (learn === undefined) return;
    if (noticeMs === 0) learn();
    else this.#dependencies.clock.setTimeout(learn, noticeMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop();
    await Promise.all(this.#members.map((member) => member[Symbol.asyncDispose]()));
  }
}

/** The API as an operator calls it, by way of the leader. */
export interface Operator {
  readonly services: Handlers<typeof ServicesDefinition>;
  readonly nodes: Handlers<typeof NodesDefinition>;
  readonly context: CallContext;
}

export function operator(manager: Manager, signal: AbortSignal): Operator {
  return {
    services: manager.handlersOf(ServicesDefinition),
    nodes: manager.handlersOf(NodesDefinition),
    context: { signal, identity: { name: "operator", roles: ["client"] }, path: "/" },
  };
}

export type { Manager };
