/** Who the others are: members that the log names, peers that found this one, and those that are refused. */
import { errorText, type Clock, type Logger } from "@warren/std";

import type { NodeId } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import { unfit, type Levels } from "../levels.ts";
import type { RaftStorage } from "../storage/index.ts";
import {
  wipedReason,
  type Hello,
  type Member,
  type PeerRefusal,
  type Tags,
  type Transport,
} from "../transport/transport.ts";
import type { RaftMetrics } from "./metrics.ts";

/** Peers that are known beside the log at once, and refusals that are remembered. */
const maxAcquaintances = 64;
/** A refusal that goes on is logged again after this, ms. */
const refusalEveryMs = 60_000;

export interface PeersParts {
  readonly storage: RaftStorage;
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: RaftMetrics;
  /** Members as of what is applied. */
  readonly members: () => ReadonlyMap<NodeId, Member>;
  readonly levels: Levels;
  /** This member's own. */
  readonly tags: Tags;
  readonly activeLevel: () => number;
  readonly fail: (error: unknown) => void;
}

/** A peer that is refused, or that refuses this member, since it was heard of first. */
export interface Refusal extends PeerRefusal {
  readonly times: number;
  /** When it happened last, by the wall clock, ms since 1970. */
  readonly lastMs: number;
}

export class Peers {
  private readonly parts: PeersParts;
  private readonly self: NodeId;
  /** Known beside the log: by `join`, or since they found this member. */
  private readonly acquaintances: Map<NodeId, Member>;
  /** Of those that were admitted. */
  private readonly tags = new Map<NodeId, Tags>();
  private readonly known = new Map<string, Refusal & { readonly loggedMs: number }>();
  private readonly listeners = new Set<(members: readonly Member[]) => void>();
  private readonly refusalListeners = new Set<(refusal: Refusal) => void>();

  constructor(parts: PeersParts, join: readonly Member[]) {
    this.parts = parts;
    this.self = parts.storage.identity.nodeId;
    this.acquaintances = new Map(join.map((member) => [member.id, member]));
  }

  /** What this member sends of itself when it connects, with its address once that is applied from the log. */
  hello(): Hello {
    const { storage, members, levels, tags, activeLevel } = this.parts;
    const { clusterId, incarnation } = storage.identity;
    const { minLevel, level } = levels;
    const { self } = this;
    return {
      clusterId,
      incarnation,
      from: self,
      minLevel,
      level,
      tags,
      get activeLevel() {
        return activeLevel();
      },
      get address() {
        return members().get(self)?.address;
      },
    };
  }

  /** Why a peer is refused, if it is. */
  async admit(peer: Hello): Promise<string | undefined> {
    const { clusterId, from, incarnation, address } = peer;
    const { storage, members, levels, activeLevel, fail } = this.parts;
    if (clusterId !== storage.identity.clusterId) {
      return `member ${from} belongs to cluster ${clusterId}, and this one to ${storage.identity.clusterId}; look at the addresses that it was given`;
    }
    const misfit = unfit(from, peer, activeLevel(), levels);
    if (misfit !== undefined) return misfit;
    // It comes again when it knows; without an address it would never hear an answer.
    if (address === undefined && !members().has(from) && !this.acquaintances.has(from)) {
      return `nobody here knows the address of member ${from} yet; add it as a learner`;
    }
    let known: boolean;
    try {
      known = await storage.rememberPeer(from, incarnation);
    } catch (error) {
      fail(error);
      throw error;
    }
    if (!known)
      return `member ${from} came back under its id, but ${wipedReason}; remove it and add it again under a new id`;
    this.remember(from, peer.tags ?? {});
    // A member whose log is behind does not know all members, perhaps not its leader, and replies to any that calls.
    if (address !== undefined && !members().has(from)) {
      this.makeRoom(from);
      this.acquaintances.set(from, { id: from, address });
      this.connect();
    }
    return undefined;
  }

  /** What a peer said of itself when it connected last; undefined before it did. */
  tagsOf(id: NodeId): Tags | undefined {
    return this.tags.get(id);
  }

  /** Refusals, one line for each reason: logged when they begin, counted always. */
  refused({ peer, by, why }: PeerRefusal): void {
    const { clock, log, metrics, fail } = this.parts;
    metrics.peersRefused.add(1, { by });
    const key = `${by} ${String(peer)} ${why}`;
    const before = this.known.get(key);
    const now = clock.monotonic();
    const due = before === undefined || now - before.loggedMs >= refusalEveryMs;
    const loggedMs = due ? now : before.loggedMs;
    const refusal: Refusal = { peer, by, why, times: (before?.times ?? 0) + 1, lastMs: clock.now() };
    this.known.delete(key);
    this.known.set(key, { ...refusal, loggedMs });
    if (due) {
      const event = by === "here" ? "peer refused" : "this member was refused by a peer";
      log.warn(event, { peer, why, times: refusal.times });
      this.callAll(this.refusalListeners, refusal);
    }
    const [oldest] = this.known.keys();
    if (this.known.size > maxAcquaintances && oldest !== undefined) this.known.delete(oldest);
    if (by === "there" && why.includes(wipedReason)) fail(wiped(this.self));
  }

  refusals(): readonly Refusal[] {
    return [...this.known.values()].map(({ peer, by, why, times, lastMs }) => ({ peer, by, why, times, lastMs }));
  }

  onRefusal(listener: (refusal: Refusal) => void): () => void {
    this.refusalListeners.add(listener);
    return () => void this.refusalListeners.delete(listener);
  }

  onMembers(listener: (members: readonly Member[]) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** The log names other members than before. */
  changed(members: readonly Member[], removed: readonly NodeId[]): void {
    const { storage, fail } = this.parts;
    for (const { id } of members) this.acquaintances.delete(id);
    for (const id of removed) {
      this.acquaintances.delete(id);
      this.tags.delete(id);
    }
    this.connect();
    for (const id of removed) storage.forgetPeer(id).catch(fail);
    this.callAll(this.listeners, members);
  }

  /** What a listener throws is its own failure, not the member's. */
  private callAll<T>(listeners: ReadonlySet<(value: T) => void>, value: T): void {
    for (const listener of listeners) {
      try {
        listener(value);
      } catch (error) {
        this.parts.log.error("a listener of members or refusals failed", { error: errorText(error) });
      }
    }
  }

  /** Has the transport connect those that are known. */
  connect(): void {
    const peers = new Map([...this.acquaintances, ...this.parts.members()]);
    peers.delete(this.self);
    this.parts.transport.setPeers([...peers.values()]);
  }

  private remember(id: NodeId, tags: Tags): void {
    // The same object as long as it says the same, so that observers see no change.
    const before = this.tags.get(id);
    if (before === undefined || JSON.stringify(before) !== JSON.stringify(tags)) this.tags.set(id, tags);
    const { size } = this.parts.members();
    for (const other of this.tags.keys()) {
      if (this.tags.size <= size + maxAcquaintances) break;
      if (!this.parts.members().has(other)) this.tags.delete(other);
    }
  }

  /** Those that are no members are few: one that joins, or was removed and does not know it. */
  private makeRoom(id: NodeId): void {
    if (this.acquaintances.has(id) || this.acquaintances.size < maxAcquaintances) return;
    const [oldest] = this.acquaintances.keys();
    if (oldest !== undefined) this.acquaintances.delete(oldest);
  }
}

/** The others knew this member with a log that it has no more. */
export function wiped(id: NodeId, cause?: unknown): RaftError {
  return new RaftError(
    { code: "RAFT_MEMBER_WIPED", id },
    `member ${id} had a log that is gone; remove it from the group, and start it again with a new id and an empty directory`,
    { cause },
  );
}
