/** What to do next about who votes; pure. */
import type { NodeId } from "../core/index.ts";
import { RaftError } from "../errors.ts";
import type { PeerState } from "../node/index.ts";

export interface AutopilotOptions {
  /** Voters wanted, the leader among them. Learners beyond them are spares. An odd number is best. @default 3 */
  readonly voters?: number;
  /** How long a learner is heard and caught up, without a break, before it gets a vote, ms. @default 10000 */
  readonly stableMs?: number;
  /**
   * How long a member is not heard before it counts as dead, ms. What is dead loses its vote when a spare takes it, and
   * is then removed; it can't come back under its id. A new leader counts from its first election timeout on.
   * @default 86400000, a day
   */
  readonly deadMs?: number;
}

export type ResolvedAutopilotOptions = Required<AutopilotOptions>;

/** A member, and since when it is as it is, by a monotonic clock, ms. */
export interface ObservedPeer extends PeerState {
  /** Since when it is not heard; `undefined` if it is. */
  readonly silentSinceMs: number | undefined;
  /** Since when it is heard and caught up; `undefined` if it is not. */
  readonly readySinceMs: number | undefined;
}

export type Decision =
  /** A learner gets a vote. */
  | { readonly kind: "promote"; readonly id: NodeId; readonly why: string }
  /** A learner gets the vote of a dead voter, in one step; the dead one stays as a learner. */
  | { readonly kind: "replace"; readonly dead: NodeId; readonly by: NodeId; readonly why: string }
  | { readonly kind: "remove"; readonly id: NodeId; readonly why: string }
  /** Nothing now. If nothing changes, there may be something to do at `untilMs`; `undefined`: never. */
  | { readonly kind: "wait"; readonly untilMs: number | undefined; readonly why: string };

/** Checks options and fills in defaults. @throws RaftError `RAFT_OPTIONS_INVALID` */
export function resolveAutopilotOptions(options: AutopilotOptions): ResolvedAutopilotOptions {
  const resolved = { voters: 3, stableMs: 10_000, deadMs: 86_400_000, ...options };
  for (const [option, value] of Object.entries(resolved)) {
    const least = option === "voters" ? 1 : 0;
    if (Number.isSafeInteger(value) && value >= least) continue;
    const text = `autopilot option ${option} is no whole number from ${least} on`;
    throw new RaftError({ code: "RAFT_OPTIONS_INVALID", option }, text);
  }
  return Object.freeze(resolved);
}

/**
 * What a leader does next, of the members beside it.
 *
 * A dead voter's place comes first, as the group bears one loss fewer until then. A voter that is dead and has no
 * successor keeps its vote: without it fewer voters would be left, and none of them safer. Only a dead voter too many,
 * and a dead learner, are removed.
 */
export function decide(
  peers: readonly ObservedPeer[],
  nowMs: number,
  { voters: wanted, stableMs, deadMs }: ResolvedAutopilotOptions,
): Decision {
  const voters = peers.filter(({ isLearner }) => !isLearner);
  const learners = peers.filter(({ isLearner }) => isLearner);
  const isDead = ({ silentSinceMs }: ObservedPeer): boolean =>
    silentSinceMs !== undefined && nowMs - silentSinceMs >= deadMs;
  const isReady = ({ readySinceMs }: ObservedPeer): boolean =>
    readySinceMs !== undefined && nowMs - readySinceMs >= stableMs;
  const deadVoter = voters.find(isDead);
  const ready = learners.find(isReady);
  const count = voters.length + 1;
  if (deadVoter !== undefined && count > wanted) {
    const why = `voter ${deadVoter.id} is dead, and there are ${count} voters for ${wanted}`;
    return { kind: "remove", id: deadVoter.id, why };
  }
  if (deadVoter !== undefined && ready !== undefined) {
    const why = `voter ${deadVoter.id} is dead, and learner ${ready.id} is ready`;
    return { kind: "replace", dead: deadVoter.id, by: ready.id, why };
  }
  if (ready !== undefined && count < wanted) {
    return {
      kind: "promote",
      id: ready.id,
      why: `learner ${ready.id} is ready, and ${count} of ${wanted} voters are there`,
    };
  }
  const deadLearner = learners.find(isDead);
  if (deadLearner !== undefined) {
    return { kind: "remove", id: deadLearner.id, why: `learner ${deadLearner.id} is dead` };
  }
  const moments = peers.flatMap(({ isLearner, silentSinceMs, readySinceMs }) => [
    ...(silentSinceMs === undefined ? [] : [silentSinceMs + deadMs]),
    ...(isLearner && readySinceMs !== undefined ? [readySinceMs + stableMs] : []),
  ]);
  const next = Math.min(...moments.filter((at) => at > nowMs));
  const why =
    deadVoter === undefined
      ? "the members are as wanted"
      : `voter ${deadVoter.id} is dead, and no learner is ready; add one`;
  return { kind: "wait", untilMs: Number.isFinite(next) ? next : undefined, why };
}
