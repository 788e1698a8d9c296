/**
 * Majorities, alone and joint: which index a quorum has, and whether a vote is decided.
 *
 * A joint configuration is two majorities that must agree. An empty half agrees with anything, so that a
 * configuration that is not joint is one with an empty `outgoing`.
 */
import type { NodeId } from "./types.ts";

export interface JointConfig {
  readonly incoming: ReadonlySet<NodeId>;
  readonly outgoing: ReadonlySet<NodeId>;
}

/** The index that a voter is known to have; `undefined` when it was not heard from. */
export interface AckedIndexer {
  ackedIndex(voter: NodeId): number | undefined;
}

export type VoteResult = "VotePending" | "VoteLost" | "VoteWon";

/** The highest index that a majority of `voters` has; `Infinity` for no voters. */
export function majorityCommitted(voters: ReadonlySet<NodeId>, acked: AckedIndexer): number {
  const n = voters.size;
  if (n === 0) return Number.POSITIVE_INFINITY;
  const indexes: number[] = [];
  for (const id of voters) {
    // Insertion from the right: the sets are small, and a comparator would be called back.
    const index = acked.ackedIndex(id) ?? 0;
    let at = indexes.length;
    indexes.push(index);
    while (at > 0 && (indexes[at - 1] as number) > index) {
      indexes[at] = indexes[at - 1] as number;
      at--;
    }
    indexes[at] = index;
  }
  return indexes[n - (Math.floor(n / 2) + 1)] as number;
}

/** Whether a majority of `voters` said yes, can still say yes, or can't. */
export function majorityVote(voters: ReadonlySet<NodeId>, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  if (voters.size === 0) return "VoteWon";
  let granted = 0;
  let missing = 0;
  for (const id of voters) {
    const vote = votes.get(id);
    if (vote === undefined) missing++;
    else if (vote) granted++;
  }
  const quorum = Math.floor(voters.size / 2) + 1;
  if (granted >= quorum) return "VoteWon";
  return granted + missing >= quorum ? "VotePending" : "VoteLost";
}

/** The highest index that a majority of each half has. */
export function jointCommitted(config: JointConfig, acked: AckedIndexer): number {
  return Math.min(majorityCommitted(config.incoming, acked), majorityCommitted(config.outgoing, acked));
}

/** Won only if both halves won; lost as soon as one has. */
export function jointVote(config: JointConfig, votes: ReadonlyMap<NodeId, boolean>): VoteResult {
  const incoming = majorityVote(config.incoming, votes);
  const outgoing = majorityVote(config.outgoing, votes);
  if (incoming === outgoing) return incoming;
  return incoming === "VoteLost" || outgoing === "VoteLost" ? "VoteLost" : "VotePending";
}

/** The voters of both halves, ascending. */
export function jointVoters(config: JointConfig): NodeId[] {
  return sortedIds(new Set([...config.incoming, ...config.outgoing]));
}

/** A set of ids, ascending. */
export function sortedIds(ids: Iterable<NodeId>): NodeId[] {
  return [...ids].sort((a, b) => a - b);
}

/** `(1 2 a)`: ids ascend, in hexadecimal. */
export function formatIds(ids: Iterable<NodeId>): string {
  return `(${sortedIds(ids)
    .map((id) => id.toString(16))
    .join(" ")})`;
}

/** A bar for each voter, longer the further its index is ahead of the others'. */
export function describeIndexes(voters: Iterable<NodeId>, acked: AckedIndexer): string {
  const rows = sortedIds(voters).map((id) => ({ id, index: acked.ackedIndex(id), bar: 0 }));
  if (rows.length === 0) return "<empty majority quorum>";
  const byIndex = [...rows].sort((a, b) => (a.index ?? 0) - (b.index ?? 0) || a.id - b.id);
  for (const [i, row] of byIndex.entries()) {
    const before = byIndex[i - 1];
    if (before !== undefined) row.bar = (before.index ?? 0) < (row.index ?? 0) ? i : before.bar;
  }
  const n = rows.length;
  let text = `${" ".repeat(n)}    idx\n`;
  for (const { id, index, bar } of rows) {
    const drawn = index === undefined ? `?${" ".repeat(n)}` : `${"x".repeat(bar)}>${" ".repeat(n - bar)}`;
    text += `${drawn} ${String(index ?? 0).padStart(5)}    (id=${id.toString(16)})\n`;
  }
  return text;
}
