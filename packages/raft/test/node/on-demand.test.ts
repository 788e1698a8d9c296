/** What an operator asks of a member that runs: compaction, an election, other options, and what is observed. */
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { MemoryNetwork, type PeerState, type Refusal, type StateMachine } from "../../src/index.ts";
import { leaderOf, members, openStorage, startGroup, startMember, type Running } from "./group.ts";
import { KeyValueMachine, put } from "./key-value-machine.ts";

const alone = members.slice(0, 1);

/** On a busy machine a hand-over may come too late, and the leader goes on. */
async function lead({ node }: Running): Promise<void> {
  await until("it leads", async () => {
    await node.campaign();
    return node.leadership().ready;
  });
}

describe("compaction on demand", () => {
  test("drops what the newest snapshot holds, and no more", async () => {
    const { leader } = await startGroup({}, alone);
    for (let i = 0; i < 10; i++) await leader.node.propose(put(`k${i}`, "v"));
    const { index } = await leader.node.takeSnapshot();
    await leader.node.propose(put("later", "1"));
    for (const upTo of [index + 1, -1, 1.5, "1"]) {
      await expect(leader.node.compact(upTo as number)).rejects.toMatchObject({ code: "RAFT_ARGUMENT_INVALID" });
    }
    expect(await leader.node.compact(5)).toBe(6);
    expect(await leader.node.compact(3)).toBe(6);
    expect(await leader.node.compact()).toBe(index + 1);
    await leader.node.close();
    const storage = await openStorage(leader.disk, 1);
    expect(storage.firstIndex()).toBe(index + 1);
    await storage.close();
  });

  test("sends a follower that needs what was dropped the snapshot", async () => {
    const { network, nodes, leader } = await startGroup();
    const [follower] = nodes.filter((one) => one !== leader);
    network.reaches = (from, to) => from !== follower!.node.id && to !== follower!.node.id;
    for (let i = 0; i < 10; i++) await leader.node.propose(put(`k${i}`, "v"));
    await leader.node.takeSnapshot();
    await leader.node.compact();
    network.reaches = () => true;
    await until("it has all", () => follower!.fsm.state.size === 10);
  });
});

test("an election on demand makes the member lead that was asked to campaign", async () => {
  const { nodes, leader } = await startGroup();
  const follower = nodes.find((one) => one !== leader)!;
  await lead(follower);
  await until("the other follows", () => !leader.node.leadership().isLeader);
});

test("a leader whose transfer failed takes proposals at once", async () => {
  const network = new MemoryNetwork();
  // Without ticks the core never gives the transfer up by itself.
  const nodes = await Promise.all(members.map(({ id }) => startMember(network, id, { bootstrap: members, tickMs: 0 })));
  await nodes[0]!.node.campaign();
  const { node } = await leaderOf(nodes);
  network.reaches = (from, to) => from !== 2 && to !== 2;
  await expect(node.transferLeadership(2)).rejects.toMatchObject({ code: "RAFT_TRANSFER_FAILED" });
  await node.propose(put("a", "1"));
});

test("a learner can't campaign", async () => {
  const { network, leader } = await startGroup({}, alone);
  const learner = await startMember(network, 4, { join: alone });
  await leader.node.addLearner({ id: 4, address: "member-4" });
  await until("it is a member", () => learner.node.status().config.learners.has(4));
  await expect(learner.node.campaign()).rejects.toMatchObject({ code: "RAFT_MEMBERSHIP_REFUSED" });
});

test("without a leader an election on demand begins at once", async () => {
  const network = new MemoryNetwork();
  // Without ticks nobody would ever campaign.
  const nodes = await Promise.all(members.map(({ id }) => startMember(network, id, { bootstrap: members, tickMs: 0 })));
  await nodes[1]!.node.campaign();
  expect(await leaderOf(nodes)).toBe(nodes[1]);
});

describe("options that change while a member runs", () => {
  test("count from the next time that they are asked for", async () => {
    const { leader } = await startGroup({ snapshotEntries: 1_000, trailingEntries: 1_000 });
    for (let i = 0; i < 20; i++) await leader.node.propose(put(`k${i}`, "v"));
    leader.node.changeOptions({ snapshotEntries: 10, trailingEntries: 0 });
    expect(leader.node.options).toMatchObject({ snapshotEntries: 10, trailingEntries: 0, tickMs: 5 });
    await leader.node.propose(put("k20", "v"));
    await until("one is due and leaves nothing behind it", async () => (await leader.node.compact(0)) > 20);
  });

  test("so do time limits, of proposals, reads, stalls and sessions", async () => {
    const hung = Promise.withResolvers<never>();
    class Hanging extends KeyValueMachine {
      hangs = false;
      override apply(batch: Parameters<StateMachine["apply"]>[0]): never {
        return (this.hangs ? hung.promise : super.apply(batch)) as never;
      }
    }
    const fsm = new Hanging();
    const forever = { proposalTimeoutMs: 1e9, readTimeoutMs: 1e9, stallMs: 1e9, sessionTtlMs: 1e9 };
    const { node } = await startMember(new MemoryNetwork(), 1, { bootstrap: alone, ...forever }, { fsm });
    await until("it leads", () => node.leadership().ready);
    node.changeOptions({ sessionTtlMs: 20 });
    await node.openSession();
    await until("the session ended", () => node.status().sessions === 0);
    fsm.hangs = true;
    const [proposal, read] = [node.propose(put("a", "1")), node.read()];
    node.changeOptions({ proposalTimeoutMs: 20, readTimeoutMs: 20 });
    await expect(proposal).rejects.toMatchObject({ code: "RAFT_OUTCOME_UNKNOWN" });
    await read.catch((error: unknown) => expect(error).toMatchObject({ code: "RAFT_READ_TIMEOUT" }));
    await expect(node.read()).rejects.toMatchObject({ code: "RAFT_READ_TIMEOUT" });
    expect(node.leadership().isLeader).toBe(true);
    node.changeOptions({ stallMs: 20 });
    await until("it gives way", () => !node.leadership().isLeader);
  });

  test("how far a learner may lag is one of them", async () => {
    const { network, leader } = await startGroup({ promoteLagEntries: 1_000 }, alone);
    const learner = await startMember(network, 4, { join: alone });
    await leader.node.addLearner({ id: 4, address: "member-4" });
    await until("it has what there is", () => leader.node.status().progress.get(4)!.match > 0);
    network.reaches = (from, to) => from !== 4 && to !== 4;
    for (let i = 0; i < 5; i++) await leader.node.propose(put(`k${i}`, "v"));
    leader.node.changeOptions({ promoteLagEntries: 4 });
    await expect(leader.node.promote(4)).rejects.toMatchObject({ failure: { why: /lags 5 entries/u } });
    await learner.node.close();
  });

  test("are changed all or none, and the others are refused by name", async () => {
    const { leader } = await startGroup({}, alone);
    const before = leader.node.options;
    for (const [changes, option] of [
      [{ snapshotEntries: 5, stallMs: 0 }, "stallMs"],
      [{ snapshotEntries: 5, electionTicks: 20 }, "electionTicks"],
      [{ snapshotEntries: undefined }, "snapshotEntries"],
      [{ snapshotEntries: "5" }, "snapshotEntries"],
      [{ toString: 5 }, "toString"],
    ] as const) {
      expect(() => leader.node.changeOptions(changes as never)).toThrow(
        expect.objectContaining({ code: "RAFT_OPTIONS_INVALID", failure: expect.objectContaining({ option }) }),
      );
    }
    expect(leader.node.options).toBe(before);
    await leader.node.close();
    expect(() => leader.node.changeOptions({ stallMs: 5 })).toThrow(expect.objectContaining({ code: "RAFT_CLOSED" }));
  });
});

describe("observers", () => {
  test("see on the leader which members are heard and caught up, and nothing once it leads no more", async () => {
    const { network, nodes, leader } = await startGroup({ promoteLagEntries: 2, tags: { version: "1.2 β" } });
    const seen: (readonly PeerState[])[] = [];
    const stop = leader.node.onPeers((peers) => void seen.push(peers));
    const others = members.filter(({ id }) => id !== leader.node.id);
    const now = (id: number): PeerState | undefined => seen.at(-1)?.find((peer) => peer.id === id);
    const [cut, heard] = others.map(({ id }) => id) as [number, number];
    await until("both are heard", () => others.every(({ id }) => now(id)?.isHeard && now(id)?.isCaughtUp));
    expect(now(cut)).toEqual({
      id: cut,
      address: `member-${cut}`,
      isLearner: false,
      isHeard: true,
      isCaughtUp: true,
      tags: { version: "1.2 β" },
    });
    network.reaches = (from, to) => from !== cut && to !== cut;
    for (let i = 0; i < 5; i++) await leader.node.propose(put(`k${i}`, "v"));
    await until("it is not heard, and behind", () => now(cut)?.isHeard === false && now(cut)?.isCaughtUp === false);
    expect(now(heard)).toMatchObject({ isHeard: true, isCaughtUp: true });
    network.reaches = () => true;
    await until("it is back", () => now(cut)?.isHeard && now(cut)?.isCaughtUp);
    await leader.node.addLearner({ id: 9, address: "member-9" });
    await until("the learner is seen", () => now(9)?.isLearner);
    const follower = nodes.find((one) => one !== leader)!;
    await lead(follower);
    await until("nothing is left", () => seen.at(-1)?.length === 0);
    stop();
    const count = seen.length;
    await lead(leader);
    await leader.node.propose(put("a", "1"));
    expect(seen).toHaveLength(count);
  });

  test("see on the leader what each member says of itself, and says anew when it was started again", async () => {
    const { network, nodes, leader } = await startGroup({ tags: { version: "1" } });
    const follower = nodes.find((one) => one !== leader)!;
    const tags = new Map<number, PeerState["tags"]>();
    leader.node.onPeers((peers) => peers.forEach((peer) => tags.set(peer.id, peer.tags)));
    await until("both have said it", () => [...tags.values()].filter((each) => each?.["version"] === "1").length === 2);
    await follower.node.close();
    const { id } = follower.node;
    await startMember(network, id, { bootstrap: members, tags: { version: "2" } }, { disk: follower.disk });
    await until("the one that was upgraded says so", () => tags.get(id)?.["version"] === "2");
    expect(new Set([...tags.values()].map((each) => each?.["version"]))).toEqual(new Set(["1", "2"]));
  });

  test("of refusals are called with the reason, and one that throws harms nobody", async () => {
    const { network, nodes } = await startGroup();
    const refusals: Refusal[] = [];
    for (const { node } of nodes) {
      node.onRefusal(() => {
        throw new Error("a listener's own failure");
      });
      node.onRefusal((refusal) => void refusals.push(refusal));
      node.onPeers(() => {
        throw new Error("a listener's own failure");
      });
    }
    const bootstrap = [...members, { id: 9, address: "member-9" }];
    const stranger = await startMember(network, 9, { bootstrap }, { clusterId: "other" });
    await until("one is refused", () =>
      refusals.some(({ why, by, times }) => by === "here" && why.includes("cluster other") && times === 1),
    );
    await stranger.node.close();
    const leader = await leaderOf(nodes);
    await leader.node.propose(put("a", "1"));
  });
});
