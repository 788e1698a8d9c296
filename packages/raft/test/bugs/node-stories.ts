/** What happened when each bug of a runtime or a storage struck, told to a simulated cluster; one that goes wrong throws. */
import assert from "node:assert/strict";

import type * as TestingModule from "../../src/testing/index.ts";

export type Testing = typeof TestingModule;
type Cluster = TestingModule.SimulatedCluster;
type Machine = TestingModule.Machine;

const calm = {
  members: 3,
  cacheBytes: 1_000_000,
  syncMs: 2,
  options: {
    tickMs: 20,
    electionTicks: 10,
    reads: "safe",
    snapshotEntries: 10,
    trailingEntries: 2,
    proposalTimeoutMs: 1_500,
    readTimeoutMs: 1_500,
    stallMs: 300,
  },
} as const;

async function led(testing: Testing, options: object = {}): Promise<{ cluster: Cluster; leader: Machine }> {
  const cluster = new testing.SimulatedCluster(7, { plan: { ...calm, options: { ...calm.options, ...options } } });
  cluster.start();
  const leader = await leaderOf(cluster);
  return { cluster, leader };
}

async function leaderOf(cluster: Cluster, than?: Machine): Promise<Machine> {
  const found = (): Machine | undefined => {
    const leader = cluster.machines.leader();
    return leader === than ? undefined : leader;
  };
  assert.ok(await cluster.run(10_000, () => found() !== undefined), "nobody came to lead");
  return found() as Machine;
}

let operations = 0;

async function append(
  testing: Testing,
  cluster: Cluster,
  machine: Machine,
  value: string,
): Promise<string | undefined> {
  const data = testing.encodeAction(operations++, { kind: "append", key: "k", value });
  const applied = machine.node!.propose(data).then(
    ({ result }) => Buffer.from(result!).toString(),
    () => undefined,
  );
  return cluster.settle(applied, 3_000);
}

/** Entries 2 to 30 or so, with snapshots. */
async function fill(testing: Testing, cluster: Cluster, leader: Machine, count = 30): Promise<void> {
  for (let at = 0; at < count; at++) assert.ok(await append(testing, cluster, leader, "."));
  await cluster.run(200);
}

async function restart(cluster: Cluster, machine: Machine): Promise<void> {
  cluster.machines.start(machine);
  await cluster.run(5_000, () => machine.node !== undefined || machine.state === "lost");
}

export const nodeStories: Readonly<Record<string, (testing: Testing) => Promise<void>>> = {
  async applied_index_atomic_with_fsm(testing) {
    const { cluster, leader } = await led(testing);
    // Writes come without a pause while snapshots are taken; then the power fails.
    const writes = Array.from({ length: 60 }, async (_, at) => {
      await cluster.wait(at * 3);
      const data = testing.encodeAction(operations++, { kind: "append", key: "k", value: `${at}` });
      await leader.node!.propose(data).catch(() => undefined);
    });
    await cluster.settle(Promise.all(writes), 5_000);
    for (const machine of cluster.machines.all.values()) cluster.machines.crash(machine, true);
    for (const machine of cluster.machines.all.values()) cluster.machines.start(machine);
    const next = await leaderOf(cluster);
    await cluster.settle(next.node!.read(), 3_000);
    const expected = Array.from({ length: 60 }, (_, at) => `${at}`).join("");
    assert.equal(next.registers!.state.get("k"), expected, "a command was applied twice or not at all");
  },

  async leader_disk_stall_yields(testing) {
    const { cluster, leader } = await led(testing);
    leader.disk.stalledUntilMs = cluster.scheduler.nowMs + 60_000;
    // It notices by a write, which must not wait for ever.
    const stuck = append(testing, cluster, leader, "a");
    await stuck;
    const next = await leaderOf(cluster, leader);
    assert.ok(await append(testing, cluster, next, "b"), "the next leader takes writes");
    assert.ok(cluster.scheduler.nowMs < 10_000, "within a few election timeouts");
    assert.equal(leader.node!.leadership().isLeader, false);
  },

  async wedged_fsm_yields(testing) {
    const { cluster, leader } = await led(testing);
    leader.wedgedUntilMs = cluster.scheduler.nowMs + 60_000;
    await append(testing, cluster, leader, "a");
    const next = await leaderOf(cluster, leader);
    assert.ok(await append(testing, cluster, next, "b"), "the next leader takes writes");
    assert.equal(leader.node!.leadership().isLeader, false);
  },

  async torn_tail_vs_corruption(testing) {
    const kinds = ["none", "entry-flipped", "entry-lost", "tail-lost", "state-flipped", "snapshot-flipped"] as const;
    for (const kind of kinds) {
      const { cluster, leader } = await led(testing);
      await fill(testing, cluster, leader);
      const follower = cluster.machines.running().find((machine) => machine !== leader)!;
      // Power fails while more is written: that tail is torn, and nobody heard of it.
      void append(testing, cluster, leader, "torn").catch(() => undefined);
      await cluster.run(kind === "tail-lost" ? 500 : 3);
      cluster.machines.crash(follower, kind !== "tail-lost");
      if (kind !== "none") {
        assert.ok(follower.disk.damage(kind), `there is something to damage by ${kind}`);
        follower.damage = kind;
      }
      // What its opening must say of the damage, invariant 15 says.
      await restart(cluster, follower);
      assert.equal(follower.state, kind === "none" ? "up" : "lost", `after ${kind}`);
    }
  },

  async candidate_term_durable_before_votes(testing) {
    // No bug of the table: the simulator found it here. A candidate won by others' votes before its own term was on disk.
    const { cluster, leader } = await led(testing);
    const [heir, voter] = cluster.machines.running().filter((machine) => machine !== leader) as [Machine, Machine];
    await fill(testing, cluster, leader, 3);
    // It greets the heir as it starts, so that its vote need not wait for that.
    cluster.machines.crash(voter, false);
    await restart(cluster, voter);
    await cluster.run(500);
    heir.disk.syncMs = 150;
    const handover = leader.node!.transferLeadership(heir.id).catch(() => undefined);
    await cluster.run(3_000, () => heir.node!.leadership().isLeader);
    const { term } = heir.node!.leadership();
    assert.ok(heir.disk.durableState().term >= term, `it leads term ${term}, which is not on its disk`);
    await cluster.settle(handover, 3_000);
  },

  async lease_shorter_than_a_voters_patience(testing) {
    // Nor is this: followers count ticks, of which the first may come at once. All a lease's length, no other may lead.
    for (let seed = 1; seed <= 200; seed++) {
      const plan = {
        ...calm,
        drift: 0.045,
        options: { ...calm.options, electionTicks: 5, tickMs: 50, reads: "lease" },
      };
      const cluster = new testing.SimulatedCluster(seed, { plan: plan as never });
      cluster.start();
      const leader = await leaderOf(cluster);
      assert.ok(await append(testing, cluster, leader, "a"));
      await cluster.run(cluster.random.next() * 200);
      for (const { id } of cluster.machines.all.values()) {
        cluster.network.cutLink(id, leader.id);
        cluster.network.cutLink(leader.id, id);
      }
      // Invariant 11 holds at every step.
      await leaderOf(cluster, leader);
      await cluster.run(500);
    }
  },
};
