/** A member: its life and its methods. What drives the core is in `engine.ts`. */
import {
  errorText,
  noMetrics,
  silentLogger,
  systemClock,
  systemRandom,
  type Clock,
  type Logger,
  type Metrics,
  type Random,
  type Timer,
} from "@warren/std";

import { LogLost, type ConfChangeSingle, type NodeId, type SnapshotMetadata, type Status } from "../core/index.ts";
import type { Raft } from "../core/raft.ts";
import { RaftError } from "../errors.ts";
import { checkLevel, type Formats } from "../levels.ts";
import type { RaftStorage } from "../storage/index.ts";
import { formats as currentFormats } from "../transport/formats.ts";
import type { Member, Transport } from "../transport/transport.ts";
import { bootTimeMs, bootTimeStepMs } from "./boot-time.ts";
import { Engine, type Defer, type NodeProbe } from "./engine.ts";
import { exportedSnapshot, type ExportedSnapshot } from "./exported-snapshot.ts";
import type { Leadership, LeadershipListener, LeaderTermListener } from "./leadership.ts";
import { Membership } from "./membership.ts";
import { raftMetrics } from "./metrics.ts";
import { LiveOptions, leaseMs, startLevel, type ChangeableOptions, type ResolvedOptions } from "./options.ts";
import type { PeersListener } from "./peer-observer.ts";
import { Peers, wiped, type Refusal } from "./peers.ts";
import { dropped, type Applied, type ProposeOptions } from "./proposals.ts";
import { closed } from "./reads.ts";
import { sessionProblem } from "./sessions.ts";
import { Snapshots } from "./snapshots.ts";
import type { StateMachine } from "./state-machine.ts";

export interface RaftNodeDependencies {
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly fsm: StateMachine;
  /** @default systemClock */
  readonly clock?: Clock;
  /** @default systemRandom */
  readonly random?: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** What the program reads and writes; a test of a mixed group gives another program's. @default this program's */
  readonly formats?: Formats;
  /** @default setImmediate */
  readonly defer?: Defer;
  /** A checker, for tests. */
  readonly probe?: NodeProbe;
}

export interface NodeStatus extends Status {
  readonly members: readonly Member[];
  /** How many client sessions are open. */
  readonly sessions: number;
  /** Members from which no message came within an election timeout; a follower gets messages from its leader only. */
  readonly silent: readonly NodeId[];
  /** Peers that were refused, here or by them, newest last. */
  readonly refusals: readonly Refusal[];
}

/** What a member is inside, at any moment as it is then, for checkers; not to be changed. */
export interface Inspection {
  readonly raft: Raft;
  /** The index up to which the state machine and the sessions have applied the log. */
  readonly applied: number;
  readonly leaseValid: boolean;
  /** How long the write or the application in progress has taken, ms. */
  readonly busyMs: number;
}

/** How long a member that ends waits for an application in progress, which it can't stop, ms. */
const applyGraceMs = 1_000;

export class RaftNode implements AsyncDisposable {
  readonly id: NodeId;
  private readonly live: LiveOptions;
  private readonly clock: Clock;
  private readonly log: Logger;
  private readonly storage: RaftStorage;
  private readonly transport: Transport;
  private readonly defer: Defer;
  private readonly engine: Engine;
  private readonly inside: Inspection;
  private readonly peers: Peers;
  private readonly membership: Membership;
  private readonly snapshots: Snapshots;
  private readonly formats: Formats;
  private level: number;
  private timer: Timer | undefined;
  private readonly ended = Promise.withResolvers<RaftError | undefined>();
  private state: "open" | "draining" | "closed" = "open";
  private closing: Promise<void> | undefined;

  constructor(dependencies: RaftNodeDependencies, options: ResolvedOptions) {
    const { clock = systemClock, random = systemRandom, storage, transport, fsm } = dependencies;
    this.live = new LiveOptions(options);
    this.clock = clock;
    this.storage = storage;
    this.transport = transport;
    this.id = storage.identity.nodeId;
    this.formats = dependencies.formats ?? currentFormats;
    this.level = startLevel(options.activeLevel, storage.level, this.formats);
    this.log = (dependencies.log ?? silentLogger).child({ component: "raft", node: this.id });
    this.defer = dependencies.defer ?? ((run) => void setImmediate(run));
    const { log, defer } = this;
    const metrics = raftMetrics(dependencies.metrics ?? noMetrics);
    const fail = (error: unknown): void => this.fail(error);
    const lease =
      clock === systemClock
        ? { nowMs: bootTimeMs, durationMs: Math.max(0, leaseMs(options) - bootTimeStepMs) }
        : { nowMs: () => clock.monotonic(), durationMs: leaseMs(options) };
    const parts = { clock, random, lease, storage, transport, fsm, options: this.live, log, metrics, defer };
    this.engine = new Engine(
      { ...parts, probe: dependencies.probe ?? {} },
      {
        open: () => this.state !== "closed",
        fail,
        membersChanged: (members, removed) => this.peers.changed(members, removed),
        sendSnapshot: (m) => this.snapshots.send(m),
        applied: (index) => this.snapshots.considerAt(index),
        changeRefused: (why) => this.membership.refused(why),
        tagsOf: (id) => this.peers.tagsOf(id),
      },
    );
    const { engine } = this;
    const { raw, applier, proposals, writer } = engine;
    this.inside = {
      raft: raw.state,
      get applied() {
        return applier.index;
      },
      get leaseValid() {
        return raw.leaseValid();
      },
      // Measured here, not taken from what the member itself decides by: a checker compares the two.
      get busyMs() {
        return Math.max(writer.busyMs(), applier.busyMs());
      },
    };
    const members = (): ReadonlyMap<NodeId, Member> => applier.members;
    const activeLevel = (): number => this.level;
    const { formats: levels } = this;
    const { tags } = options;
    const known = { storage, transport, clock, log, metrics, members, levels, tags, activeLevel, fail };
    this.peers = new Peers(known, options.join);
    this.membership = new Membership({
      raw,
      storage,
      transport,
      clock,
      options: this.live,
      proposals,
      members,
      active: (id) => this.engine.peers.isActive(id),
      leadership: () => this.leadership(),
      onLeadership: (listener) => this.onLeadership(listener),
      wake: () => this.engine.wake(),
    });
    this.snapshots = new Snapshots({
      storage,
      transport,
      applier,
      options: this.live,
      metrics,
      log,
      confState: () => raw.confState(),
      committed: () => raw.basicStatus().commit,
      report: (to, status) => this.engine.snapshotSent(to, status),
      fail,
    });
  }

  /** Restores the state machine and joins the others. Called once, by `startRaftNode`. */
  async start(): Promise<void> {
    const newest = this.storage.snapshots()[0];
    if (newest === undefined) this.peers.connect();
    else await this.engine.restore(newest.index);
    await this.transport.start({
      hello: this.peers.hello(),
      encode: (messages) => this.formats.encodeMessages(messages, this.level),
      decode: (frame) => this.formats.decodeMessages(frame),
      admit: (peer) => this.peers.admit(peer),
      refused: (refusal) => this.peers.refused(refusal),
      receive: (messages) => this.engine.receive(messages),
      receiveSnapshot: async (message, source) => {
        await this.snapshots.receive(message, source);
        this.engine.receive([message]);
      },
      unreachable: (peer) => this.engine.unreachable(peer),
    });
    const { voters } = this.engine.raw.confState();
    if (voters.length === 1 && voters[0] === this.id) this.engine.campaign();
    this.armTick();
    this.engine.wake();
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
    if (!(data instanceof Uint8Array)) return Promise.reject(noBytes());
    const applied = this.engine.proposals.add({ kind: "command", data }, options);
    // What comes alone waits for no others: it leaves in this very turn of the event loop.
    this.engine.wake(this.engine.proposals.count === 1 ? queueMicrotask : this.defer);
    return applied;
  }

  /** Opens a session; its id. Commands proposed in it are applied exactly once, however often they are repeated. */
  async openSession(): Promise<number> {
    if (this.state !== "open") throw this.refusal();
    const applied = this.engine.proposals.add({ kind: "register", ttlMs: this.options.sessionTtlMs });
    this.engine.wake();
    return (await applied).index;
  }

  /**
   * As `propose`, in a session: repeat it with the same `number` (1, 2, …) after `RAFT_OUTCOME_UNKNOWN`, on any member.
   * Results up to `acknowledged` are forgotten, and those of more than 1,024 numbers ago. Rejects also
   * `RAFT_SESSION_UNKNOWN`.
   */
  proposeInSession(session: number, number: number, acknowledged: number, data: Uint8Array): Promise<Applied> {
    if (this.state !== "open") return Promise.reject(this.refusal());
    const wrong = data instanceof Uint8Array ? sessionProblem(session, number, acknowledged) : noBytes();
    if (wrong !== undefined) return Promise.reject(wrong);
    const applied = this.engine.proposals.add({ kind: "session", session, number, acknowledged, data });
    this.engine.wake();
    return applied;
  }

  /**
   * Resolves when the local state machine holds all that was committed before the call. Rejects `RAFT_READ_TIMEOUT`, and
   * `RAFT_LEADER_CHANGED` as soon as the leader that was asked leads no more.
   */
  read(): Promise<number> {
    if (this.state === "closed") return Promise.reject(closed());
    const index = this.engine.reads.add();
    this.engine.wake();
    return index;
  }

  status(): NodeStatus {
    const { raw, applier } = this.engine;
    const { members, sessions } = applier;
    const silent = [...members.keys()].filter((id) => id !== this.id && !this.engine.peers.isActive(id));
    const refusals = this.peers.refusals();
    return { ...raw.status(), members: [...members.values()], sessions: sessions.size, silent, refusals };
  }

  /** The leader and term that this member knows; no leader on a node that has ended. */
  leadership(): Leadership {
    return this.engine.leadership();
  }

  /**
   * Calls `listener` at each change of term, of leader, or of this member's part in it, each apart however fast they
   * follow each other. Returns what ends that.
   */
  onLeadership(listener: LeadershipListener): () => void {
    return this.engine.observer.onLeadership(listener);
  }

  /**
   * Calls `listener` once for each term that this member leads, when it has applied an entry of that term; at once, if
   * it has. The term's `signal` is aborted when it leads that term no more. Returns what ends the calls.
   */
  onLeaderTerm(listener: LeaderTermListener): () => void {
    return this.engine.observer.onLeaderTerm(listener);
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
  async addLearner(member: Member): Promise<void> {
    this.ensureOpen();
    await this.membership.addLearner(member);
  }

  /** Gives a learner its vote, if it has nearly caught up. Leader only. */
  promote(id: NodeId): Promise<void> {
    return this.changeMembers([{ type: "ConfChangeAddNode", nodeId: id }]);
  }

  /** Takes a voter's vote; it stays as a learner. Leader only. */
  async demote(id: NodeId): Promise<void> {
    this.ensureOpen();
    await this.membership.demote(id);
  }

  /** Gives a member another address. Leader only. */
  async updateMember(member: Member): Promise<void> {
    this.ensureOpen();
    await this.membership.update(member);
  }

  /** Removes a member; a voter is demoted first. The leader can't remove itself: transfer leadership. Leader only. */
  async remove(id: NodeId): Promise<void> {
    this.ensureOpen();
    await this.membership.remove(id);
  }

  /**
   * Any changes in one step, through a joint configuration if there are several; a new voter must be a learner that
   * has nearly caught up, and most of the voters that are left must be heard now. Leader only. Rejects
   * `RAFT_NOT_LEADER`, `RAFT_MEMBERSHIP_REFUSED`, `RAFT_PROPOSAL_DROPPED`, `RAFT_OUTCOME_UNKNOWN`.
   */
  async changeMembers(changes: readonly ConfChangeSingle[], members: readonly Member[] = []): Promise<void> {
    this.ensureOpen();
    await this.membership.change(changes, members);
  }

  /**
   * Hands leadership over to `to`, by default the follower that has most of the log. Leader only. Rejects
   * `RAFT_NOT_LEADER`, `RAFT_MEMBERSHIP_REFUSED` if `to` is no voter, `RAFT_TRANSFER_FAILED`.
   */
  async transferLeadership(to?: NodeId): Promise<void> {
    if (this.state === "closed") throw closed();
    await this.membership.transferLeadership(to);
  }

  /**
   * Takes a snapshot of what is applied, though none is due; its metadata. What is compacted behind it, `trailingEntries`
   * says. Rejects `RAFT_CLOSED`.
   */
  async takeSnapshot(): Promise<SnapshotMetadata> {
    this.ensureOpen();
    return this.snapshots.takeNow();
  }

  /**
   * Drops the log up to `upTo`, by default all that the newest snapshot holds; resolves with the first index that is
   * left. A follower that needs what was dropped is sent the snapshot. Rejects `RAFT_ARGUMENT_INVALID` if no snapshot
   * holds it.
   */
  async compact(upTo?: number): Promise<number> {
    this.ensureOpen();
    return this.snapshots.compact(upTo);
  }

  /**
   * Takes a snapshot of what is applied and resolves with it as a file to keep: read its `chunks` once, to their end.
   * `importSnapshot` begins a new group from it. Members that lag export what they have; `read()` first for all of it.
   */
  async exportSnapshot(): Promise<ExportedSnapshot> {
    this.ensureOpen();
    const { clusterId } = this.storage.identity;
    return exportedSnapshot(await this.snapshots.open(), { level: this.level, clusterId, takenMs: this.clock.now() });
  }

  /** Options as they are now. */
  get options(): ResolvedOptions {
    return this.live.current;
  }

  /** Changes options, all or none, until the member ends. @throws RaftError `RAFT_OPTIONS_INVALID`, `RAFT_CLOSED` */
  changeOptions(changes: ChangeableOptions): void {
    this.ensureOpen();
    this.live.change(changes);
  }

  /**
   * Asks to lead: the leader is asked to hand over to this member, and without one an election begins now. Resolves when
   * that is under way; `onLeadership` reports what comes of it. Rejects `RAFT_MEMBERSHIP_REFUSED` if it is no voter.
   */
  async campaign(): Promise<void> {
    this.ensureOpen();
    this.membership.checkVoter(this.id);
    this.engine.campaign();
  }

  /** Calls `listener` with the members at each change of them. Returns what ends that. */
  onMembers(listener: (members: readonly Member[]) => void): () => void {
    return this.peers.onMembers(listener);
  }

  /**
   * Calls `listener`, while this member leads, with what it knows of the others: first within a tick, then at each change;
   * with none when it leads no more. Returns what ends that.
   */
  onPeers(listener: PeersListener): () => void {
    return this.engine.peers.onPeers(listener);
  }

  /** Calls `listener` when a peer is refused, here or by the peer, and once a minute while that goes on. Returns what ends that. */
  onRefusal(listener: (refusal: Refusal) => void): () => void {
    return this.peers.onRefusal(listener);
  }

  /** What it is inside, for checkers: one object for good. */
  inspect(): Inspection {
    return this.inside;
  }

  /** One tick; only with `tickMs: 0` is it the caller's to give. */
  tick(): void {
    if (this.state !== "closed") this.engine.tick();
  }

  /**
   * Takes no more proposals, waits for those pending, hands leadership over, and closes; all within `graceMs`. Rejects
   * `RAFT_ARGUMENT_INVALID` if that is no number from 0 on, and nothing ends then.
   */
  async drain({ graceMs }: { readonly graceMs: number }): Promise<void> {
    if (!(graceMs >= 0)) {
      const text = `graceMs is ${String(graceMs)}; give a number of milliseconds`;
      throw new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "graceMs" }, text);
    }
    if (this.state !== "open") return this.close();
    this.state = "draining";
    const late = Promise.withResolvers<void>();
    const timer = this.clock.setTimeout(late.resolve, graceMs);
    await Promise.race([late.promise, this.engine.proposals.idle()]);
    if (this.leadership().isLeader && this.membership.heir() !== undefined) {
      const handover = this.transferLeadership().catch((error: unknown) =>
        this.log.warn("leadership was not handed over", { error: errorText(error) }),
      );
      await Promise.race([late.promise, handover]);
    }
    timer.cancel();
    await this.close();
  }

  /**
   * Ends abruptly; what is pending is rejected. Resolves when the storage is closed: a write in progress is waited for,
   * an application in progress for a second. Idempotent.
   */
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
    this.engine.close();
    let reason = error;
    const attempt = async (what: string, work: () => Promise<void>): Promise<void> => {
      try {
        await work();
      } catch (late) {
        // What was acknowledged is on disk all the same.
        this.log.error(`closing ${what} failed`, { error: errorText(late) });
        reason ??= asFailure(late);
      }
    };
    await attempt("the transport", () => this.transport.close());
    await this.withinGrace(this.engine.writer.idle());
    await this.withinGrace(this.engine.applier.idle());
    await attempt("a snapshot", () => this.snapshots.close());
    await attempt("the log", () => this.storage.close());
    this.ended.resolve(reason);
  }

  /** Waits for work that may wait for the state machine, which may never answer. */
  private async withinGrace(work: Promise<void>): Promise<void> {
    if (this.engine.applier.busy || this.engine.applier.restoring) {
      const late = Promise.withResolvers<void>();
      const timer = this.clock.setTimeout(late.resolve, applyGraceMs);
      await Promise.race([work, late.promise]);
      timer.cancel();
    } else {
      await work;
    }
  }

  private fail(cause: unknown): void {
    if (this.state === "closed") return;
    const error = cause instanceof LogLost ? wiped(this.id, cause) : asFailure(cause);
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
}

function noBytes(): RaftError {
  return new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "data" }, "a proposal is bytes: give a Uint8Array");
}

function asFailure(cause: unknown): RaftError {
  if (RaftError.is(cause)) return cause;
  const text = "this member stopped: its log or its core is in a state it must not go on from";
  return new RaftError({ code: "RAFT_STORAGE_FAILED" }, text, { cause });
}
