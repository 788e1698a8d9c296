/** A small cluster whose every step is a command, and whose messages wait until they are delivered or dropped. */
import {
  decodeConfChange,
  describeEntries,
  describeMessage,
  describeReady,
  isLocalTarget,
  LocalAppendThread,
  LocalApplyThread,
  MemoryStorage,
  message,
  RaftError,
  RawNode,
  type Config,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type MessageType,
  type Snapshot,
} from "../../../src/core/index.ts";
import { formatProgress } from "../../../src/core/tracker.ts";
import { Output } from "./output.ts";

/** A command that could not be carried out; its text is part of the transcript. */
export class CommandError extends Error {}

class Member {
  readonly id: number;
  readonly config: Config;
  readonly storage: SnapshotsOfHistory;
  readonly node: RawNode;
  appendWork: Message[] = [];
  applyWork: Message[] = [];

  constructor(config: Config, storage: SnapshotsOfHistory) {
    this.id = config.id;
    this.config = config;
    this.storage = storage;
    this.node = new RawNode(config);
  }
}

/** A snapshot asked for is of all that was applied. */
class SnapshotsOfHistory extends MemoryStorage {
  newest: Snapshot;

  constructor(first: Snapshot) {
    super();
    this.newest = first;
  }

  override snapshot(): Snapshot | undefined {
    return this.newest.metadata.index === 0 ? undefined : this.newest;
  }
}

export interface Recipient {
  readonly id: number;
  readonly drop: boolean;
}

export class Cluster {
  readonly output = new Output();
  private readonly members: Member[] = [];
  private messages: Message[] = [];

  get size(): number {
    return this.members.length;
  }

  member(id: number): Member {
    const member = this.members[id - 1];
    if (member === undefined) throw new Error(`there is no node ${id}`);
    return member;
  }

  /** Adds nodes that begin from `snapshot`, unless it is empty. */
  add(count: number, options: Partial<Config>, snapshot: Snapshot): void {
    const { index, confState } = snapshot.metadata;
    const empty = index === 0 && confState.voters.length + confState.learners.length + snapshot.data.length === 0;
    if (!empty && index <= 1) throw new CommandError("index must be specified as > 1 due to bootstrap");
    for (let i = 0; i < count; i++) {
      const id = this.members.length + 1;
      const storage = new SnapshotsOfHistory(snapshot);
      if (!empty) storage.applySnapshot(snapshot);
      const config: Config = {
        electionTicks: 3,
        heartbeatTicks: 1,
        maxSizePerMsg: Number.POSITIVE_INFINITY,
        maxInflightMsgs: 2 ** 31 - 1,
        preVote: false,
        checkQuorum: false,
        stepDownOnRemoval: false,
        lease: { nowMs: () => 0, durationMs: 1 },
        ...options,
        id,
        storage,
        random: { int: () => 0 },
        onEvent: (event) => this.output.event(id, event),
      };
      this.members.push(new Member(config, storage));
    }
  }

  /** Delivers or drops what waits for the recipients; how many messages that was. */
  deliver(recipients: readonly Recipient[], type?: MessageType): number {
    let handled = 0;
    for (const { id, drop } of recipients) {
      const [taken, left] = this.split(id, drop, type);
      this.messages = left;
      handled += taken.length;
      for (const m of taken) {
        this.output.line(`${drop ? "dropped: " : ""}${describeMessage(m)}`);
        if (!drop) this.attempt(() => this.member(id).node.step(m));
      }
    }
    return handled;
  }

  private attempt(body: () => void): void {
    try {
      body();
    } catch (error) {
      this.output.line(refusalText(error));
    }
  }

  private split(to: number, drop: boolean, type?: MessageType): [Message[], Message[]] {
    const taken: Message[] = [];
    const left: Message[] = [];
    for (const m of this.messages) {
      // What a node sends to itself can't be lost.
      const local = m.from === m.to || isLocalTarget(m.from) || isLocalTarget(m.to);
      (m.to === to && !(drop && local) && (type === undefined || m.type === type) ? taken : left).push(m);
    }
    return [taken, left];
  }

  processReady(id: number): void {
    const member = this.member(id);
    const ready = member.node.ready();
    this.output.write(describeReady(ready));
    const async = member.config.asyncStorageWrites === true;
    if (!async) {
      store(member, ready.hardState, ready.entries, ready.snapshot);
      apply(member, ready.committedEntries);
    }
    for (const m of ready.messages) {
      if (m.to === LocalAppendThread) member.appendWork.push(m);
      else if (m.to === LocalApplyThread) member.applyWork.push(m);
      else this.messages.push(m);
    }
    if (!async) member.node.advance();
  }

  processAppendThread(id: number): void {
    const member = this.member(id);
    const m = member.appendWork.shift();
    if (m === undefined) {
      this.output.write("no append work to perform");
      return;
    }
    this.output.line(`Processing:\n${describeMessage({ ...m, responses: [] })}`);
    const state = { term: m.term, vote: m.vote, commit: m.commit };
    store(member, state.term + state.vote + state.commit === 0 ? undefined : state, m.entries, m.snapshot);
    this.respond(m.responses);
  }

  processApplyThread(id: number): void {
    const member = this.member(id);
    const m = member.applyWork.shift();
    if (m === undefined) {
      this.output.write("no apply work to perform");
      return;
    }
    this.output.line(`Processing:\n${describeMessage({ ...m, responses: [] })}`);
    apply(member, m.entries);
    this.respond(m.responses);
  }

  private respond(responses: readonly Message[]): void {
    this.output.line("Responses:");
    for (const m of responses) this.output.line(describeMessage(m));
    this.messages.push(...responses);
  }

  /** Does everything there is to do, in rounds, until nothing is left. */
  stabilize(ids: readonly number[]): void {
    const members = ids.length === 0 ? [...this.members] : ids.map((id) => this.member(id));
    const round = (what: string, due: (member: Member) => boolean, body: (member: Member) => void): boolean => {
      let any = false;
      for (const member of members) {
        if (!due(member)) continue;
        any = true;
        this.output.line(`> ${member.id} ${what}`);
        body(member);
      }
      return any;
    };
    const work = (step: (id: number) => void, queue: (member: Member) => Message[]) => (member: Member) => {
      while (queue(member).length > 0) this.output.indented(() => step(member.id));
    };
    for (;;) {
      const did = [
        round(
          "handling Ready",
          (m) => m.node.hasReady(),
          (m) => this.output.indented(() => this.processReady(m.id)),
        ),
        round(
          "receiving messages",
          (m) => this.split(m.id, false)[0].length > 0,
          (m) => this.output.indented(() => void this.deliver([{ id: m.id, drop: false }])),
        ),
        round(
          "processing append thread",
          (m) => m.appendWork.length > 0,
          work(
            (id) => this.processAppendThread(id),
            (m) => m.appendWork,
          ),
        ),
        round(
          "processing apply thread",
          (m) => m.applyWork.length > 0,
          work(
            (id) => this.processApplyThread(id),
            (m) => m.applyWork,
          ),
        ),
      ];
      if (!did.includes(true)) return;
    }
  }

  printLog(id: number): void {
    const { storage } = this.member(id);
    const first = storage.firstIndex();
    const last = storage.lastIndex();
    if (last < first) this.output.write(`log is empty: first index=${first}, last index=${last}`);
    else this.output.write(describeEntries(storage.entries(first, last + 1, Number.POSITIVE_INFINITY)));
  }

  printStates(): void {
    for (const { node } of this.members) {
      const { id, raftState, term, lead, config } = node.status();
      const voter = config.incoming.has(id) || config.outgoing.has(id) ? "(Voter)" : "(Non-Voter)";
      this.output.line(`${id}: ${raftState} ${voter} Term:${term} Lead:${lead}`);
    }
  }

  printStatus(id: number): void {
    this.output.write(formatProgress(this.member(id).node.status().progress));
  }

  compact(id: number, index: number): void {
    const { storage } = this.member(id);
    if (index < storage.firstIndex()) throw new CommandError("requested index is unavailable due to compaction");
    storage.compact(index);
    this.printLog(id);
  }

  sendSnapshot(from: number, to: number): void {
    const { node, storage } = this.member(from);
    const m = message("MsgSnap", { from, to, term: node.basicStatus().term, snapshot: storage.newest });
    this.messages.push(m);
    this.output.write(describeMessage(m));
  }
}

/** The words for what the core refuses. */
export function refusalText(error: unknown): string {
  if (RaftError.is(error, "RAFT_PROPOSAL_DROPPED")) return "raft proposal dropped";
  if (RaftError.is(error, "RAFT_LOCAL_MESSAGE")) return "raft: cannot step raft local message";
  if (RaftError.is(error, "RAFT_PEER_UNKNOWN")) return "raft: cannot step as peer not found";
  throw error;
}

function store(
  { storage }: Member,
  state: HardState | undefined,
  entries: readonly Entry[],
  snapshot: Snapshot | undefined,
): void {
  if (state !== undefined) storage.setHardState(state);
  if (snapshot === undefined) {
    storage.append(entries);
    return;
  }
  if (entries.length > 0) throw new CommandError("can't apply snapshot and entries at the same time");
  if (snapshot.metadata.index < storage.firstIndex()) {
    throw new CommandError("requested index is older than the existing snapshot");
  }
  storage.applySnapshot(snapshot);
}

/** The state machine: all data, one after the other. */
function apply({ node, storage }: Member, entries: readonly Entry[]): void {
  for (const { index, term, type, data } of entries) {
    let confState: ConfState = storage.newest.metadata.confState;
    let update = data;
    if (type !== "EntryNormal") {
      const change = decodeConfChange({ type, data });
      confState = node.applyConfChange(change);
      update = change.context ?? new Uint8Array(0);
    }
    const before = storage.newest.data;
    const grown = new Uint8Array(before.length + update.length);
    grown.set(before);
    grown.set(update, before.length);
    storage.newest = { metadata: { index, term, confState }, data: grown };
  }
}
