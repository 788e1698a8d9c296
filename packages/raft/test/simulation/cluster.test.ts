/** What a script on a simulated cluster shows of the runtime; the worlds of faults are in `worlds.sim.test.ts`. */
import { describe, expect, test } from "vitest";

import { encodeAction, SimulatedCluster, Violation, type Machine, type Plan } from "../../src/testing/index.ts";

function made(members: number, options: Plan["options"] = {}, seed = 3): SimulatedCluster {
  const plan: Partial<Plan> = {
    members,
    syncMs: 2,
    cacheBytes: 1_000_000,
    journal: { halfBytes: 4_096, largestRecordBytes: 1_024 },
    options: { tickMs: 20, proposalTimeoutMs: 1_500, readTimeoutMs: 1_500, stallMs: 300, ...options },
  };
  const cluster = new SimulatedCluster(seed, { plan });
  cluster.start();
  return cluster;
}

async function leaderOf(cluster: SimulatedCluster): Promise<Machine> {
  expect(await cluster.run(10_000, () => cluster.machines.leader() !== undefined)).toBe(true);
  return cluster.machines.leader()!;
}

let operations = 0;
const write = (machine: Machine, value = "v"): Promise<unknown> =>
  machine.node!.propose(encodeAction(operations++, { kind: "put", key: "k", value }));
const code = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (error: { code: string }) => error.code,
  );

describe("reads", () => {
  test("a lone voter answers them by lease", async () => {
    const cluster = made(1, { reads: "lease" });
    const leader = await leaderOf(cluster);
    expect(await cluster.settle(leader.node!.read(), 3_000)).toBeGreaterThan(0);
  });

  test("are answered by a round when a transfer ended the lease", async () => {
    const cluster = made(3, { reads: "lease" });
    const leader = await leaderOf(cluster);
    const other = cluster.machines.running().find((machine) => machine !== leader)!;
    await cluster.settle(write(leader), 3_000);
    cluster.network.cutLink(leader.id, other.id);
    expect(await cluster.settle(code(leader.node!.transferLeadership(other.id)), 5_000)).toBe("RAFT_TRANSFER_FAILED");
    expect(await cluster.settle(leader.node!.read(), 3_000)).toBeGreaterThan(0);
  });

  test("end in time though the state machine is wedged", async () => {
    const cluster = made(1);
    const leader = await leaderOf(cluster);
    leader.wedgedUntilMs = cluster.scheduler.nowMs + 60_000;
    void code(write(leader));
    await cluster.run(100);
    expect(await cluster.settle(code(leader.node!.read()), 5_000)).toBe("RAFT_READ_TIMEOUT");
  });
});

describe("members", () => {
  test("are changed by the leader alone, which says why it refuses", async () => {
    const cluster = made(3);
    const leader = await leaderOf(cluster);
    const follower = cluster.machines.running().find((machine) => machine !== leader)!;
    const asked = (work: Promise<unknown>): Promise<string | undefined> => cluster.settle(code(work), 3_000);
    await cluster.settle(write(leader), 3_000);
    expect(await asked(follower.node!.demote(leader.id))).toBe("RAFT_NOT_LEADER");
    expect(await asked(leader.node!.remove(leader.id))).toBe("RAFT_MEMBERSHIP_REFUSED");
    expect(await asked(leader.node!.promote(9))).toBe("RAFT_MEMBERSHIP_REFUSED");
    const both = Promise.all([code(leader.node!.demote(follower.id)), code(leader.node!.demote(follower.id))]);
    expect((await cluster.settle(both, 3_000))?.sort()).toEqual(["RAFT_MEMBERSHIP_REFUSED", "none"]);
    await cluster.settle(leader.node!.close(), 3_000);
    expect(await asked(leader.node?.demote(1) ?? Promise.reject(new Error("it ended")))).not.toBe("none");
  });

  test("a member that joins replies to a leader that it does not know", async () => {
    const cluster = made(3);
    let leader = await leaderOf(cluster);
    const fourth = cluster.machines.add(4, false);
    cluster.machines.start(fourth);
    await cluster.settle(leader.node!.addLearner(fourth.member), 5_000);
    await cluster.run(2_000);
    await cluster.settle(leader.node!.promote(4), 5_000);
    // It campaigns once it has applied its promotion.
    await cluster.run(1_000);
    await cluster.settle(leader.node!.transferLeadership(4), 5_000);
    // The fifth is told of the first three alone.
    leader = fourth;
    const fifth = cluster.machines.add(5, false);
    await cluster.settle(leader.node!.addLearner(fifth.member), 5_000);
    cluster.machines.start(fifth);
    await cluster.settle(write(leader), 5_000);
    await cluster.run(5_000, () => fifth.registers?.state.get("k") === "v");
    expect(fifth.registers?.state.get("k")).toBe("v");
  });

  test("one that was wiped is refused under its old id, and taken under a new one", async () => {
    const cluster = made(3, { snapshotEntries: 5 });
    const leader = await leaderOf(cluster);
    const victim = cluster.machines.running().find((machine) => machine !== leader)!;
    for (let i = 0; i < 10; i++) await cluster.settle(write(leader), 3_000);
    cluster.machines.wipe(victim);
    cluster.machines.start(victim);
    await cluster.settle(write(leader, "after"), 3_000);
    await cluster.run(3_000);
    expect(leader.node!.status().progress.get(victim.id)?.recentActive).toBe(false);
    await cluster.settle(leader.node!.remove(victim.id), 5_000);
    cluster.machines.retire(victim);
    const next = cluster.machines.add(4, false);
    cluster.machines.start(next);
    await cluster.settle(leader.node!.addLearner(next.member), 5_000);
    await cluster.run(5_000, () => next.registers?.state.get("k") === "after");
    expect(next.registers?.state.get("k")).toBe("after");
    await cluster.settle(leader.node!.promote(4), 5_000);
    expect(leader.node!.status().members.map(({ id }) => id)).not.toContain(victim.id);
  });
});

describe("ends", () => {
  test("a drain waits for what is pending, not in circles", async () => {
    const cluster = made(1);
    const leader = await leaderOf(cluster);
    leader.wedgedUntilMs = cluster.scheduler.nowMs + 200;
    const pending = write(leader);
    const before = cluster.scheduler.events;
    await cluster.settle(leader.node!.drain({ graceMs: 1_000 }), 3_000);
    expect(await cluster.settle(code(pending), 100)).toBe("none");
    expect(cluster.scheduler.events - before).toBeLessThan(200);
  });

  test("a leader that ended notifies its listeners that it leads no more", async () => {
    const cluster = made(1);
    const leader = await leaderOf(cluster);
    const { node } = leader;
    const told: boolean[] = [];
    node!.onLeadership(({ isLeader }) => void told.push(isLeader));
    await cluster.settle(node!.close(), 3_000);
    expect(told).toEqual([false]);
    expect(node!.leadership()).toMatchObject({ leader: undefined, isLeader: false });
  });

  test("a node whose log can't be closed says so and is done", async () => {
    const cluster = made(1);
    const leader = await leaderOf(cluster);
    const { node } = leader;
    leader.blamed = true;
    leader.disk.full = true;
    await cluster.settle(node!.close(), 3_000);
    expect(await cluster.settle(node!.done, 100)).toMatchObject({ code: "RAFT_STORAGE_FAILED" });
  });
});

describe("the power", () => {
  test.each(["during", "after"] as const)(
    "fails %s the operation that was asked for, once, and what was acknowledged before is there",
    async (moment) => {
      const cluster = made(1);
      const leader = await leaderOf(cluster);
      await cluster.settle(write(leader, "acknowledged"), 3_000);
      const before = leader.process;
      leader.disk.powerCuts.push({ kind: "write in journal", operations: 1, moment });
      void code(write(leader, "cut"));
      await cluster.run(3_000, () => cluster.machines.powerCuts.size > 0);
      expect([...cluster.machines.powerCuts]).toEqual([[`${moment} write in journal`, 1]]);
      expect(leader.process).not.toBe(before);
      const again = await leaderOf(cluster);
      await cluster.settle(again.node!.read(), 3_000);
      expect(["acknowledged", "cut"]).toContain(again.registers!.state.get("k"));
      expect(leader.disk.powerCuts).toEqual([]);
    },
  );

  test("that fails while a member starts leaves it to start again", async () => {
    const cluster = made(1);
    const leader = await leaderOf(cluster);
    await cluster.settle(write(leader, "acknowledged"), 3_000);
    cluster.machines.crash(leader, false);
    leader.disk.powerCuts.push({ kind: "store batch, synced", operations: 1, moment: "during" });
    cluster.machines.start(leader);
    await cluster.run(3_000, () => cluster.machines.powerCuts.size > 0);
    const again = await leaderOf(cluster);
    await cluster.settle(again.node!.read(), 3_000);
    expect(again.registers!.state.get("k")).toBe("acknowledged");
  });
});

test("a broken invariant is thrown where time passes, though a member caught it first", async () => {
  const cluster = made(3);
  const leader = await leaderOf(cluster);
  cluster.scheduler.after(5, () => {
    try {
      cluster.invariants.expect(false, 5, "told");
    } catch {
      // As a node takes what is thrown in its turn for its own failure.
    }
  });
  await expect(cluster.run(100)).rejects.toThrow(Violation);
  expect(leader.node).toBeDefined();
});
