/** The simulator is worth what it notices: bugs that it must see within a few seeds, on its own. All: docs/raft-bugs.md. */
import { describe, expect, test } from "vitest";

import { createMutant } from "../bugs/mutant.ts";
import { coreMutations } from "../bugs/mutations/core.ts";
import { nodeMutations, simulatorMutations } from "../bugs/mutations/node.ts";
import type { Testing } from "../bugs/node-stories.ts";

/** By the bug: which invariants may be the first to break. */
const noticed: Readonly<Record<string, readonly number[]>> = {
  same_term_stepdown_keeps_vote: [9],
  ack_only_after_fsync: [8],
  term_and_vote_persist_atomically: [8, 9],
  single_node_ack_after_fsync: [7],
  no_reapply_after_crash: [5],
  figure8_commit_current_term_only: [6, 7],
  applied_index_atomic_with_fsm: [12, 13],
  leader_disk_stall_yields: [0],
  wedged_fsm_yields: [0],
  storage_batch_not_synced: [7, 8],
  through_the_store_without_the_memtable: [9],
  journal_half_written_over_before_its_flush: [0],
  storage_write_error_swallowed: [7, 8, 10, 15],
  snapshot_head_before_body_is_synced: [15],
  session_results_not_in_snapshots: [13],
  session_repeats_applied_again: [5, 14],
  writer_answers_before_the_write: [7, 8],
  drain_forgets_pending_answers: [14],
};

describe("with the bug in, some world breaks an invariant", () => {
  for (const [bug, invariants] of Object.entries(noticed)) {
    test(bug, async () => {
      const mutation = [...coreMutations, ...nodeMutations, ...simulatorMutations].find((one) => one.bug === bug)!;
      using mutant = createMutant(mutation);
      const { simulate } = await mutant.load<Testing>("testing/index.ts");
      for (let seed = 1; seed <= 150; seed++) {
        const { violation } = await simulate(seed);
        if (violation === undefined) continue;
        expect(invariants).toContain(violation.invariant);
        return;
      }
      expect.unreachable(`150 worlds did not notice ${bug}`);
    });
  }
});
