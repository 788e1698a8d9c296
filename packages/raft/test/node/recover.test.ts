import { systemClock, systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { expect, test } from "vitest";

import {
  MemoryNetwork,
  memoryDisk,
  recoverGroup,
  startRaftNode,
  type Disk,
  type RaftNode,
  type RaftNodeOptions,
  type RaftStorage,
} from "../../src/index.ts";
import { members, openStorage, startGroup } from "./group.ts";
import { KeyValueMachine, put } from "./key-value-machine.ts";

const open = (disk: Disk, nodeId: number, clusterId = "old"): Promise<RaftStorage> =>
  openStorage(disk, nodeId, clusterId);

async function start(
  network: MemoryNetwork,
  storage: RaftStorage,
  options: RaftNodeOptions,
): Promise<{ node: RaftNode; fsm: KeyValueMachine }> {
  const fsm = new KeyValueMachine();
  const dependencies = { clock: systemClock, random: systemRandom, storage, transport: network.transport(), fsm };
  return { node: await startRaftNode(dependencies, { tickMs: 5, ...options }), fsm };
}

/** The disks of three members that stopped, with 20 keys; the log of the first has snapshots. */
async function stopped(): Promise<{ disks: Disk[]; session: number }> {
  const network = new MemoryNetwork();
  const disks = members.map(() => memoryDisk());
  const options = { bootstrap: members, snapshotEntries: 8, trailingEntries: 2 };
  const nodes = await Promise.all(
    members.map(async ({ id }, at) => (await start(network, await open(disks[at]!, id), options)).node),
  );
  const leader = await until("one leads", () => nodes.find((node) => node.leadership().ready));
  const session = await leader.openSession();
  await leader.proposeInSession(session, 1, 0, put("once", "1"));
  for (let i = 0; i < 20; i++) await leader.propose(put(`k${i}`, "v"));
  for (const node of nodes) await node.read();
  await Promise.all(nodes.map((node) => node.close()));
  return { disks, session };
}

test("one member's log becomes a new group, with its state and sessions, which the old voters can't join", async () => {
  const { disks, session } = await stopped();
  const after = [members[0]!, { id: 4, address: "member-4" }];
  const recovery = { members: after, clusterId: "new", incarnation: "again" };
  const plan = await recoverGroup(
    { storage: await open(disks[0]!, 1), fsm: new KeyValueMachine() },
    { ...recovery, dryRun: true },
  );
  expect(plan).toMatchObject({ before: { voters: [1, 2, 3] }, after: { voters: [1], learners: [4] } });
  // Nothing happened yet.
  const asBefore = await open(disks[0]!, 1);
  expect(asBefore.initialState().confState.voters).toEqual([1, 2, 3]);
  await asBefore.close();
  expect(await recoverGroup({ storage: await open(disks[0]!, 1), fsm: new KeyValueMachine() }, recovery)).toEqual(plan);

  await expect(open(disks[0]!, 1)).rejects.toMatchObject({ code: "RAFT_IDENTITY_MISMATCH" });
  const network = new MemoryNetwork();
  const storage = await open(disks[0]!, 1, "new");
  expect(storage.identity.incarnation).toBe("again");
  const { node, fsm } = await start(network, storage, {});
  await until("it leads", () => node.leadership().ready);
  expect([...fsm.state.keys()]).toHaveLength(21);
  await node.proposeInSession(session, 1, 0, put("once", "1"));
  expect(fsm.applications.get("once")).toBe(1);
  const joined = await start(network, await open(memoryDisk(), 4, "new"), { join: [members[0]!] });
  await until("it has all", () => joined.fsm.state.size === 21);
  await until("it votes", () =>
    node.promote(4).then(
      () => true,
      () => false,
    ),
  );

  const { node: old } = await start(network, await open(disks[1]!, 2), { bootstrap: members });
  await until("the old voter is refused", () => old.status().refusals.some(({ why }) => why.includes("cluster")));
  await node.propose(put("later", "1"));
  expect(node.status().config.incoming).toEqual(new Set([1, 4]));
  await Promise.all([node.close(), joined.node.close(), old.close()]);
});

test("the configuration that is reported is the log's, not its newest snapshot's", async () => {
  const { nodes, leader } = await startGroup();
  const other = nodes.find((one) => one !== leader)!.node.id;
  await leader.node.demote(other);
  await Promise.all(nodes.map(({ node }) => node.close()));
  const storage = await openStorage(leader.disk, leader.node.id);
  expect(storage.initialState().confState.voters).toEqual([1, 2, 3]);
  const recovery = { members: [members[leader.node.id - 1]!], clusterId: "new", incarnation: "again", dryRun: true };
  const { before } = await recoverGroup({ storage, fsm: new KeyValueMachine() }, recovery);
  expect(before).toMatchObject({ voters: [1, 2, 3].filter((id) => id !== other), learners: [other] });
});

test("a recovery that makes no sense changes nothing and says why", async () => {
  const { disks } = await stopped();
  const recovery = { members, clusterId: "new", incarnation: "again" };
  for (const [wrong, argument] of [
    [{ members: members.slice(1) }, "members"],
    [{ members: [...members, members[0]!] }, "members"],
    [{ clusterId: "old" }, "clusterId"],
  ] as const) {
    const storage = await open(disks[0]!, 1);
    await expect(
      recoverGroup({ storage, fsm: new KeyValueMachine() }, { ...recovery, ...wrong }),
    ).rejects.toMatchObject({
      code: "RAFT_ARGUMENT_INVALID",
      failure: { argument },
    });
  }
  class Broken extends KeyValueMachine {
    override apply(): never {
      throw new Error("it does not fit");
    }
  }
  const storage = await open(disks[0]!, 1);
  await storage.write({
    entries: [
      { term: 9, index: storage.lastIndex() + 1, type: "EntryNormal", data: Buffer.from([0, ...new Uint8Array(17)]) },
    ],
  });
  await expect(recoverGroup({ storage, fsm: new Broken() }, recovery)).rejects.toMatchObject({
    code: "RAFT_FSM_FAILED",
  });
  const again = await open(disks[0]!, 1);
  expect(again.identity.clusterId).toBe("old");
  await again.close();
});
