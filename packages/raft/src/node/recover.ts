/**
 * Recovery when the majority of a group is gone for good: offline, one member's log becomes the beginning of a new group.
 *
 * Commands that the lost majority had committed and that never reached this member are lost. Every entry that this member
 * has counts as committed from now on. So the member with the longest log is the one to recover.
 */
import { systemClock, type Clock } from "@warren/std";

import { LocalApplyThread, message, RawNode, type ConfState, type Entry } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Member } from "../transport/transport.ts";
import { Applier } from "./applier.ts";
import { readChange } from "./change-context.ts";
import { aloneAmong, checkNewGroup } from "./new-group.ts";
import type { StateMachine } from "./state-machine.ts";

export interface Recovery {
  /** The voters of the new group; the member that is recovered is one of them. The others start empty, with `join`. */
  readonly members: readonly Member[];
  /** The new group's id: under the old one the lost voters could come back and be counted. */
  readonly clusterId: string;
  /** The member's new incarnation. */
  readonly incarnation: string;
  /** Report what would happen, and change nothing. @default false */
  readonly dryRun?: boolean;
}

export interface RecoveryReport {
  /** The configuration that the log has, and the new one. */
  readonly before: ConfState;
  readonly after: ConfState;
  /** The last entry that is kept. */
  readonly last: number;
  /** Entries up to it that this member does not know to be committed. */
  readonly uncommitted: number;
}

/**
 * Recovers the group of an open storage that no member runs on, and closes the storage; then start a member on it under
 * the new cluster id. All or nothing is changed. @throws RaftError `RAFT_ARGUMENT_INVALID`
 */
export async function recoverGroup(
  { storage, fsm, clock = systemClock }: { storage: RaftStorage; fsm: StateMachine; clock?: Clock },
  { members, clusterId, incarnation, dryRun = false }: Recovery,
): Promise<RecoveryReport> {
  try {
    const report = planRecovery(storage, members, clusterId);
    if (!dryRun) await carryOut(storage, fsm, clock, { members, clusterId, incarnation }, report);
    return report;
  } finally {
    await storage.close();
  }
}

function planRecovery(storage: RaftStorage, members: readonly Member[], clusterId: string): RecoveryReport {
  const { nodeId, clusterId: old } = storage.identity;
  checkNewGroup({ members, clusterId, nodeId, old });
  const last = storage.lastIndex();
  if (last === 0) {
    const text = "no new group is made: this member's log is empty; recover from one that has a log";
    throw new RaftError({ code: "RAFT_ARGUMENT_INVALID", argument: "storage" }, text);
  }
  const { commit } = storage.initialState().hardState;
  return { before: lastConfiguration(storage), after: aloneAmong(members, nodeId), last, uncommitted: last - commit };
}

/** The configuration after everything that is in the log. */
function lastConfiguration(storage: RaftStorage): ConfState {
  const core = new RawNode({
    id: storage.identity.nodeId,
    storage,
    random: { int: () => 0 },
    applied: storage.snapshots()[0]?.index ?? 0,
  });
  for (const entries of batches(storage)) {
    for (const entry of entries) {
      const change = entry.type === "EntryNormal" ? undefined : readChange(entry)?.change;
      if (change !== undefined) core.applyConfChange(change);
    }
  }
  return core.confState();
}

/** The log behind the newest snapshot. */
function* batches(storage: RaftStorage): Generator<readonly Entry[], void, void> {
  const last = storage.lastIndex();
  for (let from = (storage.snapshots()[0]?.index ?? 0) + 1; from <= last;) {
    const entries = storage.entries(from, last + 1, 1024 * 1024);
    yield entries;
    from += entries.length;
  }
}

async function carryOut(
  storage: RaftStorage,
  fsm: StateMachine,
  clock: Clock,
  { members, clusterId, incarnation }: Recovery,
  { last, after }: RecoveryReport,
): Promise<void> {
  const applier = await replay(storage, fsm, clock);
  applier.members = new Map(members.map((member) => [member.id, member]));
  const term = storage.initialState().hardState.term + 1;
  // At an index and term of its own, so that no other snapshot is taken for it.
  const metadata = { index: last + 1, term, confState: after };
  await storage.saveSnapshot(metadata, applier.image().chunks);
  await storage.installSnapshot(metadata, { term, vote: 0, commit: metadata.index }, { clusterId, incarnation });
}

/** The state after everything that is in the log. */
async function replay(storage: RaftStorage, fsm: StateMachine, clock: Clock): Promise<Applier> {
  const { confState } = storage.initialState();
  let failure: unknown;
  const ignored = (): void => undefined;
  const applier = new Applier(fsm, clock, {
    reconfigure: () => confState,
    confState: () => confState,
    configured: ignored,
    membersChanged: ignored,
    settle: ignored,
    deliver: ignored,
    applied: ignored,
    fail: (error) => (failure = error),
  });
  const newest = storage.snapshots()[0]?.index ?? 0;
  if (newest > 0) await applier.restore(storage, newest);
  for (const entries of batches(storage)) {
    applier.push(message("MsgStorageApply", { to: LocalApplyThread, entries }));
    await applier.idle();
    if (failure !== undefined) throw failure as Error;
  }
  return applier;
}
