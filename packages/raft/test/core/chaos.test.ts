import assert from "node:assert/strict";

import { seededRandom } from "@warren/std/testing";
import { describe, test } from "vitest";

import {
  decodeConfChange,
  MemoryStorage,
  message,
  RaftError,
  RawNode,
  type ConfChangeSingle,
  type Entry,
  type Message,
} from "../../src/core/index.ts";

/** A member with a disk that a crash takes unwritten appends from, and a state machine that starts from its snapshot. */
class Member {
  readonly storage = new MemoryStorage();
  node: RawNode;
  appendWork: Message[] = [];
  applyWork: Message[] = [];
  applied: number;
  private readonly world: World;
  readonly id: number;

  constructor(world: World, id: number, voters: readonly number[]) {
    this.world = world;
    this.id = id;
    const confState = { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    this.storage.applySnapshot({ metadata: { index: 2, term: 0, confState }, data: new Uint8Array(0) });
    this.applied = 2;
    this.node = this.boot();
  }

  boot(): RawNode {
    this.appendWork = [];
    this.applyWork = [];
    this.applied = this.storage.snapshot()?.metadata.index ?? 0;
    this.node = new RawNode({
      id: this.id,
      storage: this.storage,
      random: this.world.random,
      applied: this.applied,
      asyncStorageWrites: true,
      maxSizePerMsg: 64,
      maxInflightMsgs: 4,
      preVote: this.world.preVote,
      checkQuorum: this.world.preVote,
    });
    return this.node;
  }

  handle(): void {
    const { messages } = this.node.ready();
    // A candidate asks for votes once its term is written.
    const requests = messages.filter(({ type }) => type === "MsgVote");
    for (const m of messages) {
      if (m.type === "MsgVote") continue;
      if (m.type === "MsgStorageAppend") this.appendWork.push({ ...m, responses: [...requests, ...m.responses] });
      else if (m.type === "MsgStorageApply") this.applyWork.push(m);
      else this.world.wire.push(m);
    }
  }

  write(): void {
    const m = this.appendWork.shift();
    if (m === undefined) return;
    if (m.snapshot !== undefined) {
      this.storage.applySnapshot(m.snapshot);
      this.applied = m.snapshot.metadata.index;
    }
    this.storage.append(m.entries);
    if (m.term > 0) this.storage.setHardState({ term: m.term, vote: m.vote, commit: m.commit });
    this.answer(m);
  }

  apply(): void {
    const m = this.applyWork.shift();
    if (m === undefined) return;
    for (const entry of m.entries) {
      if (entry.index <= this.applied) continue;
      this.world.applied(this, entry);
      this.applied = entry.index;
      if (entry.type !== "EntryNormal") this.node.applyConfChange(decodeConfChange(entry));
    }
    this.answer(m);
  }

  /** The state machine's image up to what is applied; the log before it goes. */
  compact(): void {
    const held = this.storage.snapshot()?.metadata.index ?? 0;
    if (this.applyWork.length > 0 || this.appendWork.length > 0) return;
    if (this.applied <= held || this.applied !== this.node.basicStatus().applied) return;
    if (this.applied > this.storage.lastIndex()) return;
    this.storage.createSnapshot(this.applied, this.node.confState(), new Uint8Array(0));
    this.storage.compact(this.applied);
  }

  private answer(m: Message): void {
    for (const response of m.responses) {
      // A node that was removed meanwhile does not know itself any more.
      if (response.to === this.id) this.world.attempt(() => this.node.step(response));
      else this.world.wire.push(response);
    }
  }
}

class World {
  readonly random;
  readonly preVote: boolean;
  wire: Message[] = [];
  readonly members = new Map<number, Member>();
  /** What was applied at each index, anywhere, ever. */
  private readonly history = new Map<number, string>();
  private readonly leaders = new Map<number, number>();
  private proposals = 0;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.preVote = this.random.int(2) === 0;
    for (let id = 1; id <= 5; id++) this.members.set(id, new Member(this, id, [1, 2, 3]));
  }

  applied(member: Member, entry: Entry): void {
    assert.equal(entry.index, member.applied + 1, "applied without gaps");
    const what = `${entry.term} ${entry.type} ${entry.data.join(" ")}`;
    const before = this.history.get(entry.index);
    assert.ok(before === undefined || before === what, `index ${entry.index}: ${before} and ${what}`);
    this.history.set(entry.index, what);
  }

  check(): void {
    for (const { id, node } of this.members.values()) {
      const { raftState, term, commit, applied } = node.basicStatus();
      assert.ok(applied <= commit);
      if (raftState !== "StateLeader") continue;
      assert.ok((this.leaders.get(term) ?? id) === id, `two leaders in term ${term}`);
      this.leaders.set(term, id);
    }
  }

  pick(): Member {
    return this.members.get(1 + this.random.int(5)) as Member;
  }

  deliver(lossOneIn: number): void {
    if (this.wire.length === 0) return;
    const [m] = this.wire.splice(this.random.int(this.wire.length), 1) as [Message];
    if (lossOneIn > 0 && this.random.int(lossOneIn) === 0) {
      if (m.type === "MsgSnap") this.attempt(() => this.members.get(m.from)?.node.reportSnapshot(m.to, "failure"));
      return;
    }
    if (lossOneIn > 0 && m.type !== "MsgSnap" && this.random.int(10) === 0) this.wire.push(m);
    this.attempt(() => this.members.get(m.to)?.node.step(m));
  }

  attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      if (!RaftError.is(error)) throw error;
    }
  }

  changes(): ConfChangeSingle[] {
    const types = ["ConfChangeAddNode", "ConfChangeAddLearnerNode", "ConfChangeRemoveNode"] as const;
    return Array.from({ length: 1 + this.random.int(3) }, () => ({
      type: types[this.random.int(3)]!,
      // Node 1 stays a voter, so that no configuration is without any.
      nodeId: 2 + this.random.int(4),
    }));
  }

  step(): void {
    const member = this.pick();
    const roll = this.random.int(100);
    if (roll < 40) this.deliver(20);
    else if (roll < 60) member.write();
    else if (roll < 70) member.apply();
    else if (roll < 84) member.node.tick();
    else if (roll < 92)
      this.attempt(() => member.node.propose(Uint8Array.of(this.proposals % 256, this.proposals++ >> 8)));
    else if (roll < 94) member.compact();
    else if (roll < 95) member.boot();
    else if (roll < 96) member.node.transferLeader(this.pick().id);
    else if (roll < 97) {
      const changes = this.changes();
      this.attempt(() =>
        member.node.proposeConfChange({ version: 2, transition: "ConfChangeTransitionJointImplicit", changes }),
      );
    } else if (roll < 98) this.attempt(() => member.node.reportUnreachable(this.pick().id));
    else this.attempt(() => void member.node.readIndex(Uint8Array.of(1)));
    if (member.node.hasReady()) member.handle();
    this.check();
  }

  /**
   * No more faults: everything is done, and time passes. Whether there is a leader, and all it committed is applied;
   * without pre-vote a removed member that does not know it may prevent that for ever, so nothing is asked then.
   */
  heal(): boolean {
    for (let round = 0; round < 400; round++) {
      for (const member of this.members.values()) {
        member.node.tick();
        if (member.node.hasReady()) member.handle();
        while (member.appendWork.length > 0) member.write();
        while (member.applyWork.length > 0) member.apply();
      }
      for (let left = this.wire.length; left > 0; left--) this.deliver(0);
      this.check();
      const leader = [...this.members.values()].find(({ node }) => node.basicStatus().raftState === "StateLeader");
      if (round === 200 && leader !== undefined) this.attempt(() => leader.node.propose(Uint8Array.of(255)));
    }
    if (!this.preVote) return true;
    const commits = [...this.members.values()].map(({ node }) => node.basicStatus());
    const leader = commits.find(
      ({ raftState, term }) => raftState === "StateLeader" && commits.every((c) => c.term <= term),
    );
    return leader !== undefined && leader.applied === leader.commit;
  }
}

describe("a cluster whose messages are lost, doubled and reordered, and whose members crash", () => {
  const seeds = Array.from({ length: 200 }, (_, seed) => seed + 1);
  test.each(seeds)("keeps one leader a term and one history, and recovers (seed %i)", (seed) => {
    const world = new World(seed);
    for (let i = 0; i < 3_000; i++) world.step();
    assert.ok(world.heal(), `seed ${seed}: no leader after the faults ended`);
  });

  test("messages to a node from a term of long ago change nothing", () => {
    const storage = new MemoryStorage();
    storage.setHardState({ term: 9, vote: 0, commit: 0 });
    const node = new RawNode({ id: 1, storage, random: { int: () => 0 }, preVote: false, checkQuorum: false });
    for (const type of ["MsgApp", "MsgHeartbeat", "MsgVote", "MsgSnap", "MsgTimeoutNow"] as const) {
      node.step(message(type, { from: 2, to: 1, term: 3 }));
    }
    assert.equal(node.hasReady(), false);
  });
});
