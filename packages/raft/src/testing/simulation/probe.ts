/** What the checker sees of a running member: its core, and the moments at which something becomes final. */
import type { ConfState, Entry } from "../../core/index.ts";
import type { Raft } from "../../core/raft.ts";
import type { Configuration } from "../../core/tracker.ts";
import type { RaftNode } from "../../node/index.ts";

export interface ProbeHooks {
  /** This member, which leads, found that a quorum has everything up to `index`. */
  quorumReached(index: number, config: Configuration): void;
  /** This member takes `entries` for committed. */
  committed(entries: readonly Entry[]): void;
  /** The state machine is to take the snapshot at `index`. */
  restoring(index: number): void;
  /** The membership change at `index` was applied. */
  configured(index: number, confState: ConfState): void;
}

/** What a member is, at this moment. */
export interface Glance {
  readonly raft: Raft;
  /** The index up to which the state machine and the sessions have applied the log. */
  readonly applied: number;
  readonly leaseValid: boolean;
}

/** How long a member's write or application in progress has taken by its own clock, ms. */
export function busyMs(node: RaftNode): number {
  return Math.max(node["writer"].busyMs(), node["applier"].busyMs());
}

export function glance(node: RaftNode): Glance {
  return { raft: node["raw"]["raft"], applied: node["applier"].index, leaseValid: node["raw"].leaseValid() };
}

/** Attaches hooks to a member before its first turn. */
export function attach(node: RaftNode, hooks: ProbeHooks): void {
  const raft = node["raw"]["raft"];
  const { log } = raft;
  const commitTo = log.commitTo.bind(log);
  log.commitTo = (index) => {
    const before = log.committed;
    commitTo(index);
    if (log.committed > before) {
      hooks.committed(log.slice(before + 1, log.committed + 1, Number.POSITIVE_INFINITY) ?? []);
    }
  };
  const maybeCommit = log.maybeCommit.bind(log);
  log.maybeCommit = (index, term) => {
    const moved = maybeCommit(index, term);
    if (moved) hooks.quorumReached(index, raft.tracker.config);
    return moved;
  };
  const applier = node["applier"];
  const restore = applier.restore.bind(applier);
  applier.restore = (storage, index) => {
    hooks.restoring(index);
    return restore(storage, index);
  };
  const applyChange = applier["applyChange"].bind(applier);
  applier["applyChange"] = (entry: Entry) => {
    applyChange(entry);
    hooks.configured(entry.index, raft.tracker.confState());
  };
}
