import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  RaftError,
  startRaftNode,
  type Disk,
  type RaftNode,
} from "@warren/raft";
import { Task } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { systemClock, systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { raftProposer, Store, StoreError, StoreStateMachine, type RaftLike } from "../src/index.ts";
import { MemoryLog, MemoryProposer, proposerContract, type ProposerUnderTest } from "../src/testing/index.ts";

interface Member {
  readonly node: RaftNode;
  readonly machine: StoreStateMachine;
}

async function member(
  disk: Disk = memoryDisk(),
  { network = new MemoryNetwork(), id = 1, voters = [1], snapshotEntries = 10_000 } = {},
): Promise<Member> {
  const storage = await openLogStorage(disk, { clusterId: "test", nodeId: id, newIncarnation: () => `m${id}` });
  const machine = new StoreStateMachine();
  const bootstrap = voters.map((voter) => ({ id: voter, address: `member-${voter}` }));
  const node = await startRaftNode(
    { clock: systemClock, random: systemRandom, storage, transport: network.transport(), fsm: machine },
    { bootstrap, tickMs: 5, electionTicks: 10, snapshotEntries, trailingEntries: 0 },
  );
  return { node, machine };
}

async function raftUnderTest(): Promise<ProposerUnderTest> {
  const network = new MemoryNetwork();
  const members = await Promise.all([1, 2].map((id) => member(memoryDisk(), { network, id, voters: [1, 2] })));
  const leading = await until("one leads", () => members.find(({ node }) => node.leadership().isLeader));
  return {
    proposer: raftProposer(leading.node),
    machine: leading.machine,
    term: leading.node.leadership().term,
    depose: () => leading.node.transferLeadership(),
    async [Symbol.asyncDispose]() {
      for (const { node } of members) await node.close();
    },
  };
}

async function memoryUnderTest(): Promise<ProposerUnderTest> {
  const log = new MemoryLog();
  const machine = new StoreStateMachine();
  const proposer = new MemoryProposer(machine, log);
  return {
    proposer,
    machine,
    term: log.elect(proposer),
    async depose() {
      log.elect(undefined);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

describe.each([
  ["in memory", memoryUnderTest],
  ["on raft", raftUnderTest],
] as const)("a proposer %s", (_, make) => {
  test.each(proposerContract.map((each) => [each.title, each] as const))("%s", async (_title, { run }) => run(make));
});

test("on raft the state is restored after a restart, from a snapshot and the log after it", async () => {
  const disk = memoryDisk();
  const first = await member(disk, { snapshotEntries: 20 });
  const store = new Store({
    clock: systemClock,
    random: systemRandom,
    machine: first.machine,
    proposer: raftProposer(first.node),
  });
  await until("it leads", () => first.node.leadership().isLeader);
  await store.beginTerm(first.node.leadership().term);
  for (let slot = 1; slot <= 50; slot++)
    await store.update((tx) => tx.create("tasks", Task.create({ serviceId: "web", slot: numberedSlot(slot) })));
  const { version } = store.view();
  const tasks = store.view().list("tasks");
  await first.node.close();
  const second = await member(disk, { snapshotEntries: 20 });
  await second.node.read();
  expect(second.machine.view().version).toBe(version);
  expect(second.machine.view().list("tasks")).toEqual(tasks);
  await second.node.close();
});

describe("failures of raft become failures of the store", () => {
  const failing = (error: unknown, isLeader = true): RaftLike => {
    let asked = false;
    return {
      async propose() {
        throw error;
      },
      async read() {
        throw error;
      },
      leadership() {
        // Only the first look finds it leading, if it loses its lead meanwhile.
        const leads = isLeader || !asked;
        asked = true;
        return { isLeader: leads, leader: leads ? 1 : 2, term: 1 };
      },
    };
  };
  test.each([
    [{ code: "RAFT_OUTCOME_UNKNOWN" }, true, { code: "STORE_OUTCOME_UNKNOWN" }],
    [{ code: "RAFT_FSM_FAILED" }, true, { code: "STORE_OUTCOME_UNKNOWN" }],
    [{ code: "RAFT_NOT_LEADER", leader: 2 }, false, { code: "STORE_NOT_LEADER", leader: "2" }],
    [{ code: "RAFT_PROPOSAL_DROPPED", reason: "no-leader" }, false, { code: "STORE_NOT_LEADER", leader: "2" }],
    [{ code: "RAFT_PROPOSAL_DROPPED", reason: "draining" }, true, { code: "STORE_UNAVAILABLE", reason: "draining" }],
    [{ code: "RAFT_CLOSED" }, true, { code: "STORE_UNAVAILABLE", reason: "closed" }],
  ] as const)("%o", async (failure, isLeader, expected) => {
    const error = new RaftError(failure, "a failure");
    const refused = await raftProposer(failing(error, isLeader))
      .propose(new Uint8Array(), 1)
      .catch((e: unknown) => e);
    expect(refused).toBeInstanceOf(StoreError);
    expect(refused).toMatchObject({ failure: expected, cause: error });
  });

  test("and other errors are rethrown unchanged", async () => {
    const bug = new TypeError("a bug");
    await expect(raftProposer(failing(bug)).propose(new Uint8Array(), 1)).rejects.toBe(bug);
  });
});
