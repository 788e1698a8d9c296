/**
 * Simulated managers: real raft members on a network, disks and a clock in memory, each with its store. Time, messages
 * and the state machines advance only by calls of the test.
 */
import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  startRaftNode,
  type Command,
  type Disk,
  type LeaderTerm,
  type RaftNode,
  type StateMachine,
  type Transport,
} from "@warren/raft";
import type { Random } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";

import { raftProposer, Store, StoreStateMachine, type Proposer } from "../../src/index.ts";

export const tickMs = 10;

export interface ManagerParts {
  /** Creates a state machine: the program that the manager is started with. */
  readonly machine: () => StoreStateMachine;
  /** The store's way to consensus. @default raftProposer */
  readonly proposer?: (node: RaftNode) => Proposer;
  /** Wraps the state machine, between it and the log. */
  readonly command?: (command: Command, machine: StoreStateMachine) => Command;
  /** Called after each command or snapshot. */
  readonly applied?: (machine: StoreStateMachine, manager: Manager) => void;
  readonly forwardProposals?: boolean;
}

/** The parts of a manager that runs. */
interface Run {
  readonly node: RaftNode;
  readonly machine: StoreStateMachine;
  readonly store: Store;
}

export class Manager {
  readonly id: number;
  readonly disk: Disk = memoryDisk();
  run: Run | undefined;
  /** While it is set, nothing is applied here. */
  gate: PromiseWithResolvers<void> | undefined;
  /** Why it could not start, or ended by itself. */
  refusal: unknown;

  constructor(id: number) {
    this.id = id;
  }

  holdBack(): void {
    this.gate ??= Promise.withResolvers();
  }

  release(): void {
    this.gate?.resolve();
    this.gate = undefined;
  }
}

export class Managers {
  readonly random: Random;
  readonly clock: FakeClock = new FakeClock();
  readonly all: readonly Manager[];
  /** Messages that were sent and have not arrived. */
  readonly wire: (() => void)[] = [];
  readonly #network = new MemoryNetwork();
  readonly #cut = new Set<string>();
  readonly #parts: (manager: Manager) => ManagerParts;

  constructor(seed: number, count: number, parts: (manager: Manager) => ManagerParts) {
    this.random = seededRandom(seed);
    this.#parts = parts;
    this.all = Array.from({ length: count }, (_, at) => new Manager(at + 1));
    this.#network.reaches = (from, to) => !this.#cut.has(`${from} ${to}`);
  }

  get running(): readonly (Manager & { readonly run: Run })[] {
    return this.all.filter((manager): manager is Manager & { readonly run: Run } => manager.run !== undefined);
  }

  /** The one that leads in the highest term. */
  get leader(): (Manager & { readonly run: Run }) | undefined {
    return this.running
      .filter(({ run }) => run.node.leadership().isLeader)
      .sort((a, b) => b.run.node.leadership().term - a.run.node.leadership().term)[0];
  }

  /** Whether one leads in a term that has begun, and all have applied the same entries. */
  agree(): boolean {
    const { leader, running } = this;
    const version = leader?.run.machine.view().version;
    return leader?.run.store.term !== undefined && running.every(({ run }) => run.machine.view().version === version);
  }

  async start(manager: Manager): Promise<void> {
    const { machine: program, proposer = raftProposer, command, applied, forwardProposals } = this.#parts(manager);
    const machine = program();
    const fsm: StateMachine = {
      async apply(batch) {
        await manager.gate?.promise;
        return batch.map((each) => {
          const [result] = machine.apply([command?.(each, machine) ?? each]);
          applied?.(machine, manager);
          return result;
        });
      },
      snapshot: () => machine.snapshot(),
      async restore(chunks) {
        await machine.restore(chunks);
        applied?.(machine, manager);
      },
    };
    const { clock, random } = this;
    const incarnation = `m${manager.id}`;
    const storage = await openLogStorage(manager.disk, {
      clusterId: "simulated",
      nodeId: manager.id,
      newIncarnation: () => incarnation,
    });
    const starting = startRaftNode(
      { clock, random, storage, transport: this.#delayed(this.#network.transport()), fsm },
      {
        bootstrap: this.all.map(({ id }) => ({ id, address: `member-${id}` })),
        tickMs: 0,
        electionTicks: 5,
        snapshotEntries: 12,
        trailingEntries: 3,
        stallMs: 2 ** 40,
        proposalTimeoutMs: 1_000,
        ...(forwardProposals === undefined ? {} : { forwardProposals }),
      },
    );
    const node = await starting.catch((error: unknown) => {
      manager.refusal = error;
    });
    if (node === undefined) return;
    const store = new Store({ clock, random, machine, proposer: proposer(node) });
    const run = { node, machine, store };
    manager.run = run;
    void node.done.then((reason) => {
      if (reason === undefined || manager.run !== run) return;
      manager.refusal = reason;
      manager.run = undefined;
    });
    node.onLeaderTerm((term) => void this.#lead(store, term));
  }

  /** Ends a manager; its disk stays. */
  async stop(manager: Manager): Promise<void> {
    const { run } = manager;
    manager.run = undefined;
    manager.release();
    run?.store.endTerm();
    await run?.node.close();
  }

  /** A manager that runs, most often the leader. */
  pick(): (Manager & { readonly run: Run }) | undefined {
    const any = this.running[this.random.int(this.running.length)];
    return this.random.int(3) === 0 ? any : (this.leader ?? any);
  }

  /** One step of a history: a call, some time, some messages, or a fault. */
  async step(call: () => void): Promise<void> {
    const { random, wire } = this;
    const what = random.int(20);
    if (what < 3) call();
    else if (what < 5) this.tick(...this.running);
    else if (what < 18) for (let n = wire.length; n > 0 && random.int(8) > 0; n--) this.deliver();
    else await this.#fault();
    if (random.int(3) > 0) await this.turn();
  }

  async #fault(): Promise<void> {
    const { random, all } = this;
    const any = all[random.int(all.length)];
    switch (random.int(9)) {
      case 0:
        this.#cut.add(`${random.int(all.length) + 1} ${random.int(all.length) + 1}`);
        return;
      case 1:
      case 2:
        this.heal();
        return;
      case 3:
        any?.holdBack();
        return;
      case 4:
        for (const manager of all) manager.release();
        return;
      case 5:
      case 6:
        // It may fail, and is not waited for.
        void this.leader?.run.node.transferLeadership().catch(() => undefined);
        return;
      case 7:
        // One follower's election timeout passes before its leader's heartbeats arrive.
        for (let n = 0; n < 12; n++) any?.run?.node.tick();
        return;
      case 8:
        if (any?.run !== undefined) await this.stop(any);
        await this.startAll();
        return;
    }
  }

  /** Starts the managers that do not run. */
  async startAll(): Promise<void> {
    for (const manager of this.all) if (manager.run === undefined) await this.start(manager);
  }

  heal(): void {
    this.#cut.clear();
  }

  /** Delivers one message, any of them, so that messages are reordered. */
  deliver(): void {
    const [arrive] = this.wire.splice(this.random.int(this.wire.length), 1);
    arrive?.();
  }

  /** Lets pending promises of this process settle. */
  turn(): Promise<void> {
    return new Promise((resolve) => setImmediate(resolve));
  }

  /** Time, messages and members go on without faults until `condition` holds. */
  async settle(what: string, condition: () => boolean): Promise<void> {
    this.heal();
    for (const manager of this.all) manager.release();
    for (let step = 0; step < 3_000; step++) {
      if (condition()) return;
      while (this.wire.length > 0) this.deliver();
      await this.turn();
      if (step % 4 === 0) this.tick(...this.running);
    }
    throw new Error(`the condition is not met: ${what}`);
  }

  tick(...managers: readonly Manager[]): void {
    this.clock.advance(tickMs);
    for (const { run } of managers) run?.node.tick();
  }

  /** Begins terms as a manager does, but notices late that a term is over. A failed start is repeated. */
  async #lead(store: Store, { term, signal }: LeaderTerm): Promise<void> {
    signal.addEventListener("abort", () => void this.#endLate(store, term), { once: true });
    while (!signal.aborted) {
      try {
        await store.beginTerm(term);
        return;
      } catch {
        // The signal is aborted when the term is over; else the next turn tries again.
        await this.turn();
      }
    }
  }

  async #endLate(store: Store, term: number): Promise<void> {
    for (let turns = this.random.int(40); turns > 0; turns--) await this.turn();
    if (store.term?.term === term) store.endTerm();
  }

  #delayed(transport: Transport): Transport {
    const send = transport.send.bind(transport);
    transport.send = (messages) => void this.wire.push(() => send(messages));
    return transport;
  }
}
