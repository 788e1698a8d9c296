/**
 * What drives the core: all proposals, reads and messages of a turn of the event loop become one Ready.
 *
 * Its entries go to the peers at once and to disk through the writer; what commits goes to the applier. N1: whatever
 * depends on a write is in the responses that the writer delivers once it is durable. N2: so do a candidate's requests
 * for votes: were its own term not durable, it could win by the others' votes, append, crash, and lead the same term
 * again with another log.
 */
import { errorText, type Clock, type Logger } from "@warren/std";

import {
  LocalAppendThread,
  LocalApplyThread,
  None,
  RawNode,
  type ConfState,
  type LeaseClock,
  type Message,
  type NodeId,
  type RaftEvent,
  type SnapshotStatus,
} from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Member, Tags, Transport } from "../transport/transport.ts";
import { Applier } from "./applier.ts";
import { checkForwarded } from "./envelope.ts";
import { Inbox } from "./inbox.ts";
import { LeadershipObserver, type Leadership } from "./leadership.ts";
import { LogClock } from "./log-clock.ts";
import type { RaftMetrics } from "./metrics.ts";
import { coreOptions, type LiveOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { PeerObserver, type PeerState } from "./peer-observer.ts";
import { notLeader, Proposals, termOver, type Queued } from "./proposals.ts";
import { Reads } from "./reads.ts";
import type { StateMachine } from "./state-machine.ts";
import { Writer } from "./writer.ts";

/** Runs something at the end of this turn of the event loop, or earlier. */
export type Defer = (run: () => void) => void;

/** What a checker is called with, in place, as it happens. */
export interface NodeProbe {
  /** This member takes the entries after `before` and up to `index` for committed. */
  committed?(before: number, index: number): void;
  /** This member, which leads, found that a quorum has everything up to `index`. */
  quorumReached?(index: number): void;
  /** The state machine is to take the snapshot at `index`. */
  restoring?(index: number): void;
  /** The membership change at `index` was applied. */
  configured?(index: number, confState: ConfState): void;
}

export interface EngineParts {
  readonly clock: Clock;
  readonly random: { int(bound: number): number };
  /** Time for leases, which goes on while the machine is suspended. */
  readonly lease: LeaseClock;
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly fsm: StateMachine;
  readonly options: LiveOptions;
  readonly log: Logger;
  readonly metrics: RaftMetrics;
  readonly defer: Defer;
  readonly probe: NodeProbe;
}

/** What the engine asks of the member around it. */
export interface EngineHooks {
  /** Whether the member goes on; a turn is taken only then. */
  open(): boolean;
  fail(error: unknown): void;
  membersChanged(members: readonly Member[], removed: readonly NodeId[]): void;
  sendSnapshot(m: Message): void;
  /** Entries up to `index` are applied, and no other is being applied. */
  applied(index: number): void;
  changeRefused(why: string): void;
  /** What a peer says of itself. */
  tagsOf(id: NodeId): Tags | undefined;
}

export class Engine {
  readonly raw: RawNode;
  readonly proposals: Proposals;
  readonly reads: Reads;
  readonly writer: Writer;
  readonly applier: Applier;
  readonly observer: LeadershipObserver;
  readonly peers: PeerObserver;
  private readonly parts: EngineParts;
  private readonly hooks: EngineHooks;
  private readonly inbox: Inbox;
  private readonly outbox: Outbox;
  private readonly logClock: LogClock;
  private scheduled = false;

  constructor(parts: EngineParts, hooks: EngineHooks) {
    this.parts = parts;
    this.hooks = hooks;
    const { clock, random, storage, transport, fsm, metrics, probe } = parts;
    const options = parts.options.current;
    this.logClock = new LogClock(clock, () => parts.options.current.sessionTtlMs / 4);
    this.inbox = new Inbox(metrics);
    this.outbox = new Outbox(transport, clock);
    const own = { origin: this.id, boot: random.int(2 ** 32) };
    const { maxPendingBytes, maxProposalBytes } = options;
    const timeoutMs = (): number => parts.options.current.proposalTimeoutMs;
    this.proposals = new Proposals(clock, { ...own, maxPendingBytes, maxProposalBytes, timeoutMs }, metrics);
    const retryMs = options.electionTicks * Math.max(options.tickMs, 1);
    this.reads = new Reads(clock, { ...own, timeoutMs: () => parts.options.current.readTimeoutMs, retryMs });
    const deliver = (responses: readonly Message[]): void => this.deliver(responses);
    const fail = (error: unknown): void => hooks.fail(error);
    this.writer = new Writer(storage, clock, metrics, {
      deliver,
      fail,
      restore: ({ index }) => this.restore(index),
    });
    this.applier = new Applier(fsm, clock, {
      deliver,
      fail,
      reconfigure: (change) => {
        const tried = this.raw.tryConfChange(change);
        const confState = this.raw.applyConfChange(change);
        return typeof tried === "string" ? tried : confState;
      },
      confState: () => this.raw.confState(),
      configured: (index) => probe.configured?.(index, this.raw.confState()),
      membersChanged: (members, removed) => {
        for (const id of removed) this.forget(id);
        hooks.membersChanged(members, removed);
      },
      settle: (ticket, outcome) => this.proposals.settle(ticket, outcome),
      applied: (index) => this.onApplied(index),
    });
    this.raw = new RawNode({
      ...coreOptions(options),
      id: this.id,
      storage,
      random,
      applied: storage.snapshots()[0]?.index ?? 0,
      lease: parts.lease,
      onEvent: (event) => this.onEvent(event),
      onCommit: (before, index) => probe.committed?.(before, index),
      onQuorum: (index) => probe.quorumReached?.(index),
    });
    this.observer = new LeadershipObserver(this.leadership(), parts.log);
    this.peers = new PeerObserver(options.electionTicks, parts.log);
  }

  get id(): NodeId {
    return this.parts.storage.identity.nodeId;
  }

  leadership(): Leadership {
    const { term, lead } = this.raw.state;
    if (!this.hooks.open() || lead === None) {
      return { term, leader: undefined, address: undefined, isLeader: false, ready: false };
    }
    const isLeader = this.raw.state.isLeader();
    const address = this.applier.members.get(lead)?.address;
    return { term, leader: lead, address, isLeader, ready: isLeader && this.applier.term === term };
  }

  /** How long the write or the application in progress has taken, ms. */
  busyMs(): number {
    return Math.max(this.writer.busyMs(), this.applier.busyMs());
  }

  /** Replaces the state by a stored snapshot's. */
  async restore(index: number): Promise<void> {
    this.parts.probe.restoring?.(index);
    await this.applier.restore(this.parts.storage, index);
  }

  receive(messages: readonly Message[]): void {
    for (const m of messages) this.inbox.push(m);
    this.wake();
  }

  unreachable(peer: NodeId): void {
    if (!this.hooks.open()) return;
    this.raw.reportUnreachable(peer);
    this.wake();
  }

  snapshotSent(to: NodeId, status: SnapshotStatus): void {
    if (!this.hooks.open()) return;
    this.raw.reportSnapshot(to, status);
    this.wake();
  }

  /**
   * Campaigns now, or has the leader hand over to this member: voters that hear a leader do not vote for another, unless
   * the leader asks for it, and only then does its lease end in time.
   */
  campaign(): void {
    const { leader, isLeader } = this.leadership();
    if (isLeader) return;
    if (leader === undefined) this.raw.campaign();
    else this.raw.transferLeader(this.id);
    this.observe();
    this.wake();
  }

  tick(): void {
    const { options, log } = this.parts;
    this.peers.tick();
    // A leader that can't write or apply gives way, and does not ask for votes until it can.
    if (this.busyMs() <= options.current.stallMs) {
      this.raw.tick();
    } else if (this.leadership().isLeader) {
      log.warn("leader gives way: its disk or state machine stalls", { writeMs: this.writer.busyMs() });
      this.raw.stepDown();
    }
    this.observe();
    this.observePeers();
    this.proposals.expire();
    this.reads.expire();
    this.moveLogClock();
    this.wake();
  }

  wake(when: Defer = this.parts.defer): void {
    if (this.scheduled || !this.hooks.open()) return;
    this.scheduled = true;
    when(() => {
      this.scheduled = false;
      if (!this.hooks.open()) return;
      try {
        this.turn();
      } catch (error) {
        this.hooks.fail(error);
      }
    });
  }

  /** The member ends: listeners are called, and what is pending is rejected. */
  close(): void {
    this.parts.metrics.isLeader.set(0);
    this.observer.observe(this.leadership());
    this.observer.notify();
    this.peers.observe(undefined);
    this.peers.notify();
    this.proposals.close();
    this.reads.close();
    this.inbox.drain();
    this.outbox.close();
  }

  private turn(): void {
    for (const m of this.inbox.drain()) this.step(m);
    const queue = this.proposals.drain();
    if (queue.length > 0) this.proposeAll(queue);
    this.reads.issue((context) => this.raw.readIndex(context));
    while (this.raw.hasReady()) this.handleReady();
    this.serveReads();
    this.observer.notify();
    this.peers.notify();
  }

  private proposeAll(queue: readonly Queued[]): void {
    const leadership = this.leadership();
    const inTime = queue.filter(({ sequence, term }) => {
      if (term === undefined || (leadership.isLeader && leadership.term === term)) return true;
      this.proposals.refuse(sequence, termOver(term, leadership));
      return false;
    });
    // A leader takes all at once; what is handed on travels in messages that the transport carries.
    const most = leadership.isLeader ? Number.POSITIVE_INFINITY : this.parts.options.current.maxAppendBytes;
    for (const batch of inBatches(inTime, most)) this.proposeBatch(batch, leadership);
  }

  private proposeBatch(batch: readonly Queued[], leadership: Leadership): void {
    try {
      this.raw.proposeBatch(batch.map(({ data }) => data));
    } catch (error) {
      if (!RaftError.is(error, "RAFT_PROPOSAL_DROPPED")) throw error;
      const { reason } = error.failure;
      const led = reason !== "no-leader" && reason !== "forwarding-disabled";
      const refusal = led ? (error as RaftError) : notLeader(leadership);
      for (const { sequence } of batch) this.proposals.refuse(sequence, refusal);
    }
  }

  private step(m: Message): void {
    this.outbox.heard(m);
    this.peers.heard(m.from);
    try {
      if (m.type === "MsgProp") checkForwarded(m, this.parts.options.current.maxProposalBytes);
      this.raw.step(m);
    } catch (error) {
      if (!RaftError.is(error)) throw error;
      this.parts.log.debug("message refused", { type: m.type, from: m.from, error: error.message });
    }
    this.observe();
  }

  private handleReady(): void {
    const { metrics, defer } = this.parts;
    const ready = this.raw.ready();
    for (const readState of ready.readStates) this.reads.confirm(readState);
    const outgoing: Message[] = [];
    let append: Message | undefined;
    let apply: Message | undefined;
    const requests = ready.messages.filter(({ type }) => type === "MsgVote");
    for (const m of ready.messages) {
      if (m.to === LocalAppendThread) append = { ...m, responses: [...requests, ...m.responses] };
      else if (m.type === "MsgVote") continue; // N2
      else if (m.to === LocalApplyThread) apply = m;
      else if (m.type === "MsgSnap") this.hooks.sendSnapshot(m);
      else outgoing.push(m);
    }
    this.outbox.send(outgoing);
    // What followers wait for leaves before this member's own disk is kept busy, and that is before it applies.
    if (append !== undefined) {
      const matters = ready.mustSync || append.snapshot !== undefined || append.responses.length > 0;
      if (matters) this.writer.push(append, outgoing.length > 0 ? defer : undefined);
      else this.writer.hold(append);
    }
    if (apply !== undefined) this.applier.push(apply);
    if (ready.hardState !== undefined) {
      metrics.term.set(ready.hardState.term);
      metrics.commitIndex.set(ready.hardState.commit);
    }
  }

  /** N1: the writes that these depend on are durable. */
  private deliver(responses: readonly Message[]): void {
    if (!this.hooks.open()) return;
    this.outbox.send(responses.filter(({ to }) => to !== this.id));
    for (const m of responses) if (m.to === this.id) this.step(m);
    this.observer.notify();
    if (this.raw.hasReady()) this.wake();
  }

  private forget(id: NodeId): void {
    this.peers.forget(id);
    this.outbox.forget(id);
  }

  private onApplied(index: number): void {
    if (!this.hooks.open()) return;
    this.parts.metrics.appliedIndex.set(index);
    this.observe();
    this.observer.notify();
    this.serveReads();
    this.hooks.applied(index);
  }

  private serveReads(): void {
    // A state that is being replaced must not be read.
    if (!this.applier.restoring) this.reads.serve(this.applier.index, () => this.raw.leaseValid());
  }

  /** After each step: what was asked of a leader or in a term that is over is settled at once. */
  private observe(): void {
    const { log, metrics } = this.parts;
    const leadership = this.leadership();
    if (!this.observer.observe(leadership)) return;
    metrics.isLeader.set(leadership.isLeader ? 1 : 0);
    if (leadership.leader !== undefined) metrics.leaderChanges.add();
    this.logClock.restart();
    this.observePeers();
    log.info("leadership", { ...leadership });
    this.proposals.leadershipChanged(leadership);
    this.reads.leadershipChanged(leadership);
  }

  private observePeers(): void {
    if (!this.peers.isObserved) return;
    this.peers.observe(this.leadership().isLeader ? this.peersKnown() : undefined);
  }

  /** What a leader knows of the other members. */
  private peersKnown(): Omit<PeerState, "isHeard">[] {
    const { progress } = this.raw.status();
    const enough = this.raw.state.log.lastIndex() - this.parts.options.current.promoteLagEntries;
    const members = [...this.applier.members.values()].filter(({ id }) => id !== this.id).sort((a, b) => a.id - b.id);
    return members.map(({ id, address }) => {
      const known = progress.get(id);
      const isCaughtUp = known !== undefined && known.match > 0 && known.match >= enough;
      const tags = this.hooks.tagsOf(id);
      return { id, address, isLearner: known?.isLearner ?? true, isCaughtUp, tags };
    });
  }

  private moveLogClock(): void {
    const elapsedMs = this.hooks.open() ? this.logClock.due() : undefined;
    if (elapsedMs === undefined || this.applier.sessions.size === 0 || !this.leadership().isLeader) return;
    this.proposals.add({ kind: "clock", elapsedMs }).catch((error: unknown) => {
      this.parts.log.debug("the log's clock was not moved", { error: errorText(error) });
    });
  }

  private onEvent(event: RaftEvent): void {
    if (event.kind === "conf-change-refused") this.hooks.changeRefused(event.why);
    this.parts.log.debug("raft event", { ...event });
  }
}

/** In order, each of at most so many bytes, or of one proposal. */
function inBatches(queue: readonly Queued[], maxBytes: number): readonly (readonly Queued[])[] {
  const batches: Queued[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const one of queue) {
    if (bytes + one.data.length > maxBytes || batches.length === 0) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)?.push(one);
    bytes += one.data.length;
  }
  return batches;
}
