/** The core's bugs, as patches. See `../README.md`. */
import type { Mutation } from "../mutant.ts";

export const coreMutations: readonly Mutation[] = [
  {
    bug: "figure8_commit_current_term_only",
    file: "core/log.ts",
    find: "if (index <= this.committed || !this.matchTerm(index, term)) return false;",
    replace: "if (index <= this.committed || term === 0) return false;",
  },
  {
    bug: "confchange_waits_for_commit_in_term",
    file: "core/raft.ts",
    find: "this.pendingConfIndex = this.log.lastIndex();",
    replace: "",
  },
  {
    bug: "term_and_vote_persist_atomically",
    file: "core/raw-node.ts",
    find: "r.term === last.term && r.vote === last.vote",
    replace: "r.term === last.term",
  },
  {
    bug: "same_term_stepdown_keeps_vote",
    file: "core/raft.ts",
    find: "if (this.term !== term) {",
    replace: "if (this.term <= term) {",
  },
  {
    bug: "ack_only_after_fsync",
    file: "core/raft.ts",
    find: 'if (m.type === "MsgAppResp" || m.type',
    replace: 'if ((m.type === "MsgAppResp" && m.to === this.id) || m.type',
  },
  {
    bug: "truncation_lowers_durable_index",
    file: "core/unstable.ts",
    find: "this.offsetInProgress = Math.min(this.offsetInProgress, from);",
    replace: "",
  },
  {
    bug: "stale_append_keeps_matching_suffix",
    file: "core/log.ts",
    find: "const from = this.firstNew(entries);",
    replace: "const from = 0;",
  },
  {
    bug: "purged_prev_is_not_conflict",
    file: "core/follower.ts",
    find: "if (m.index < committed) {",
    replace: "if (m.index < 0) {",
  },
  {
    bug: "commit_capped_at_verified_entry",
    file: "core/log.ts",
    find: "this.commitTo(Math.min(committed, last));",
    replace: "this.commitTo(Math.min(committed, this.lastIndex()));",
  },
  {
    bug: "commit_requires_real_quorum",
    file: "core/quorum.ts",
    find: "return indexes[n - (Math.floor(n / 2) + 1)] as number;",
    replace: "return indexes[n - Math.ceil(n / 2)] as number;",
  },
  {
    bug: "joint_config_honoured_after_restart",
    file: "core/changer.ts",
    find: "if (state.votersOutgoing.length === 0) {",
    replace: "if (state.votersOutgoing.length >= 0) {",
  },
  {
    bug: "snapshot_carries_conf_state",
    file: "core/raft.ts",
    find: `    this.log.restore(snapshot);
    this.tracker = new Tracker(this.config.maxInflightMsgs, this.config.maxInflightBytes);
    restoreConfiguration(this.tracker, this.log.lastIndex(), confState);`,
    replace: "    this.log.restore(snapshot);",
  },
  {
    bug: "snapshot_excludes_uncommitted_config",
    file: "core/leader.ts",
    find: "r.pendingConfIndex = r.log.lastIndex() + at + 1;",
    replace: "r.pendingConfIndex = r.log.lastIndex() + at + 1; r.applyConfChange(decodeConfChange(entry));",
  },
  {
    bug: "no_snapshot_log_gap",
    file: "core/log.ts",
    find: "if (!this.matchTerm(prev.index, prev.term)) return undefined;",
    replace: "if ((this.term(prev.index) ?? prev.term) !== prev.term) return undefined;",
  },
  {
    bug: "snapshot_crash_resumes_probe",
    file: "core/leader.ts",
    find: "  progress.becomeProbe();\n  // Wait for",
    replace: "  // Wait for",
  },
  {
    bug: "snapshot_below_pending_accepted",
    file: "core/leader.ts",
    find: "} else if (progress.match + 1 >= r.log.firstIndex()) {",
    replace: "} else if (progress.match >= progress.pendingSnapshot) {",
  },
  {
    bug: "overlapping_snapshots_safe",
    file: "core/unstable.ts",
    find: "if (this.snapshot?.metadata.index !== index) return;",
    replace: "if (this.snapshot === undefined) return;",
  },
  {
    bug: "no_reapply_after_crash",
    file: "core/raft.ts",
    find: "if (config.applied !== undefined && config.applied > 0) this.log.appliedTo(config.applied, 0);",
    replace: "",
  },
  {
    bug: "single_node_ack_after_fsync",
    file: "core/raft.ts",
    find: 'this.send(message("MsgAppResp", { to: this.id, index }));',
    replace: 'this.step(message("MsgAppResp", { from: this.id, to: this.id, term: this.term, index }));',
  },
  {
    bug: "read_index_waits_for_term_commit",
    file: "core/leader.ts",
    find: "if (!r.committedInTerm()) r.pendingReads.push(m);\n  else serveRead(r, m);",
    replace: "serveRead(r, m);",
  },
  {
    bug: "read_index_context_unique",
    file: "core/read-only.ts",
    find: "if (!this.open) return false; // R1",
    replace: "if (this.round === 0) return false;",
  },
  {
    bug: "lease_checked_after_pause",
    file: "core/leader.ts",
    find: "lease.nowMs() < r.leaseUntilMs",
    replace: "r.leaseUntilMs > 0",
  },
  {
    bug: "prevote_split_recovers",
    file: "core/raft.ts",
    find: '} else if (m.type === "MsgPreVote") {',
    replace: '} else if (m.type === "MsgPreVote" && m.term === 0) {',
  },
  {
    bug: "partial_partition_elects",
    file: "core/raft.ts",
    find: "if (remainingTicks > 0 && !isTransfer(m)) {",
    replace: "if (remainingTicks > 0 && m.term === 0) {",
  },
  {
    bug: "removed_server_not_disruptive",
    file: "core/raft.ts",
    find: "if (!this.config.checkQuorum) return 0;",
    replace: "if (this.config.checkQuorum) return 0;",
  },
  {
    bug: "learner_votes_when_asked",
    file: "core/raft.ts",
    find: "const granted = canVote &&",
    replace: "const granted = canVote && this.tracker.isVoter(this.id) &&",
  },
  {
    bug: "voter_demoted_before_removal",
    file: "core/changer.ts",
    find: "if (draft.outgoing.has(id)) {\n      draft.learnersNext.add(id);",
    replace: "if (draft.outgoing.has(id)) {\n      draft.progress.delete(id);",
  },
  {
    bug: "wiped_member_cannot_reuse_id",
    file: "core/log.ts",
    find: "if (index <= this.committed) return;",
    replace: "if (index <= this.committed || index > this.lastIndex()) return;",
  },
  {
    bug: "failed_transfer_resumes",
    file: "core/raft.ts",
    find: "if (this.isLeader()) this.abortTransfer();",
    replace: "",
  },
  {
    bug: "next_never_below_match",
    file: "core/progress.ts",
    find: "this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1); // P1",
    replace: "this.next = Math.min(rejected, hint + 1);",
  },
];
