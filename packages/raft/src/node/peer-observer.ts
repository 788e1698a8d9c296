/** Which members are heard and how far their logs are, as their leader sees it. */
import { errorText, type Logger } from "@warren/std";

import type { NodeId } from "../core/index.ts";
import type { Tags } from "../transport/transport.ts";

/** A member other than the leader, as the leader sees it. */
export interface PeerState {
  readonly id: NodeId;
  readonly address: string;
  readonly isLearner: boolean;
  /** It was heard from within the last election timeout; for a new leader each counts as heard for the first one. */
  readonly isHeard: boolean;
  /** Its log is known to lag `promoteLagEntries` behind at most. */
  readonly isCaughtUp: boolean;
  /** What it says of itself; undefined before it has connected to this leader. */
  readonly tags: Tags | undefined;
}

export type PeersListener = (peers: readonly PeerState[]) => void;

export class PeerObserver {
  private readonly log: Logger;
  private readonly electionTicks: number;
  private readonly listeners = new Set<PeersListener>();
  /** Ticks so far, and at which of them each member was heard last. */
  private ticks = 0;
  private readonly heardAt = new Map<NodeId, number>();
  /** Since which tick this member leads. */
  private ledSince: number | undefined;
  private states: readonly PeerState[] = [];
  private isDue = false;

  constructor(electionTicks: number, log: Logger) {
    this.electionTicks = electionTicks;
    this.log = log;
  }

  /** Whether anybody listens, so that it is worth to observe. */
  get isObserved(): boolean {
    return this.listeners.size > 0;
  }

  tick(): void {
    this.ticks++;
  }

  heard(id: NodeId): void {
    this.heardAt.set(id, this.ticks);
  }

  forget(id: NodeId): void {
    this.heardAt.delete(id);
  }

  /** Whether a member was heard from within the last election timeout. */
  isActive(id: NodeId): boolean {
    return this.ticks - (this.heardAt.get(id) ?? Number.NEGATIVE_INFINITY) <= this.electionTicks;
  }

  /** Takes what is known now of the others; `undefined` while this member does not lead, when it knows too little. */
  observe(peers: readonly Omit<PeerState, "isHeard">[] | undefined): void {
    if (peers === undefined) this.ledSince = undefined;
    else this.ledSince ??= this.ticks;
    const isNew = this.ledSince !== undefined && this.ticks - this.ledSince <= this.electionTicks;
    const states = (peers ?? []).map((peer) => ({ ...peer, isHeard: isNew || this.isActive(peer.id) }));
    if (states.length === this.states.length && states.every((state, at) => same(state, this.states[at]))) return;
    this.states = states;
    this.isDue = true;
  }

  /** Calls the listeners if anything changed since the last time. */
  notify(): void {
    if (!this.isDue) return;
    this.isDue = false;
    for (const listener of this.listeners) this.call(listener);
  }

  onPeers(listener: PeersListener): () => void {
    this.listeners.add(listener);
    if (this.states.length > 0) this.call(listener);
    return () => {
      this.listeners.delete(listener);
      // Nothing is observed from here on: the next listener begins afresh.
      if (this.listeners.size === 0) this.states = [];
    };
  }

  /** What a listener throws is its own failure, not the member's. */
  private call(listener: PeersListener): void {
    try {
      listener(this.states);
    } catch (error) {
      this.log.error("a listener of peers failed", { error: errorText(error) });
    }
  }
}

function same(a: PeerState, b: PeerState | undefined): boolean {
  return (
    b !== undefined &&
    a.id === b.id &&
    a.address === b.address &&
    a.isLearner === b.isLearner &&
    a.isHeard === b.isHeard &&
    a.isCaughtUp === b.isCaughtUp &&
    a.tags === b.tags
  );
}
