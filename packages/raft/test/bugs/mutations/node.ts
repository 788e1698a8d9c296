/** Bugs of runtimes and storages, as patches. The last ones are none of the table's: the simulator found them here. */
import type { Mutation } from "../mutant.ts";

export const nodeMutations: readonly Mutation[] = [
  {
    bug: "applied_index_atomic_with_fsm",
    file: "node/applier.ts",
    find: "const metadata = { index: this.index, term: this.term, confState: this.hooks.confState() };",
    replace: "const metadata = { index: this.index - 1, term: this.term, confState: this.hooks.confState() };",
  },
  {
    bug: "leader_disk_stall_yields",
    file: "node/engine.ts",
    find: "Math.max(this.writer.busyMs(), this.applier.busyMs())",
    replace: "this.applier.busyMs()",
  },
  {
    bug: "wedged_fsm_yields",
    file: "node/engine.ts",
    find: "Math.max(this.writer.busyMs(), this.applier.busyMs())",
    replace: "this.writer.busyMs()",
  },
  {
    bug: "torn_tail_vs_corruption",
    file: "storage/log-storage.ts",
    find: "if (marker !== undefined && last < marker) throw tailLost(last, marker);",
    replace: "",
  },
  {
    bug: "candidate_term_durable_before_votes",
    file: "node/engine.ts",
    find: 'else if (m.type === "MsgVote") continue; // N2',
    replace: 'else if (m.type === "MsgVote") outgoing.push(m);',
  },
  {
    bug: "lease_shorter_than_a_voters_patience",
    file: "node/options.ts",
    find: "leaseShare * (electionTicks - 1) * tickMs",
    replace: "leaseShare * electionTicks * tickMs",
  },
];

/** Bugs that no story tells, put back for the simulator alone. */
export const simulatorMutations: readonly Mutation[] = [
  {
    bug: "storage_batch_not_synced",
    file: "storage/log-storage.ts",
    find: "await this.kv.batch(ops, { sync: true }); // D1",
    replace: "await this.kv.batch(ops, { sync: false });",
  },
  {
    bug: "storage_found_unsynced_at_open",
    file: "storage/log-storage.ts",
    find: 'await kv.batch([{ type: "put", key: stateKey, value: seal(state) }], { sync: true }); // D4',
    replace: "",
  },
  {
    bug: "storage_marker_leads_the_log",
    file: "storage/log-storage.ts",
    find: "if (first !== undefined && first <= before.last) await this.mark(first - 1); // D2",
    replace: "",
  },
  {
    bug: "storage_damaged_entry_skipped",
    file: "storage/log-storage.ts",
    find: "if (entry === undefined || entry.index < expected) throw logCorrupt(expected);",
    replace: "if (entry === undefined) { expected++; continue; }",
  },
  {
    bug: "storage_write_error_swallowed",
    file: "storage/log-storage.ts",
    find: "      this.failure = storageFailed(cause);\n      throw this.failure;",
    replace: "      if (cause === undefined) throw this.failure;",
  },
  {
    bug: "snapshot_head_before_body_is_synced",
    file: "storage/snapshot-files.ts",
    find: "        unsynced = 0;\n      }\n      await file.sync();",
    replace: "        unsynced = 0;\n      }",
  },
  {
    bug: "snapshot_removed_before_it_is_installed",
    file: "storage/log-storage.ts",
    find: "await this.files.receive(metadata, source);\n    await this.files.prune(this.state.last);",
    replace: "await this.files.receive(metadata, source);\n    await this.files.prune(Number.POSITIVE_INFINITY);",
  },
  {
    bug: "commit_beyond_the_logs_end",
    file: "storage/log-storage.ts",
    find: "const commit = Math.min(hardState?.commit ?? before.commit, index);",
    replace: "const commit = hardState?.commit ?? before.commit;",
  },
  {
    bug: "journal_found_unsynced_at_open",
    file: "storage/journaled-key-value.ts",
    find: "    await store.batch([...missed.values(), numbered(number)], { sync: true }); // J3",
    replace: "    if (number > held) await store.batch([...missed.values(), numbered(number)], { sync: true });",
  },
  {
    bug: "journal_half_written_over_before_its_flush",
    file: "storage/journaled-key-value.ts",
    find: "    await this.flushed;\n    if (this.failure !== undefined) throw this.failure.cause;\n    this.flushing",
    replace: "    this.flushing",
  },
  {
    bug: "journal_flush_failure_swallowed",
    file: "storage/journaled-key-value.ts",
    find: "      this.flushing = new Map();\n    } catch (cause) {\n      this.failure ??= { cause };\n    }",
    replace: "      this.flushing = new Map();\n    } catch {}",
  },
  {
    bug: "journal_gap_accepted",
    file: "storage/journaled-key-value.ts",
    find: "if (record.number !== ++number) throw journalCorrupt(`record ${number} is damaged or missing`); // J2",
    replace: "number = record.number;",
  },
  {
    bug: "journal_record_of_torn_sectors_taken",
    file: "storage/journal.ts",
    find: "checksum(record, salt) !== record.readUInt32LE(0)",
    replace: "record.readUInt32LE(0) === 0",
  },
  {
    bug: "journal_laid_out_without_a_sync",
    file: "storage/journal.ts",
    find: "  await disk.rename(`${name}.new`, name);\n  await disk.syncDirectory();",
    replace: "  await disk.rename(`${name}.new`, name);",
  },
  {
    bug: "through_the_store_without_the_memtable",
    file: "storage/journaled-key-value.ts",
    find: "await this.store.batch([...this.memtable.values(), ...ops, numbered(this.number)], { sync: true });",
    replace: "await this.store.batch([...ops, numbered(this.number)], { sync: true });",
  },
  {
    bug: "session_repeats_applied_again",
    file: "node/sessions.ts",
    find: 'if (session.results.has(number)) return { kind: "known", result: session.results.get(number) };',
    replace: "",
  },
  {
    bug: "session_results_not_in_snapshots",
    file: "node/sessions.ts",
    find: "results: [...results].map(",
    replace: "results: [...results].slice(0, 0).map(",
  },
  {
    bug: "read_served_before_applied",
    file: "node/reads.ts",
    find: "const due = this.confirmed.filter(({ index }) => index <= applied);",
    replace: "const due = this.confirmed;",
  },
  {
    bug: "read_without_asking_the_quorum",
    file: "core/leader.ts",
    find: "if (byLease || r.tracker.isSingleton()) {",
    replace: "if (byLease || r.isLeader()) {",
  },
  {
    bug: "writer_answers_before_the_write",
    file: "node/writer.ts",
    find: "    this.sinceMs = this.clock.monotonic();\n    if (batch.snapshot",
    replace:
      "    this.sinceMs = this.clock.monotonic();\n    this.hooks.deliver(batch.responses);\n    if (batch.snapshot",
  },
  {
    bug: "wiped_member_admitted",
    file: "storage/log-storage.ts",
    find: "if (known !== undefined) return unseal(known) === incarnation;",
    replace: "if (known !== undefined) return true;",
  },
  {
    bug: "drain_forgets_pending_answers",
    file: "node/proposals.ts",
    find: 'for (const sequence of this.waiting.keys()) this.take(sequence)?.reject(unknown("the node closed"));',
    replace: 'for (const sequence of this.waiting.keys()) this.take(sequence)?.reject(dropped("draining"));',
  },
];
