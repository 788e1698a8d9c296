/** What happened when each bug struck, told to a core; a story that goes wrong throws. */
import assert from "node:assert/strict";

import type { Entry } from "../../src/core/index.ts";
import { cut, World, type Core } from "./core-world.ts";

const entry = (term: number, index: number, data = ""): Entry => ({
  term,
  index,
  type: "EntryNormal",
  data: new TextEncoder().encode(data),
});
const nowhere = (): boolean => false;

/** Leader 1 of three, everything committed up to 3. */
function led(core: Core, options: ConstructorParameters<typeof World>[3] = {}): World {
  const world = new World(core, [1, 2, 3], {}, options);
  world.elect(1);
  return world;
}

/** A follower at term 1 with a log up to 3, commit 3; it has async storage writes. */
function asyncFollower(core: Core): World {
  const world = new World(core, [1], { voters: [1, 2, 3] }, { asyncStorageWrites: true });
  world
    .node(1)
    .step(core.message("MsgApp", { from: 2, to: 1, term: 1, index: 2, logTerm: 1, entries: [entry(1, 3)], commit: 3 }));
  return world;
}

export const coreStories: Readonly<Record<string, (core: Core) => void>> = {
  figure8_commit_current_term_only(core) {
    const world = led(core);
    world.reaches = nowhere;
    world.propose(1, "old");
    world.handle(1);
    world.node(1).stepDown();
    world.node(1).campaign();
    world.handle(1);
    world.node(1).step(core.message("MsgVoteResp", { from: 2, to: 1, term: 2 }));
    world.handle(1);
    assert.deepEqual(world.leaders(), [1]);
    // 4 is of term 1 and now on a majority; 5 is the leader's own.
    world.node(1).step(core.message("MsgAppResp", { from: 2, to: 1, term: 2, index: 4 }));
    assert.equal(world.node(1).basicStatus().commit, 3, "an entry of an older term was committed by counting copies");
    world.node(1).step(core.message("MsgAppResp", { from: 2, to: 1, term: 2, index: 5 }));
    assert.equal(world.node(1).basicStatus().commit, 5);
  },

  confchange_waits_for_commit_in_term(core) {
    const world = led(core);
    // A change reaches nobody; its author comes back and leads again, before it has applied that change.
    world.reaches = nowhere;
    world.node(1).proposeConfChange({ version: 1, type: "ConfChangeRemoveNode", nodeId: 3 });
    world.handle(1);
    world.deliver();
    world.node(1).stepDown();
    world.node(1).campaign();
    world.reaches = (m) => m.type !== "MsgApp";
    world.settle();
    assert.deepEqual(world.leaders(), [1]);
    world.node(1).proposeConfChange({ version: 1, type: "ConfChangeRemoveNode", nodeId: 2 });
    world.handle(1);
    const { storage } = world.get(1);
    const changes = storage.entries(3, storage.lastIndex() + 1, 1e9).filter(({ type }) => type !== "EntryNormal");
    assert.equal(changes.length, 1, "a second change was taken while one of an older term may be unapplied");
  },

  term_and_vote_persist_atomically(core) {
    const world = new World(core, [1], { voters: [1, 2, 3] });
    // A first candidate with too short a log raises the term; a second one gets the vote.
    world.node(1).step(core.message("MsgVote", { from: 2, to: 1, term: 5, index: 1, logTerm: 1 }));
    world.handle(1);
    world.node(1).step(core.message("MsgVote", { from: 3, to: 1, term: 5, index: 2, logTerm: 1 }));
    const ready = world.handle(1);
    assert.ok(ready.messages.some((m) => m.type === "MsgVoteResp" && !m.reject));
    assert.deepEqual(
      ready.hardState,
      { term: 5, vote: 3, commit: 2 },
      "a vote left that was not written with its term",
    );
  },

  same_term_stepdown_keeps_vote(core) {
    const world = led(core);
    world.node(1).stepDown();
    const { term, vote } = world.node(1).basicStatus();
    assert.equal(vote, 1);
    world.node(1).step(core.message("MsgVote", { from: 2, to: 1, term, index: 9, logTerm: term }));
    const answer = world.handle(1).messages.find((m) => m.type === "MsgVoteResp");
    assert.equal(answer?.reject, true, "a second vote was given in one term");
  },

  ack_only_after_fsync(core) {
    const world = asyncFollower(core);
    const { messages } = world.node(1).ready();
    assert.ok(!messages.some((m) => m.type === "MsgAppResp"), "an append was acknowledged before it was written");
    const write = messages.find((m) => m.type === "MsgStorageAppend");
    assert.ok(write?.responses.some((m) => m.type === "MsgAppResp" && m.index === 3));
  },

  truncation_lowers_durable_index(core) {
    const world = asyncFollower(core);
    const entries = [entry(1, 4), entry(1, 5), entry(1, 6)];
    world.node(1).step(core.message("MsgApp", { from: 2, to: 1, term: 1, index: 3, logTerm: 1, entries, commit: 3 }));
    world.node(1).ready();
    // Being written as it is; a new leader replaces 5 and 6.
    world
      .node(1)
      .step(
        core.message("MsgApp", { from: 3, to: 1, term: 2, index: 4, logTerm: 1, entries: [entry(2, 5)], commit: 3 }),
      );
    const ready = world.node(1).ready();
    assert.deepEqual(
      ready.entries.map(({ term, index }) => [term, index]),
      [[2, 5]],
      "what replaced an entry under way is taken to be on disk",
    );
  },

  stale_append_keeps_matching_suffix(core) {
    const world = led(core);
    const late = core.message("MsgApp", {
      from: 1,
      to: 2,
      term: 1,
      index: 3,
      logTerm: 1,
      entries: [entry(1, 4, "a")],
      commit: 3,
    });
    world.reaches = ({ type }) => type !== "MsgAppResp";
    world.propose(1, "a");
    world.propose(1, "b");
    world.settle();
    world.node(2).step(late);
    world.handle(2);
    assert.equal(world.get(2).storage.lastIndex(), 5, "an old append cut off entries that were acknowledged");
  },

  purged_prev_is_not_conflict(core) {
    const world = led(core);
    world.propose(1, "a");
    world.propose(1, "b");
    world.settle();
    world.get(2).storage.compact(5);
    world.wire = [];
    world.node(2).step(
      core.message("MsgApp", {
        from: 1,
        to: 2,
        term: 1,
        index: 3,
        logTerm: 1,
        entries: [entry(1, 4, "a")],
        commit: 5,
      }),
    );
    const answer = world.handle(2).messages.find((m) => m.type === "MsgAppResp");
    assert.equal(answer?.reject, false, "an append before the compacted prefix was taken for a conflict");
    assert.equal(answer?.index, 5);
  },

  commit_capped_at_verified_entry(core) {
    const world = new World(core, [1], { voters: [1, 2, 3] });
    const node = world.node(1);
    node.step(
      core.message("MsgApp", {
        from: 2,
        to: 1,
        term: 1,
        index: 2,
        logTerm: 1,
        entries: [entry(1, 3), entry(1, 4)],
        commit: 2,
      }),
    );
    world.handle(1);
    // The next leader has another 4. Its probe shows only 3 to match.
    node.step(core.message("MsgApp", { from: 3, to: 1, term: 2, index: 3, logTerm: 1, commit: 4 }));
    assert.equal(node.basicStatus().commit, 3, "an entry was committed that the leader may not have");
  },

  commit_requires_real_quorum(core) {
    const world = new World(core, [1, 2, 3, 4]);
    world.elect(1);
    world.reaches = cut([1, 3], [1, 4]);
    world.propose(1, "a");
    world.settle();
    assert.equal(world.node(1).basicStatus().commit, 3, "two of four are no majority");
    world.reaches = cut([1, 4]);
    world.tick(2);
    assert.equal(world.node(1).basicStatus().commit, 4);
  },

  joint_config_honoured_after_restart(core) {
    const world = new World(core, [1, 2, 3, 4, 5], { voters: [1, 4, 5], votersOutgoing: [1, 2, 3] });
    world.reaches = cut([1, 2], [1, 3]);
    world.elect(1);
    assert.deepEqual(world.leaders(), [], "the new half alone elected a leader after a restart");
    world.reaches = () => true;
    world.elect(1);
    assert.deepEqual(world.leaders(), [1]);
  },

  snapshot_carries_conf_state(core) {
    const world = led(core);
    const confState = { voters: [1, 2, 3, 4], learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    const snapshot = { metadata: { index: 9, term: 1, confState }, data: new Uint8Array(0) };
    world.node(2).step(core.message("MsgSnap", { from: 1, to: 2, term: 1, snapshot }));
    world.handle(2);
    assert.deepEqual(world.node(2).confState().voters, [1, 2, 3, 4], "a snapshot's configuration was lost");
  },

  snapshot_excludes_uncommitted_config(core) {
    const world = led(core);
    world.reaches = nowhere;
    world.node(1).proposeConfChange({ version: 1, type: "ConfChangeAddNode", nodeId: 4 });
    world.handle(1);
    assert.deepEqual(world.node(1).confState().voters, [1, 2, 3], "a change took effect before it was committed");
  },

  no_snapshot_log_gap(core) {
    const world = led(core);
    world
      .node(2)
      .step(
        core.message("MsgApp", { from: 1, to: 2, term: 1, index: 5, logTerm: 1, entries: [entry(1, 6)], commit: 3 }),
      );
    const ready = world.node(2).ready();
    assert.deepEqual(ready.entries, [], "an entry was appended beyond a gap");
    assert.equal(ready.messages.find((m) => m.type === "MsgAppResp")?.reject, true);
  },

  snapshot_crash_resumes_probe(core) {
    const world = behind(core);
    world.wire = [];
    // The follower crashed with the snapshot half received.
    world.node(1).reportSnapshot(3, "failure");
    world.tick(2);
    assert.equal(world.node(3).basicStatus().commit, world.node(1).basicStatus().commit, "no second snapshot was sent");
  },

  snapshot_below_pending_accepted(core) {
    const world = behind(core);
    // A snapshot that is older than the one announced arrives by another way; the log goes on from it.
    world.wire = [];
    world.propose(1, "c");
    world.settle();
    world.wire = [];
    const status = world.node(1).status();
    assert.equal(status.progress.get(3)?.state, "StateSnapshot");
    const { pendingSnapshot } = status.progress.get(3)!;
    const first = world.get(1).storage.firstIndex();
    assert.ok(first - 1 < pendingSnapshot);
    world.node(1).step(core.message("MsgAppResp", { from: 3, to: 1, term: 1, index: first - 1 }));
    assert.equal(world.node(1).status().progress.get(3)?.state, "StateReplicate", "replication did not resume");
  },

  overlapping_snapshots_safe(core) {
    const world = new World(core, [1], { voters: [1, 2, 3] }, { asyncStorageWrites: true });
    const confState = world.node(1).confState();
    const send = (index: number): void =>
      world.node(1).step(
        core.message("MsgSnap", {
          from: 2,
          to: 1,
          term: 1,
          snapshot: { metadata: { index, term: 1, confState }, data: new Uint8Array(0) },
        }),
      );
    send(10);
    const first = world
      .node(1)
      .ready()
      .messages.find((m) => m.type === "MsgStorageAppend")!;
    send(12);
    world.get(1).storage.applySnapshot(first.snapshot!);
    for (const m of first.responses) if (m.to === 1) world.node(1).step(m);
    assert.equal(world.node(1).ready().snapshot?.metadata.index, 12, "the end of one snapshot was taken for another's");
    assert.equal(world.node(1).basicStatus().applied, 10);
  },

  no_reapply_after_crash(core) {
    const world = led(core);
    world.propose(1, "a");
    world.settle();
    const again = world.start(2, world.get(2).storage, { applied: 4 });
    assert.deepEqual(again.node.ready().committedEntries, [], "an entry was applied twice");
    assert.equal(again.node.basicStatus().applied, 4);
  },

  single_node_ack_after_fsync(core) {
    const world = new World(core, [1], {}, { asyncStorageWrites: true });
    world.node(1).campaign();
    const vote = world
      .node(1)
      .ready()
      .messages.find((m) => m.type === "MsgStorageAppend")!;
    for (const m of vote.responses) world.node(1).step(m);
    world.propose(1, "a");
    const ready = world.node(1).ready();
    assert.equal(world.node(1).basicStatus().commit, 2, "a lone voter committed what it had not written");
    const write = ready.messages.find((m) => m.type === "MsgStorageAppend")!;
    world.get(1).storage.append(write.entries);
    for (const m of write.responses) world.node(1).step(m);
    assert.equal(world.node(1).basicStatus().commit, 4);
  },

  read_index_waits_for_term_commit(core) {
    const world = new World(core, [1, 2, 3]);
    world.reaches = ({ type }) => type !== "MsgApp";
    world.elect(1);
    world.node(1).stepDown();
    world.elect(1);
    world.read(1, "r");
    world.settle();
    assert.deepEqual(world.get(1).reads, [], "a read was served that may miss committed entries");
    world.reaches = () => true;
    world.tick(3);
    assert.equal(world.get(1).reads.at(-1)?.index, 4);
  },

  read_index_context_unique(core) {
    const world = led(core);
    world.read(1, "same");
    world.handle(1);
    // The second read comes after the first one's heartbeats left; their answers say nothing about it.
    world.read(1, "same");
    world.deliver();
    for (const id of [2, 3]) world.handle(id);
    world.deliver();
    world.reaches = nowhere;
    world.handle(1);
    assert.equal(world.get(1).reads.length, 1, "a read was confirmed by a round that began before it");
  },

  lease_checked_after_pause(core) {
    let now = 1_000;
    const lease = { nowMs: () => now, durationMs: 100 };
    const world = led(core, { checkQuorum: true, readOnlyOption: "lease", lease });
    world.tick(1);
    world.reaches = nowhere;
    assert.equal(world.node(1).leaseValid(), true);
    // The process stands still; no tick tells it.
    now += 10_000;
    assert.equal(world.node(1).leaseValid(), false, "a lease outlived a pause");
    world.read(1, "r");
    world.handle(1);
    assert.deepEqual(world.get(1).reads, []);
  },

  prevote_split_recovers(core) {
    const world = new World(core, [1, 2], {}, { preVote: true });
    world.elect(1);
    world.propose(1, "a");
    world.reaches = nowhere;
    world.handle(1);
    world.deliver();
    world.node(1).stepDown();
    // 2 has the higher term, 1 the longer log; 1 hears the term only if its question is answered.
    world.node(2).step(core.message("MsgHeartbeat", { from: 9, to: 2, term: 8 }));
    world.handle(2);
    world.wire = [];
    world.reaches = () => true;
    world.node(2).forgetLeader();
    world.tick(60);
    assert.equal(world.leaders().length, 1, "no leader could be elected");
  },

  partial_partition_elects(core) {
    const world = new World(core, [1, 2, 3], {}, { preVote: true, checkQuorum: true });
    world.elect(1);
    const { term } = world.node(1).basicStatus();
    // 2 does not hear the leader; 3 hears both, and does not help 2 to unseat it.
    world.reaches = cut([1, 2]);
    world.tick(200);
    assert.equal(world.node(1).basicStatus().term, term, "a leader that a majority hears was unseated");
    assert.deepEqual(world.leaders(), [1]);
    // Nobody hears it: it gives way, and the others elect.
    world.reaches = cut([1, 2], [1, 3]);
    world.tick(60);
    assert.equal(world.leaders().length, 1);
    assert.notEqual(world.leaders()[0], 1);
  },

  removed_server_not_disruptive(core) {
    const world = new World(core, [1, 2, 3], {}, { checkQuorum: true });
    world.elect(1);
    world.reaches = ({ to }) => to !== 3;
    world.node(1).proposeConfChange({ version: 1, type: "ConfChangeRemoveNode", nodeId: 3 });
    world.settle();
    const { term } = world.node(1).basicStatus();
    // It never learnt of its removal, and campaigns again and again.
    for (let i = 0; i < 100; i++) world.tick(1);
    assert.ok(world.node(3).basicStatus().term > term);
    assert.equal(world.node(2).basicStatus().term, term, "a removed member raised the others' term");
    assert.ok(world.leaders().includes(1));
  },

  learner_votes_when_asked(core) {
    const world = new World(core, [1, 2, 3], { voters: [1, 2], learners: [3] });
    world.elect(1);
    world.reaches = cut([1, 3]);
    world.node(1).proposeConfChange({ version: 1, type: "ConfChangeAddNode", nodeId: 3 });
    world.settle();
    // 3 was promoted and does not know; the leader is gone.
    world.reaches = cut([1, 2], [1, 3]);
    world.node(2).campaign();
    world.settle();
    assert.ok(world.leaders().includes(2), "a promoted learner did not vote");
  },

  voter_demoted_before_removal(core) {
    const world = led(core);
    const changes = [{ type: "ConfChangeAddLearnerNode", nodeId: 3 }] as const;
    world.node(1).proposeConfChange({ version: 2, transition: "ConfChangeTransitionJointExplicit", changes });
    world.settle();
    const { voters, votersOutgoing, learnersNext, learners } = world.node(1).confState();
    assert.deepEqual(
      { voters, votersOutgoing, learnersNext, learners },
      {
        voters: [1, 2],
        votersOutgoing: [1, 2, 3],
        learnersNext: [3],
        learners: [],
      },
    );
    world.node(1).proposeConfChange({ version: 2, transition: "ConfChangeTransitionAuto", changes: [] });
    world.settle();
    assert.deepEqual(world.node(1).confState().learners, [3]);
  },

  wiped_member_cannot_reuse_id(core) {
    const world = led(core);
    world.propose(1, "a");
    world.settle();
    // 3 comes back under its id with an empty disk; the leader believes it has everything.
    world.add(3, { voters: [1, 2, 3] });
    assert.throws(() => world.tick(3), /log was lost/u, "a wiped member went on as if nothing had happened");
  },

  failed_transfer_resumes(core) {
    const world = led(core, { checkQuorum: true });
    world.reaches = cut([1, 3]);
    world.node(1).transferLeader(3);
    world.settle();
    assert.throws(() => world.propose(1, "refused"), /dropped/u);
    world.tick(11);
    world.propose(1, "taken");
    world.settle();
    assert.equal(world.node(1).basicStatus().commit, 4, "a failed transfer left the cluster without writes");
  },

  next_never_below_match(core) {
    const world = led(core);
    world.propose(1, "a");
    world.propose(1, "b");
    world.settle();
    const { match } = world.node(1).status().progress.get(2)!;
    assert.equal(match, 5);
    world.node(1).reportUnreachable(2);
    // Late: from when the follower had nothing.
    world
      .node(1)
      .step(core.message("MsgAppResp", { from: 2, to: 1, term: 1, index: 5, reject: true, rejectHint: 2, logTerm: 1 }));
    assert.equal(world.node(1).status().progress.get(2)?.next, 6, "the leader went back below what is known to match");
  },
};

/** Leader 1; 3 missed entries that are compacted, and a snapshot for it is on its way. */
function behind(core: Core): World {
  const world = led(core);
  world.reaches = cut([1, 3]);
  world.propose(1, "a");
  world.propose(1, "b");
  world.settle();
  const { storage, node } = world.get(1);
  storage.createSnapshot(5, node.confState(), new Uint8Array(0));
  storage.compact(4);
  world.reaches = () => true;
  node.tick();
  for (let i = 0; i < 10 && node.status().progress.get(3)?.state !== "StateSnapshot"; i++) {
    for (const { id } of world.members.values()) if (world.node(id).hasReady()) world.handle(id);
    world.deliver();
  }
  assert.equal(node.status().progress.get(3)?.state, "StateSnapshot");
  world.reaches = ({ to, from }) => to !== 3 && from !== 3;
  world.settle();
  world.reaches = () => true;
  return world;
}
