/** Who leads, in every term that this member saw, and when a term of its own begins and ends. */
import { errorText, type Logger } from "@warren/std";

import type { NodeId } from "../core/index.ts";

/** Who leads, as far as this member knows. */
export interface Leadership {
  readonly term: number;
  readonly leader: NodeId | undefined;
  /** Where the leader is found, if its address is known here. */
  readonly address: string | undefined;
  readonly isLeader: boolean;
  /** This member leads and has applied an entry of its own term, so its state holds all that was committed before. */
  readonly ready: boolean;
}

/** A term in which this member leads, from its first applied entry on. */
export interface LeaderTerm {
  readonly term: number;
  /** Aborted when this member leads that term no more. */
  readonly signal: AbortSignal;
}

export type LeadershipListener = (leadership: Leadership) => void;
export type LeaderTermListener = (term: LeaderTerm) => void;

/**
 * Keeps every change apart: a member that lost its term and won another between two turns of the event loop had two
 * terms, and each listener sees the end of the first.
 */
export class LeadershipObserver {
  private readonly log: Logger;
  private readonly listeners = new Set<LeadershipListener>();
  private readonly termListeners = new Set<LeaderTermListener>();
  private current: Leadership;
  /** Changes that the listeners have not been called with. */
  private unseen: Leadership[] = [];
  private notifying = false;
  private led: { readonly term: LeaderTerm; readonly end: AbortController } | undefined;

  constructor(initial: Leadership, log: Logger) {
    this.current = initial;
    this.log = log;
  }

  /** Takes what the member knows now; true if leader, term or its own part changed. */
  observe(now: Leadership): boolean {
    const { term, leader, isLeader, ready } = this.current;
    const moved = now.term !== term || now.leader !== leader || now.isLeader !== isLeader;
    if (!moved && now.ready === ready) return false;
    this.current = now;
    this.unseen.push(now);
    return moved;
  }

  /** Calls the listeners, once for each change since the last time, in order. */
  notify(): void {
    // A listener may cause a change: it is called with it after this one.
    if (this.notifying) return;
    this.notifying = true;
    for (let next = this.unseen.shift(); next !== undefined; next = this.unseen.shift()) {
      this.followTerm(next);
      for (const listener of this.listeners) this.call(listener, next);
    }
    this.notifying = false;
  }

  onLeadership(listener: LeadershipListener): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  onLeaderTerm(listener: LeaderTermListener): () => void {
    this.termListeners.add(listener);
    if (this.led !== undefined) this.call(listener, this.led.term);
    return () => void this.termListeners.delete(listener);
  }

  private followTerm({ term, isLeader, ready }: Leadership): void {
    if (this.led !== undefined && !(isLeader && this.led.term.term === term)) {
      const { end } = this.led;
      this.led = undefined;
      end.abort(new DOMException("this member leads that term no more", "AbortError"));
    }
    if (!ready || this.led !== undefined) return;
    const end = new AbortController();
    this.led = { term: { term, signal: end.signal }, end };
    for (const listener of this.termListeners) this.call(listener, this.led.term);
  }

  /** What a listener throws is its own failure, not the member's. */
  private call<T>(listener: (value: T) => void, value: T): void {
    try {
      listener(value);
    } catch (error) {
      this.log.error("a leadership listener failed", { error: errorText(error) });
    }
  }
}
