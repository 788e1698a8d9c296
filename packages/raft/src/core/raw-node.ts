/**
 * A member, as its driver sees it: step messages, tick, propose; take a `Ready`, do what it says, and say so.
 *
 * Not to be called from within its own `onEvent` or its storage.
 */
import { assert } from "@warren/std";

import { RaftError, type DropReason } from "../errors.ts";
import type { Config } from "./config.ts";
import { encodeConfChange } from "./conf-change.ts";
import { entriesSize } from "./entry.ts";
import { leaseValid } from "./leader.ts";
import { isLocalMessage, isLocalTarget, isResponseMessage, message } from "./message.ts";
import type { Progress } from "./progress.ts";
import { Raft } from "./raft.ts";
import { confStateOf, type Configuration } from "./tracker.ts";
import {
  LocalAppendThread,
  LocalApplyThread,
  None,
  type AnyConfChange,
  type ConfState,
  type Entry,
  type HardState,
  type Message,
  type NodeId,
  type ReadState,
  type Ready,
  type Snapshot,
  type SnapshotStatus,
  type SoftState,
} from "./types.ts";

export interface BasicStatus extends HardState, SoftState {
  readonly id: NodeId;
  readonly applied: number;
  /** The member that leadership is being handed to, or 0. */
  readonly leadTransferee: NodeId;
}

export interface Status extends BasicStatus {
  readonly config: Configuration;
  /** A copy; empty unless this node leads. */
  readonly progress: ReadonlyMap<NodeId, Progress>;
}

const noReadStates: readonly ReadState[] = Object.freeze([]);

export class RawNode {
  private readonly raft: Raft;
  private readonly async: boolean;
  private lastSoftState: SoftState;
  private lastHardState: HardState;
  /** Without async storage writes: what `advance()` will step. */
  private stepsOnAdvance: Message[] = [];

  /** @throws RaftError `RAFT_OPTIONS_INVALID` */
  constructor(config: Config) {
    this.raft = new Raft(config);
    this.async = this.raft.config.asyncStorageWrites;
    this.lastSoftState = this.raft.softState();
    this.lastHardState = this.raft.hardState();
  }

  /** The state itself, for checkers; not to be changed. */
  get state(): Raft {
    return this.raft;
  }

  /** One unit of time has passed. */
  tick(): void {
    this.raft.tick();
  }

  /**
   * Takes a message from another member, or a response from a local storage thread.
   *
   * All that it throws as a RaftError is harmless: messages are late, members come and go. A node that was removed is
   * `RAFT_PEER_UNKNOWN` to itself, when its last writes are answered.
   * @throws RaftError `RAFT_LOCAL_MESSAGE`, `RAFT_PEER_UNKNOWN`, or, for a forwarded proposal, `RAFT_PROPOSAL_DROPPED`
   */
  step(m: Message): void {
    if (!isLocalTarget(m.from)) {
      if (isLocalMessage(m.type)) {
        throw new RaftError(
          { code: "RAFT_LOCAL_MESSAGE" },
          `${m.type} from ${m.from}: only a node's own driver may step it`,
        );
      }
      if (isResponseMessage(m.type) && this.raft.tracker.get(m.from) === undefined) {
        throw new RaftError(
          { code: "RAFT_PEER_UNKNOWN", peer: m.from },
          `${m.type} from ${m.from}, which is not in the configuration; it was removed or not added yet`,
        );
      }
    }
    throwIfDropped(this.raft, this.raft.step(m));
  }

  /** Proposes one entry. @throws RaftError `RAFT_PROPOSAL_DROPPED` */
  propose(data: Uint8Array): void {
    this.proposeBatch([data]);
  }

  /** Proposes entries that travel and are written together: all are taken or none. @throws RaftError `RAFT_PROPOSAL_DROPPED` */
  proposeBatch(batch: readonly Uint8Array[]): void {
    if (batch.length === 0) return;
    const entries = batch.map((data): Entry => ({ term: 0, index: 0, type: "EntryNormal", data }));
    throwIfDropped(this.raft, this.raft.step(message("MsgProp", { from: this.raft.id, entries })));
  }

  /**
   * Proposes a membership change. A leader that sees it can't follow the active configuration, or that another may be
   * unapplied, puts an empty entry in its place: watch for the change to be applied.
   * @throws RaftError `RAFT_PROPOSAL_DROPPED`, or `RAFT_CONF_CHANGE_INVALID` if it can't be written down
   */
  proposeConfChange(change: AnyConfChange): void {
    const entries = [{ term: 0, index: 0, ...encodeConfChange(change) }];
    throwIfDropped(this.raft, this.raft.step(message("MsgProp", { from: this.raft.id, entries })));
  }

  /**
   * Makes a change from a committed entry the active configuration, which it returns; call it as that entry is applied,
   * before the application of the entry is reported. A change that can't follow the active one changes nothing.
   */
  applyConfChange(change: AnyConfChange): ConfState {
    return this.raft.applyConfChange(change);
  }

  /** The configuration that a change leads to from the active one, or why it can't follow it. Changes nothing. */
  tryConfChange(change: AnyConfChange): ConfState | string {
    const tried = this.raft.tryConfChange(change);
    return typeof tried === "string" ? tried : confStateOf(tried.config);
  }

  /**
   * Asks for the index at which a linearizable read may be served; a `ReadState` with this context follows, unless the
   * leader changes or a message is lost, so retry. False, and nothing follows, if no leader is known.
   */
  readIndex(context: Uint8Array): boolean {
    if (this.raft.lead === None) return false;
    const entries: Entry[] = [{ term: 0, index: 0, type: "EntryNormal", data: context }];
    this.raft.step(message("MsgReadIndex", { entries }));
    return true;
  }

  /** Whether lease reads are safe at this moment. Check it again as the reply leaves. Always false unless leading by lease. */
  leaseValid(): boolean {
    return leaseValid(this.raft);
  }

  /** Campaigns now. For bootstrap, tests and operators: it does not wait for a lease that others may hold. */
  campaign(): void {
    this.raft.step(message("MsgHup"));
  }

  /** Hands leadership to `to`; forwarded if this node follows. Proposals are dropped until it is done or has failed. */
  transferLeader(to: NodeId): void {
    this.raft.step(message("MsgTransferLeader", { from: to }));
  }

  /** Gives up a transfer in progress, if any: proposals are taken again, and the target may still campaign. */
  abortTransfer(): void {
    this.raft.abortTransfer();
  }

  /** A follower forgets its leader, so that it may vote at once. Nothing on a leader, or with lease reads. */
  forgetLeader(): void {
    this.raft.step(message("MsgForgetLeader"));
  }

  /** Ends the leadership of a leader within its term, for instance because its disk stalls. No effect on others. */
  stepDown(): void {
    if (this.raft.isLeader()) this.raft.becomeFollower(this.raft.term, None);
  }

  /** The last message to `id` could not be sent. */
  reportUnreachable(id: NodeId): void {
    this.raft.step(message("MsgUnreachable", { from: id }));
  }

  /** The snapshot sent to `id` arrived, or did not. Must be called for each `MsgSnap`, or `id` gets nothing more. */
  reportSnapshot(id: NodeId, status: SnapshotStatus): void {
    this.raft.step(message("MsgSnapStatus", { from: id, reject: status === "failure" }));
  }

  hasReady(): boolean {
    const r = this.raft;
    return (
      r.messages.length > 0 ||
      r.messagesAfterAppend.length > 0 ||
      r.log.unstable.hasNextEntries() ||
      r.log.hasNextCommittedEntries(!this.async) ||
      r.readStates.length > 0 ||
      r.log.unstable.nextSnapshot() !== undefined ||
      !sameSoftState(r, this.lastSoftState) ||
      !sameHardState(r, this.lastHardState)
    );
  }

  /**
   * What to do now. In order: write `snapshot`, `entries` and `hardState` durably; send `messages`; apply `snapshot`,
   * then `committedEntries`; call `advance()` before the next `ready()`. A leader may send its `MsgApp`s before the
   * write is done.
   *
   * With async storage writes: send each message at once, `MsgStorageAppend` and `MsgStorageApply` to the local threads,
   * each of which keeps their order and delivers `responses` when done; call `ready()` again whenever there is one.
   * Only a `MsgVote` is to be held until the `MsgStorageAppend` of the same `Ready` is done: a candidate whose own term
   * is not durable could win by the votes of others, append, crash, and lead the same term again with another log.
   */
  ready(): Ready {
    const ready = this.build();
    this.accept(ready);
    return ready;
  }

  /** The last `Ready` is done with. Without async storage writes only. */
  advance(): void {
    assert(!this.async, "with async storage writes, responses take the place of advance()");
    const steps = this.stepsOnAdvance;
    this.stepsOnAdvance = [];
    for (const m of steps) this.raft.step(m);
  }

  basicStatus(): BasicStatus {
    const r = this.raft;
    return { id: r.id, ...r.hardState(), ...r.softState(), applied: r.log.applied, leadTransferee: r.leadTransferee };
  }

  status(): Status {
    const progress = new Map<NodeId, Progress>();
    if (this.raft.isLeader()) {
      for (const id of this.raft.tracker.ids) progress.set(id, (this.raft.tracker.get(id) as Progress).clone());
    }
    return { ...this.basicStatus(), config: this.raft.tracker.config, progress };
  }

  /** The active configuration. */
  confState(): ConfState {
    return this.raft.tracker.confState();
  }

  /** For tests: the ticks after which this node campaigns, until its state changes next. */
  setRandomizedElectionTimeout(ticks: number): void {
    this.raft.randomizedElectionTimeout = ticks;
  }

  private build(): Ready {
    const r = this.raft;
    const entries = r.log.unstable.nextEntries();
    const committedEntries = r.log.nextCommittedEntries(!this.async);
    const snapshot = r.log.unstable.nextSnapshot();
    const hardState = sameHardState(r, this.lastHardState) ? undefined : r.hardState();
    const messages = r.messages;
    if (this.async) {
      if (entries.length > 0 || hardState || snapshot || r.messagesAfterAppend.length > 0) {
        messages.push(storageAppend(r, entries, hardState, snapshot));
      }
      if (committedEntries.length > 0) messages.push(storageApply(r, committedEntries));
    } else {
      for (const m of r.messagesAfterAppend) if (m.to !== r.id) messages.push(m);
    }
    return {
      softState: sameSoftState(r, this.lastSoftState) ? undefined : r.softState(),
      hardState,
      entries,
      snapshot,
      committedEntries,
      messages,
      readStates: r.readStates.length === 0 ? noReadStates : r.readStates,
      mustSync: entries.length > 0 || r.vote !== this.lastHardState.vote || r.term !== this.lastHardState.term,
    };
  }

  private accept(ready: Ready): void {
    const r = this.raft;
    if (ready.softState !== undefined) this.lastSoftState = ready.softState;
    if (ready.hardState !== undefined) this.lastHardState = ready.hardState;
    if (ready.readStates.length > 0) r.readStates = [];
    if (!this.async) {
      assert(this.stepsOnAdvance.length === 0, "advance() comes before the next ready()");
      for (const m of r.messagesAfterAppend) if (m.to === r.id) this.stepsOnAdvance.push(m);
      const stored = storageAppended(r, ready.snapshot);
      if (stored !== undefined) this.stepsOnAdvance.push(stored);
      if (ready.committedEntries.length > 0) this.stepsOnAdvance.push(storageApplied(r, ready.committedEntries));
    }
    r.messages = [];
    r.messagesAfterAppend = [];
    r.readOnly.closeRound();
    r.log.unstable.acceptInProgress();
    const last = ready.committedEntries.at(-1);
    if (last !== undefined) r.log.acceptApplying(last.index, entriesSize(ready.committedEntries), !this.async);
  }
}

function throwIfDropped(r: Raft, reason: DropReason | undefined): void {
  if (reason === undefined) return;
  r.emit({ kind: "proposal-dropped", reason });
  throw new RaftError(
    { code: "RAFT_PROPOSAL_DROPPED", reason },
    `proposal dropped: ${reason}; it is not in the log, retry later`,
  );
}

function sameSoftState(r: Raft, last: SoftState): boolean {
  return r.lead === last.lead && r.state === last.raftState;
}

function sameHardState(r: Raft, last: HardState): boolean {
  return r.log.committed === last.commit && r.term === last.term && r.vote === last.vote;
}

function storageAppend(
  r: Raft,
  entries: readonly Entry[],
  hardState: HardState | undefined,
  snapshot: Snapshot | undefined,
): Message {
  const responses = r.messagesAfterAppend;
  // Last: a leader handles its own acknowledgement while the entries' terms are still at hand in memory.
  const stored = storageAppended(r, snapshot);
  if (stored !== undefined) responses.push(stored);
  return message("MsgStorageAppend", { ...hardState, to: LocalAppendThread, from: r.id, entries, snapshot, responses });
}

/**
 * The word that everything unstable is on disk.
 *
 * It names the log's last entry, not the write's, and carries the term: an answer from an older term is ignored, as a
 * later one may have queued a write that replaces these entries (so index and term alone could match by accident). Each
 * new term makes a write of its own, so the answer to that one catches up what was ignored.
 */
function storageAppended(r: Raft, snapshot: Snapshot | undefined): Message | undefined {
  const unstable = r.log.unstable.entries.length > 0;
  if (!unstable && snapshot === undefined) return undefined;
  const fields = { to: r.id, from: LocalAppendThread, term: r.term, snapshot };
  if (!unstable) return message("MsgStorageAppendResp", fields);
  const last = r.log.lastEntryId();
  return message("MsgStorageAppendResp", { ...fields, index: last.index, logTerm: last.term });
}

/** Committed entries belong to no term. */
function storageApply(r: Raft, entries: readonly Entry[]): Message {
  return message("MsgStorageApply", {
    to: LocalApplyThread,
    from: r.id,
    entries,
    responses: [storageApplied(r, entries)],
  });
}

function storageApplied(r: Raft, entries: readonly Entry[]): Message {
  return message("MsgStorageApplyResp", { to: r.id, from: LocalApplyThread, entries });
}
