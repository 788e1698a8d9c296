/**
 * A member: the core driven by a clock, a storage, a transport and a state machine.
 *
 * All proposals, reads and messages of a turn of the event loop become one Ready. Its entries go to the peers at once
 * and to disk through the writer; what commits goes to the applier. N1: whatever depends on a write is in the
 * responses that the writer delivers once it is durable. N2: so do a candidate's requests for votes: were its own term
 * not durable, it could win by the others' votes, append, crash, and lead the same term again with another log.
 */
import {
  errorText,
  noMetrics,
  silentLogger,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
  type Timer,
} from "@warren/std";

import {
  LocalAppendThread,
  LocalApplyThread,
  None,
  RawNode,
  type ConfChangeSingle,
  type Message,
  type NodeId,
  type RaftEvent,
  type Status,
} from "../core/index.ts";
import { RaftError, type RaftFailure } from "../errors.ts";
import { checkLevel, type Formats } from "../levels.ts";
import type { RaftStorage } from "../storage/index.ts";
import { formats as currentFormats } from "../transport/formats.ts";
import type { Member, Transport } from "../transport/transport.ts";
import { Applier } from "./applier.ts";
import { Inbox } from "./inbox.ts";
import { LogClock } from "./log-clock.ts";
import { LeadershipObserver, type Leadership, type LeadershipListener, type LeaderTermListener } from "./leadership.ts";
import { Membership } from "./membership.ts";
import { raftMetrics, type RaftMetrics } from "./metrics.ts";
import { coreOptions, leaseMs, type ResolvedOptions } from "./options.ts";
import { Outbox } from "./outbox.ts";
import { Peers } from "./peers.ts";
import {
  dropped,
  notLeader,
  Proposals,
  termOver,
  type Applied,
  type ProposeOptions,
  type Queued,
} from "./proposals.ts";
import { closed, Reads } from "./reads.ts";
import { Snapshots } from "./snapshots.ts";
import type { StateMachine } from "./state-machine.ts";
import { Writer } from "./writer.ts";

export interface RaftNodeDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly fsm: StateMachine;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** What the program reads and writes; a test of a mixed group gives another program's. @default this program's */
  readonly formats?: Formats;
  /** Runs something at the end of this turn of the event loop. @default setImmediate */
  readonly defer?: (run: () => void) => void;
}

export class RaftNode implements AsyncDisposable {
  readonly id: NodeId;
  private readonly options: ResolvedOptions;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly metrics: RaftMetrics;
  private readonly storage: RaftStorage;
  private readonly transport: Transport;
  private readonly defer: (run: () => void) => void;
  private readonly proposals: Proposals;
  private readonly reads: Reads;
  private readonly writer: Writer;
  private readonly applier: Applier;
  private readonly raw: RawNode;
  private readonly observer: LeadershipObserver;
  private readonly ended = Promise.withResolvers<RaftError | undefined>();
  private readonly inbox: Inbox;
  private readonly outbox: Outbox;
  private readonly peers: Peers;
  private readonly membership: Membership;
  private readonly snapshots: Snapshots;
  private scheduled = false;
  private timer: Timer | undefined;
  private readonly logClock: LogClock;
  private readonly formats: Formats;
  private level: number;
  private state: "open" | "draining" | "closed" = "open";
  private closing: Promise<void> | undefined;

  constructor(dependencies: RaftNodeDependencies, options: ResolvedOptions) {
    const { clock, random, storage, transport, fsm } = dependencies;
    this.options = options;
    this.clock = clock;
    this.storage = storage;
    this.transport = transport;
    this.id = storage.identity.nodeId;
    this.formats = dependencies.formats ?? currentFormats;
    this.level = startLevel(options.activeLevel, storage.level, this.formats);
    this.log = (dependencies.log ?? silentLogger).child({ component: "raft", node: this.id });
    this.metrics = raftMetrics(dependencies.metrics ?? noMetrics);
    this.defer = dependencies.defer ?? ((run) => void setImmediate(run));
    this.logClock = new LogClock(clock, options.sessionTtlMs / 4);
    this.inbox = new Inbox(this.metrics);
    this.outbox = new Outbox(transport, clock);
    const own = { origin: this.id, boot: random.int(2 ** 32) };
    const limits = { ...own, maxPendingBytes: options.maxPendingBytes, timeoutMs: options.proposalTimeoutMs };
    this.proposals = new Proposals(clock, limits, this.metrics);
    const retryMs = options.electionTicks * Math.max(options.tickMs, 1);
    this.reads = new Reads(clock, { ...own, timeoutMs: options.readTimeoutMs, retryMs });
    const deliver = (responses: readonly Message[]): void => this.deliver(responses);
    const fail = (error: unknown): void => this.fail(error);
    this.writer = new Writer(storage, clock, this.metrics, {
      deliver,
      fail,
      restore: ({ index }) => this.applier.restore(storage, index),
    });
    this.applier = new Applier(fsm, clock, {
      deliver,
      fail,
      reconfigure: (change) => this.raw.applyConfChange(change),
      confState: () => this.raw.confState(),
      membersChanged: (members, removed) => this.peers.changed(members, removed),
      settle: (ticket, outcome) => this.proposals.settle(ticket, outcome),
      applied: (index) => this.onApplied(index),
    });
    this.raw = new RawNode({
      ...coreOptions(options),
      id: this.id,
      storage,
      random,
      applied: storage.snapshots()[0]?.index ?? 0,
      lease: { nowMs: () => clock.monotonic(), durationMs: leaseMs(options) },
      onEvent: (event) => this.onEvent(event),
    });
    this.observer = new LeadershipObserver(this.leadership(), this.log);
    const { raw, log, applier, proposals, metrics } = this;
    const activeLevel = (): number => this.level;
    const { formats: levels } = this;
    const peers = { storage, transport, log, members: () => applier.members, levels, activeLevel, fail };
    this.peers = new Peers(peers, options.join);
    this.membership = new Membership({
      raw,
      storage,
      clock,
      options,
      proposals,
      leadership: () => this.leadership(),
      onLeadership: (listener) => this.onLeadership(listener),
      wake: () => this.wake(),
    });
    this.snapshots = new Snapshots({
      storage,
      transport,
      applier,
      options,
      metrics,
      log,
      confState: () => raw.confState(),
      committed: () => raw.basicStatus().commit,
      report: (to, status) => {
        if (this.state === "closed") return;
        raw.reportSnapshot(to, status);
        this.wake();
      },
      fail,
    });
  }

  /** Restores the state machine and joins the others. Called once, by `startRaftNode`. */
  async start(): Promise<void> {
    const newest = this.storage.snapshots()[0];
    if (newest === undefined) this.peers.connect();
    else await this.applier.restore(this.storage, newest.index);
    await this.transport.start({
      hello: this.peers.hello(),
      encode: (messages) => this.formats.encodeMessages(messages, this.level),
      decode: (frame) => this.formats.decodeMessages(frame),
      admit: (peer) => this.peers.admit(peer),
      receive: (messages) => {
        for (const m of messages) this.inbox.push(m);
        this.wake();
      },
      receiveSnapshot: async (message, chunks) => {
        await this.snapshots.receive(message, chunks);
        this.inbox.push(message);
        this.wake();
      },
      unreachable: (peer) => {
        if (this.state === "closed") return;
        this.raw.reportUnreachable(peer);
        this.wake();
      },
    });
    if (this.raw.confState().voters.length === 1 && this.raw.confState().voters[0] === this.id) this.raw.campaign();
    this.armTick();
    this.wake();
  }

  /** Resolves when the node has ended: with what made it stop, or `undefined` after `close()`. */
  get done(): Promise<RaftError | undefined> {
    return this.ended.promise;
  }

  /**
   * Proposes a command; resolves once it is committed and applied here, with the state machine's result. With `term`,
   * the command's log entry is of that term or there is none.
   * Rejects `RAFT_NOT_LEADER`, `RAFT_PROPOSAL_DROPPED` (not in the log), `RAFT_OUTCOME_UNKNOWN` (may be), `RAFT_CLOSED`.
   */
  propose(data: Uint8Array, options: ProposeOptions = {}): Promise<Applied> {
    if (this.state !== "open") return Promise.reject(this.refusal());
    const applied = this.proposals.add({ kind: "command", data }, options);
    // What comes alone waits for no others: it leaves in this very turn of the event loop.
    this.wake(this.proposals.count === 1 ? queueMicrotask : this.defer);
    return applied;
  }

  /** Opens a session; its id. Commands proposed in it are applied exactly once, however often they are repeated. */
  async openSession(): Promise<number> {
    if (this.state !== "open") throw this.refusal();
    const applied = this.proposals.add({ kind: "register", ttlMs: this.options.sessionTtlMs });
    this.wake();
    return (await applied).index;
  }

  /**
   * As `propose`, in a session: repeat it with the same `number` (1, 2, …) after `RAFT_OUTCOME_UNKNOWN`, on any member.
   * Results up to `acknowledged` are forgotten, and those of more than 1,024 numbers ago. Rejects also
   * `RAFT_SESSION_UNKNOWN`.
   */
  proposeInSession(session: number, number: number, acknowledged: number, data: Uint8Array): Promise<Applied> {
    if (this.state !== "open") return Promise.reject(this.refusal());
    const applied = this.proposals.add({ kind: "session", session, number, acknowledged, data });
    this.wake();
    return applied;
  }

  /**
   * Resolves when the local state machine holds all that was committed before the call. Rejects `RAFT_READ_TIMEOUT`, and
   * `RAFT_LEADER_CHANGED` as soon as the leader that was asked leads no more.
   */
  read(): Promise<number> {
    if (this.state === "closed") return Promise.reject(closed());
    const index = this.reads.add();
    this.wake();
    return index;
  }

  status(): Status & { readonly members: readonly Member[]; readonly sessions: number } {
    return { ...this.raw.status(), members: [...this.applier.members.values()], sessions: this.applier.sessions.size };
  }

  /** Who leads, as far as this member knows; a node that ended leads no more and knows of nobody. */
  leadership(): Leadership {
    const { term, lead, raftState } = this.raw.basicStatus();
    if (this.state === "closed" || lead === None) {
      return { term, leader: undefined, address: undefined, isLeader: false, ready: false };
    }
    const isLeader = raftState === "StateLeader";
    const address = this.applier.members.get(lead)?.address;
    return { term, leader: lead, address, isLeader, ready: isLeader && this.applier.term === term };
  }

  /**
   * Calls `listener` at each change of term, of leader, or of this member's part in it, each apart however fast they
   * follow each other. Returns what ends that.
   */
  onLeadership(listener: LeadershipListener): () => void {
    return this.observer.onLeadership(listener);
  }

  /**
   * Calls `listener` once for each term that this member leads, when it has applied an entry of that term; at once, if
   * it has. The term's `signal` is aborted when it leads that term no more. Returns what ends the calls.
   */
  onLeaderTerm(listener: LeaderTermListener): () => void {
    return this.observer.onLeaderTerm(listener);
  }

  /** The level that this member writes. */
  get activeLevel(): number {
    return this.level;
  }

  /**
   * Writes `level` from now on; one that is not above the active level changes nothing. Every member must read it: one
   * that does not is refused. It stays across restarts. Rejects `RAFT_LEVEL_UNREADABLE` if this program does not know it.
   */
  async setActiveLevel(level: number): Promise<void> {
    this.ensureOpen();
    checkLevel(level, "what is to be written", this.formats);
    if (level <= this.level) return;
    await this.storage.raiseLevel(level);
    this.level = Math.max(this.level, level);
  }

  /** Adds a member that has no vote yet; its storage is empty and it knows some of us by `join`. Leader only. */
  addLearner(member: Member): Promise<void> {
    return this.changeMembers([{ type: "ConfChangeAddLearnerNode", nodeId: member.id }], [member]);
  }

  /** Gives a learner its vote, if it has nearly caught up. Leader only. */
  async promote(id: NodeId): Promise<void> {
    this.ensureOpen();
    await this.membership.promote(id);
  }

  /** Takes a voter's vote; it stays as a learner. Leader only. */
  demote(id: NodeId): Promise<void> {
    return this.changeMembers([{ type: "ConfChangeAddLearnerNode", nodeId: id }]);
  }

  /** Removes a member; a voter is demoted first. The leader can't remove itself: transfer leadership. Leader only. */
  async remove(id: NodeId): Promise<void> {
    this.ensureOpen();
    await this.membership.remove(id);
  }

  /**
   * Any changes in one step, through a joint configuration if there are several. Leader only. Rejects
   * `RAFT_NOT_LEADER`, `RAFT_MEMBERSHIP_REFUSED`, `RAFT_PROPOSAL_DROPPED`, `RAFT_OUTCOME_UNKNOWN`.
   */
  async changeMembers(changes: readonly ConfChangeSingle[], members: readonly Member[] = []): Promise<void> {
    this.ensureOpen();
    await this.membership.change(changes, members);
  }

  /** Hands leadership over; to the follower that has most of the log, unless told. Rejects `RAFT_TRANSFER_FAILED`. */
  async transferLeadership(to?: NodeId): Promise<void> {
    if (this.state === "closed") throw closed();
    await this.membership.transferLeadership(to);
  }

  /** One tick; only with `tickMs: 0` is it the caller's to give. */
  tick(): void {
    if (this.state === "closed") return;
    const stalled = Math.max(this.writer.busyMs(), this.applier.busyMs()) > this.options.stallMs;
    // A leader that can't write or apply gives way, and does not ask for votes until it can.
    if (!stalled) {
      this.raw.tick();
    } else if (this.leadership().isLeader) {
      this.log.warn("leader gives way: its disk or state machine stalls", { writeMs: this.writer.busyMs() });
      this.raw.stepDown();
    }
    this.observe();
    this.proposals.expire();
    this.reads.expire();
    this.moveLogClock();
    this.wake();
  }

  /** Takes no more proposals, waits for those pending, hands leadership over, and closes; all within `graceMs`. */
  async drain({ graceMs }: { readonly graceMs: number }): Promise<void> {
    if (this.state !== "open") return this.close();
    this.state = "draining";
    const late = Promise.withResolvers<void>();
    const timer = this.clock.setTimeout(late.resolve, graceMs);
    await Promise.race([late.promise, this.proposals.idle()]);
    if (this.leadership().isLeader && this.membership.heir() !== undefined) {
      const handover = this.transferLeadership().catch((error: unknown) =>
        this.log.warn("leadership was not handed over", { error: errorText(error) }),
      );
      await Promise.race([late.promise, handover]);
    }
    timer.cancel();
    await this.close();
  }

  /** Ends abruptly; what is pending is rejected. Idempotent. */
  close(): Promise<void> {
    this.closing ??= this.end(undefined);
    return this.closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async end(error: RaftError | undefined): Promise<void> {
    this.state = "closed";
    this.timer?.cancel();
    this.metrics.isLeader.set(0);
    this.observer.observe(this.leadership());
    this.observer.notify();
    this.proposals.close();
    this.reads.close();
    this.inbox.drain();
    this.outbox.close();
    await this.transport.close();
    await this.writer.idle();
    await this.applier.idle();
    await this.snapshots.close();
    let reason = error;
    try {
      await this.storage.close();
    } catch (late) {
      // What was acknowledged is on disk all the same.
      this.log.error("closing the log failed", { error: errorText(late) });
      reason ??= asFailure(late);
    }
    this.ended.resolve(reason);
  }

  private fail(cause: unknown): void {
    if (this.state === "closed") return;
    const error = asFailure(cause);
    this.log.error("raft node stops", { error: errorText(error) });
    this.state = "closed";
    // Not awaited here: it waits for the very work that failed.
    this.closing ??= this.end(error);
  }

  private ensureOpen(): void {
    if (this.state !== "open") throw this.refusal();
  }

  private refusal(): RaftError {
    return this.state === "draining" ? dropped("draining") : closed();
  }

  private armTick(): void {
    const { tickMs } = this.options;
    if (tickMs === 0) return;
    this.timer = this.clock.setTimeout(() => {
      this.armTick();
      this.tick();
    }, tickMs);
  }

  private wake(when: (run: () => void) => void = this.defer): void {
    if (this.scheduled || this.state === "closed") return;
    this.scheduled = true;
    when(() => {
      this.scheduled = false;
      if (this.state === "closed") return;
      try {
        this.turn();
      } catch (error) {
        this.fail(error);
      }
    });
  }

  private turn(): void {
    for (const m of this.inbox.drain()) this.step(m);
    const queue = this.proposals.drain();
    if (queue.length > 0) this.proposeAll(queue);
    this.reads.issue((context) => this.raw.readIndex(context));
    while (this.raw.hasReady()) this.handleReady();
    this.serveReads();
    this.observer.notify();
  }

  private proposeAll(queue: readonly Queued[]): void {
    const leadership = this.leadership();
    const inTime = queue.filter(({ sequence, term }) => {
      if (term === undefined || (leadership.isLeader && leadership.term === term)) return true;
      this.proposals.refuse(sequence, termOver(term, leadership));
      return false;
    });
    try {
      this.raw.proposeBatch(inTime.map(({ data }) => data));
    } catch (error) {
      if (!RaftError.is(error, "RAFT_PROPOSAL_DROPPED")) throw error;
      const { reason } = error.failure as RaftFailure & { readonly code: "RAFT_PROPOSAL_DROPPED" };
      const led = reason !== "no-leader" && reason !== "forwarding-disabled";
      for (const { sequence } of inTime)
        this.proposals.refuse(sequence, led ? (error as RaftError) : notLeader(leadership));
    }
  }

  private step(m: Message): void {
    this.outbox.heard(m);
    try {
      this.raw.step(m);
    } catch (error) {
      if (!RaftError.is(error)) throw error;
      this.log.debug("message refused", { type: m.type, from: m.from, error: error.message });
    }
    this.observe();
  }

  private handleReady(): void {
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
      else if (m.type === "MsgSnap") this.snapshots.send(m);
      else outgoing.push(m);
    }
    this.outbox.send(outgoing);
    // What followers wait for leaves before this member's own disk is kept busy, and that is before it applies.
    if (append !== undefined) {
      const matters = ready.mustSync || append.snapshot !== undefined || append.responses.length > 0;
      if (matters) this.writer.push(append, outgoing.length > 0 ? this.defer : undefined);
      else this.writer.gather(append);
    }
    if (apply !== undefined) this.applier.push(apply);
    if (ready.hardState !== undefined) {
      this.metrics.term.set(ready.hardState.term);
      this.metrics.commitIndex.set(ready.hardState.commit);
    }
  }

  /** N1: the writes that these depend on are durable. */
  private deliver(responses: readonly Message[]): void {
    if (this.state === "closed") return;
    this.outbox.send(responses.filter(({ to }) => to !== this.id));
    for (const m of responses) if (m.to === this.id) this.step(m);
    this.observer.notify();
    if (this.raw.hasReady()) this.wake();
  }

  private onApplied(index: number): void {
    this.metrics.appliedIndex.set(index);
    this.observe();
    this.observer.notify();
    this.serveReads();
    this.snapshots.considerAt(index);
  }

  private serveReads(): void {
    this.reads.serve(this.applier.index, () => this.raw.leaseValid());
  }

  /** After each step: what was asked of a leader or in a term that is over is settled at once. */
  private observe(): void {
    const leadership = this.leadership();
    if (!this.observer.observe(leadership)) return;
    this.metrics.isLeader.set(leadership.isLeader ? 1 : 0);
    if (leadership.leader !== undefined) this.metrics.leaderChanges.add();
    this.logClock.restart();
    this.log.info("leadership", { ...leadership });
    this.proposals.leadershipChanged(leadership);
    this.reads.leadershipChanged(leadership);
  }

  private moveLogClock(): void {
    const elapsedMs = this.state === "open" ? this.logClock.due() : undefined;
    if (elapsedMs === undefined || this.applier.sessions.size === 0 || !this.leadership().isLeader) return;
    this.proposals.add({ kind: "clock", elapsedMs }).catch((error: unknown) => {
      this.log.debug("the log's clock was not moved", { error: errorText(error) });
    });
  }

  private onEvent(event: RaftEvent): void {
    if (event.kind === "conf-change-refused") this.membership.refused(event.why);
    this.log.debug("raft event", { ...event });
  }
}

/** What was written is not unwritten: a storage's level stands, whatever the option says. */
function startLevel(wanted: number | undefined, stored: number, { minLevel, level }: Formats): number {
  if (wanted !== undefined && (wanted < minLevel || wanted > level)) {
    const text = `raft option activeLevel is ${wanted}, and this program reads levels ${minLevel} to ${level}`;
    throw new RaftError({ code: "RAFT_OPTIONS_INVALID", option: "activeLevel" }, text);
  }
  return Math.max(wanted ?? minLevel, stored);
}

function asFailure(cause: unknown): RaftError {
  if (RaftError.is(cause)) return cause as RaftError;
  const text = "this member stopped: its log or its core is in a state it must not go on from";
  return new RaftError({ code: "RAFT_STORAGE_FAILED" }, text, { cause });
}
