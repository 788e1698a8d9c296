/** A few members of a core that is passed in, so that the same story can be told to a mutant. */
import type * as CoreModule from "../../src/core/index.ts";

export type Core = typeof CoreModule;

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

export class Member {
  readonly id: number;
  readonly node: CoreModule.RawNode;
  readonly storage: CoreModule.MemoryStorage;
  readonly applied: CoreModule.Entry[] = [];
  readonly reads: CoreModule.ReadState[] = [];

  constructor(node: CoreModule.RawNode, storage: CoreModule.MemoryStorage) {
    this.id = node.basicStatus().id;
    this.node = node;
    this.storage = storage;
  }
}

export class World {
  readonly core: Core;
  readonly members = new Map<number, Member>();
  /** Messages on their way. */
  wire: CoreModule.Message[] = [];
  /** Messages for which this is false are lost. */
  reaches: (m: CoreModule.Message) => boolean = () => true;

  /** Members `ids` of a cluster whose snapshot, at index 2, names `voters` and `learners`. */
  constructor(
    core: Core,
    ids: readonly number[],
    confState: Partial<CoreModule.ConfState> = {},
    options: Partial<CoreModule.Config> = {},
  ) {
    this.core = core;
    for (const id of ids) this.add(id, { voters: ids, ...confState }, options);
  }

  add(id: number, confState: Partial<CoreModule.ConfState>, options: Partial<CoreModule.Config> = {}): Member {
    const storage = new this.core.MemoryStorage();
    const none = { voters: [], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    storage.applySnapshot({ metadata: { index: 2, term: 1, confState: { ...none, ...confState } }, data: bytes("") });
    return this.start(id, storage, options);
  }

  /** (Re)starts a member on a storage. */
  start(id: number, storage: CoreModule.MemoryStorage, options: Partial<CoreModule.Config> = {}): Member {
    const config = {
      id,
      storage,
      random: { int: () => id },
      preVote: false,
      checkQuorum: false,
      applied: 2,
      ...options,
    };
    const member = new Member(new this.core.RawNode(config), storage);
    this.members.set(id, member);
    return member;
  }

  get(id: number): Member {
    return this.members.get(id) as Member;
  }

  node(id: number): CoreModule.RawNode {
    return this.get(id).node;
  }

  propose(id: number, text: string): void {
    this.node(id).propose(bytes(text));
  }

  read(id: number, context: string): void {
    this.node(id).readIndex(bytes(context));
  }

  /** Does what the member's Ready says, once. */
  handle(id: number): CoreModule.Ready {
    const member = this.get(id);
    const ready = member.node.ready();
    if (ready.snapshot) member.storage.applySnapshot(ready.snapshot);
    if (ready.hardState) member.storage.setHardState(ready.hardState);
    member.storage.append(ready.entries);
    this.wire.push(...ready.messages);
    for (const entry of ready.committedEntries) {
      member.applied.push(entry);
      if (entry.type !== "EntryNormal") member.node.applyConfChange(this.core.decodeConfChange(entry));
    }
    member.reads.push(...ready.readStates);
    member.node.advance();
    return ready;
  }

  /** Delivers what is on its way, without handling what follows. */
  deliver(): void {
    const wire = this.wire.filter((m) => this.reaches(m) && this.members.has(m.to));
    this.wire = [];
    for (const m of wire) {
      try {
        this.node(m.to).step(m);
      } catch (error) {
        if (!this.core.RaftError.is(error)) throw error;
      }
    }
  }

  /** Handles and delivers until nothing is left. */
  settle(): void {
    for (let round = 0; round < 1_000; round++) {
      const busy = [...this.members.values()].filter(({ node }) => node.hasReady());
      if (busy.length === 0 && this.wire.length === 0) return;
      for (const { id } of busy) this.handle(id);
      this.deliver();
    }
    throw new Error("the cluster does not come to rest");
  }

  elect(id: number): void {
    this.node(id).campaign();
    this.settle();
  }

  /** Lets time pass for all, tick by tick. */
  tick(ticks: number): void {
    for (let i = 0; i < ticks; i++) {
      for (const { node } of this.members.values()) node.tick();
      this.settle();
    }
  }

  leaders(): number[] {
    return [...this.members.values()]
      .filter(({ node }) => node.basicStatus().raftState === "StateLeader")
      .map(({ id }) => id);
  }
}

/** Members `a` and `b` don't hear each other. */
export function cut(...pairs: readonly (readonly [number, number])[]): (m: CoreModule.Message) => boolean {
  return ({ from, to }) => !pairs.some(([a, b]) => (a === from && b === to) || (a === to && b === from));
}
