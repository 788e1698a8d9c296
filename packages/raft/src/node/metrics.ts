import type { Counter, Gauge, Histogram, Metrics } from "@warren/std";

export interface RaftMetrics {
  readonly term: Gauge;
  readonly commitIndex: Gauge;
  readonly appliedIndex: Gauge;
  readonly isLeader: Gauge;
  readonly pendingBytes: Gauge;
  readonly leaderChanges: Counter;
  readonly proposals: Counter;
  readonly dropped: Counter;
  readonly writes: Counter;
  readonly entriesWritten: Counter;
  readonly snapshots: Counter;
  readonly messagesDropped: Counter;
  readonly peersRefused: Counter;
  readonly writeSeconds: Histogram;
  readonly commitSeconds: Histogram;
}

const buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5];

export function raftMetrics(metrics: Metrics): RaftMetrics {
  const named = (name: string, help: string): { name: string; help: string } => ({ name: `warren_raft_${name}`, help });
  return {
    term: metrics.gauge(named("term", "The current term.")),
    commitIndex: metrics.gauge(named("commit_index", "The highest index known to be committed.")),
    appliedIndex: metrics.gauge(named("applied_index", "The highest index applied here.")),
    isLeader: metrics.gauge(named("is_leader", "1 while this member leads.")),
    pendingBytes: metrics.gauge(named("pending_bytes", "Bytes of proposals taken here and not answered.")),
    leaderChanges: metrics.counter(named("leader_changes_total", "Times that a new leader was seen.")),
    proposals: metrics.counter(named("proposals_total", "Proposals taken.")),
    dropped: metrics.counter(named("proposals_dropped_total", "Proposals refused.")),
    writes: metrics.counter(named("log_writes_total", "Synced batches written.")),
    entriesWritten: metrics.counter(named("log_entries_total", "Entries written.")),
    snapshots: metrics.counter(named("snapshots_total", "Snapshots taken here.")),
    messagesDropped: metrics.counter(named("messages_dropped_total", "Messages lost as too many came at once.")),
    peersRefused: metrics.counter({
      ...named("peers_refused_total", "Refusals to speak with a peer, by this member (here) or by the peer (there)."),
      labels: ["by"],
    }),
    writeSeconds: metrics.histogram({ ...named("log_write_seconds", "A synced batch, in seconds."), buckets }),
    commitSeconds: metrics.histogram({
      ...named("commit_seconds", "From proposal to its result, in seconds."),
      buckets,
    }),
  };
}
