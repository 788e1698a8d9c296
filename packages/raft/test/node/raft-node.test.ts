import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { MemoryNetwork, memoryDisk, openFileDisk, type Disk } from "../../src/index.ts";
import { leaderOf, members, startGroup, startMember } from "./group.ts";
import { put } from "./key-value-machine.ts";

describe("a single member", () => {
  test("keeps what it acknowledged, through LevelDB, snapshots and a restart", async () => {
    const directory = await mkdtemp(join(tmpdir(), "raft-"));
    try {
      const options = { bootstrap: members.slice(0, 1), snapshotEntries: 20, trailingEntries: 5 };
      const first = await startMember(new MemoryNetwork(), 1, options, { disk: await openFileDisk(directory) });
      await leaderOf([first]);
      for (let i = 0; i < 50; i++) await first.node.propose(put(`k${i}`, `v${i}`));
      await first.node.close();
      const second = await startMember(new MemoryNetwork(), 1, options, { disk: await openFileDisk(directory) });
      await second.node.read();
      for (let i = 0; i < 50; i++) expect(second.fsm.state.get(`k${i}`)).toBe(`v${i}`);
      await second.node.close();
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe("three members", () => {
  test("a proposal on any of them is applied on all, with its result", async () => {
    const { nodes } = await startGroup({ forwardProposals: true });
    for (const [at, { node }] of nodes.entries()) {
      await until("a leader is known here", () => node.leadership().leader !== undefined);
      await node.propose(put(`k${at}`, "v"));
    }
    for (const { node, fsm } of nodes) {
      await node.read();
      expect([...fsm.state.keys()].sort()).toEqual(["k0", "k1", "k2"]);
    }
  });

  test("a proposal on a follower is rejected with the leader's id, and not forwarded, by default", async () => {
    const { nodes, leader } = await startGroup();
    for (const { node } of nodes.filter((other) => other !== leader)) {
      await until("a leader is known here", () => node.leadership().leader !== undefined);
      const failure = { code: "RAFT_NOT_LEADER", leader: leader.node.id };
      await expect(node.propose(put("a", "1"))).rejects.toMatchObject({ failure });
    }
    await leader.node.read();
    expect(leader.fsm.state.size).toBe(0);
  });

  test("a new leader keeps what the old one acknowledged", async () => {
    const { nodes, leader } = await startGroup();
    await leader.node.propose(put("a", "1"));
    await leader.node.close();
    const rest = nodes.filter((other) => other !== leader);
    const next = await leaderOf(rest);
    await next.node.read();
    expect(next.fsm.state.get("a")).toBe("1");
  });

  test("a leader cut off answers no read, by lease neither", async () => {
    const { network, nodes, leader } = await startGroup({ reads: "lease", readTimeoutMs: 400 });
    await leader.node.propose(put("a", "1"));
    await leader.node.read();
    network.reaches = (from, to) => from !== leader.node.id && to !== leader.node.id;
    const next = await leaderOf(nodes.filter((other) => other !== leader));
    await next.node.propose(put("a", "2"));
    // It may find out that it lost its quorum while it asks.
    const code = expect.stringMatching(/^RAFT_(READ_TIMEOUT|LEADER_CHANGED)$/u) as string;
    await expect(leader.node.read()).rejects.toMatchObject({ code });
  });

  test("a command repeated in a session is applied once, after a snapshot and another leader too", async () => {
    const { nodes, leader } = await startGroup({ snapshotEntries: 5 });
    const session = await leader.node.openSession();
    const first = await leader.node.proposeInSession(session, 1, 0, put("n", "+"));
    for (let i = 0; i < 10; i++) await leader.node.propose(put("other", String(i)));
    await leader.node.transferLeadership();
    const next = await leaderOf(nodes.filter((other) => other !== leader));
    const again = await next.node.proposeInSession(session, 1, 0, put("n", "+"));
    expect(Buffer.from(again.result!)).toEqual(Buffer.from(first.result!));
    expect(next.fsm.applications.get("n")).toBe(1);
    await expect(next.node.proposeInSession(999, 1, 0, put("n", "+"))).rejects.toMatchObject({
      code: "RAFT_SESSION_UNKNOWN",
    });
  });

  test("a member that joins gets a snapshot, catches up, votes, and is removed again", async () => {
    const { network, nodes, leader } = await startGroup({ snapshotEntries: 10, trailingEntries: 0 });
    for (let i = 0; i < 30; i++) await leader.node.propose(put(`k${i}`, "v"));
    const fourth = { id: 4, address: "member-4" };
    await leader.node.addLearner(fourth);
    const joined = await startMember(network, 4, { join: members });
    await until("it holds all", () => joined.fsm.state.size === 30);
    await until("it is promoted", () =>
      leader.node.promote(4).then(
        () => true,
        () => false,
      ),
    );
    expect(leader.node.status().members.map(({ id }) => id)).toEqual([1, 2, 3, 4]);
    await leader.node.remove(4);
    expect(nodes[0]!.node.status().config).toBeDefined();
    expect(leader.node.status().members).toHaveLength(3);
  });

  test("a member that lost its log is refused under its old id", async () => {
    const { network, nodes, leader } = await startGroup();
    const victim = nodes.find((other) => other !== leader)!;
    await leader.node.propose(put("a", "1"));
    await until("both have met", () => victim.fsm.state.size === 1);
    await victim.node.close();
    const wiped = await startMember(network, victim.node.id, { bootstrap: members });
    await leader.node.propose(put("b", "2"));
    await leader.node.propose(put("c", "3"));
    expect(wiped.fsm.state.size).toBe(0);
    expect(leader.node.leadership().isLeader).toBe(true);
  });

  test("a failed write stops the member and nothing after it is acknowledged", async () => {
    const disk = memoryDisk();
    const kv = await disk.openKeyValue();
    let broken = false;
    const batch: typeof kv.batch = async (ops, options) => {
      if (broken) throw new Error("EIO");
      await kv.batch(ops, options);
    };
    const faulty: Disk = { ...disk, openKeyValue: async () => ({ ...kv, batch }) };
    const faultyNode = await startMember(new MemoryNetwork(), 1, { bootstrap: members.slice(0, 1) }, { disk: faulty });
    const { node } = await leaderOf([faultyNode]);
    await node.propose(put("a", "1"));
    broken = true;
    await expect(node.propose(put("b", "2"))).rejects.toMatchObject({ code: "RAFT_OUTCOME_UNKNOWN" });
    broken = false;
    await expect(node.propose(put("c", "3"))).rejects.toMatchObject({ code: "RAFT_CLOSED" });
    expect(await node.done).toMatchObject({ code: "RAFT_STORAGE_FAILED" });
  });

  test("drain answers what is pending, hands over and closes", async () => {
    const { nodes, leader } = await startGroup();
    const pending = leader.node.propose(put("a", "1"));
    await leader.node.drain({ graceMs: 2_000 });
    expect((await pending).index).toBeGreaterThan(1);
    await leaderOf(nodes.filter((other) => other !== leader));
    await expect(leader.node.propose(put("b", "2"))).rejects.toMatchObject({ code: "RAFT_CLOSED" });
  });
});
