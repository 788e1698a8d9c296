/** What can be committed can be applied: a change is tried before it is proposed, and one that can't be is nothing. */
import { until } from "@warren/std/testing";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { encodeConfChange, type ConfChangeSingle, type Entry } from "../../src/core/index.ts";
import {
  grpcTransport,
  MemoryNetwork,
  memoryDisk,
  type Disk,
  type Member,
  type RaftNode,
  type RaftNodeOptions,
  type Transport,
} from "../../src/index.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import { members, openStorage, startNode } from "./group.ts";
import { KeyValueMachine, put } from "./key-value-machine.ts";

async function start(
  id: number,
  transport: Transport,
  options: RaftNodeOptions,
  disk: Disk = memoryDisk(),
): Promise<RaftNode> {
  const dependencies = { storage: await openStorage(disk, id), transport, fsm: new KeyValueMachine() };
  return startNode(dependencies, { tickMs: 5, ...options });
}

function leading(nodes: readonly RaftNode[]): Promise<RaftNode> {
  return until("one leads", () => nodes.find((node) => node.leadership().ready));
}

const network = (): Transport => new MemoryNetwork().transport();

describe("a lone voter", () => {
  test.each<readonly [string, (node: RaftNode) => Promise<void>, string]>([
    ["its own demotion", (node) => node.demote(1), "RAFT_MEMBERSHIP_REFUSED"],
    ["its own removal", (node) => node.remove(1), "RAFT_MEMBERSHIP_REFUSED"],
    ["the removal of all voters", (node) => node.changeMembers([remove(1)]), "RAFT_MEMBERSHIP_REFUSED"],
    [
      "an exchange of all voters for nobody",
      (node) => node.changeMembers([remove(1), remove(2)]),
      "RAFT_MEMBERSHIP_REFUSED",
    ],
    ["nothing", (node) => node.changeMembers([]), "RAFT_MEMBERSHIP_REFUSED"],
    [
      "a voter that nobody ever saw",
      (node) => node.changeMembers([add(2)], [{ id: 2, address: "m" }]),
      "RAFT_MEMBERSHIP_REFUSED",
    ],
    ["a learner without an address", (node) => node.changeMembers([learn(2)]), "RAFT_MEMBERSHIP_REFUSED"],
    [
      "an address of a stranger",
      (node) =>
        node.changeMembers(
          [learn(2)],
          [
            { id: 2, address: "m" },
            { id: 3, address: "n" },
          ],
        ),
      "RAFT_MEMBERSHIP_REFUSED",
    ],
    ["itself as a learner", (node) => node.addLearner({ id: 1, address: "m" }), "RAFT_MEMBERSHIP_REFUSED"],
    ["id 0", (node) => node.addLearner({ id: 0, address: "m" }), "RAFT_MEMBERSHIP_REFUSED"],
    ["half an id", (node) => node.addLearner({ id: 1.5, address: "m" }), "RAFT_MEMBERSHIP_REFUSED"],
    [
      "the id of a storage thread",
      (node) => node.addLearner({ id: Number.MAX_SAFE_INTEGER, address: "m" }),
      "RAFT_MEMBERSHIP_REFUSED",
    ],
    [
      "a kind of change that there is not",
      (node) => node.changeMembers([{ type: "Other" as never, nodeId: 1 }]),
      "RAFT_CONF_CHANGE_INVALID",
    ],
    ["leadership for a stranger", (node) => node.transferLeadership(7), "RAFT_MEMBERSHIP_REFUSED"],
    ["leadership for nobody", (node) => node.transferLeadership(), "RAFT_TRANSFER_FAILED"],
  ])("refuses %s, and goes on", async (_, ask, code) => {
    const disk = memoryDisk();
    const node = await leading([await start(1, network(), { bootstrap: members.slice(0, 1) }, disk)]);
    await expect(ask(node)).rejects.toMatchObject({ code });
    await node.propose(put("a", "1"));
    await node.close();
    const again = await leading([await start(1, network(), { bootstrap: members.slice(0, 1) }, disk)]);
    await again.propose(put("a", "2"));
  });

  test("that is asked to hand leadership to itself has done so", async () => {
    const node = await leading([await start(1, network(), { bootstrap: members.slice(0, 1) })]);
    await node.transferLeadership(1);
    expect(node.leadership().isLeader).toBe(true);
  });
});

describe("three members", () => {
  async function three(
    options: RaftNodeOptions = {},
  ): Promise<{ net: MemoryNetwork; leader: RaftNode; others: RaftNode[] }> {
    const net = new MemoryNetwork();
    const nodes = await Promise.all(
      members.map(({ id }) => start(id, net.transport(), { bootstrap: members, ...options })),
    );
    const leader = await leading(nodes);
    return { net, leader, others: nodes.filter((node) => node !== leader) };
  }

  test("keep a voter's vote that is asked to be a learner, and say how it loses it", async () => {
    const { leader, others } = await three();
    const { id } = others[0]!;
    await expect(leader.addLearner({ id, address: "elsewhere" })).rejects.toThrow(`${id} is a voter; demote it`);
    expect(leader.status().config.incoming.has(id)).toBe(true);
  });

  test("refuse a change that leaves too few voters that can be heard", async () => {
    const { net, leader, others } = await three({ electionTicks: 20 });
    const [deaf, other] = others as [RaftNode, RaftNode];
    net.reaches = (from, to) => from !== deaf.id && to !== deaf.id;
    await until("the silence is noticed", () => leader.status().silent.includes(deaf.id));
    await expect(leader.demote(other.id)).rejects.toMatchObject({
      code: "RAFT_MEMBERSHIP_REFUSED",
      failure: { why: expect.stringContaining(`${deaf.id} can't be heard now`) as string },
    });
    await leader.demote(deaf.id);
    expect(leader.status().config.incoming).toEqual(new Set([leader.id, other.id]));
  });

  test("promote no learner that lags far behind", async () => {
    const { leader } = await three({ promoteLagEntries: 5 });
    await leader.addLearner({ id: 4, address: "nobody is there" });
    for (let i = 0; i < 10; i++) await leader.propose(put("a", String(i)));
    await expect(leader.promote(4)).rejects.toThrow(/4 lags \d+ entries behind/u);
    expect(leader.status().config.learners.has(4)).toBe(true);
  });

  test("find a member under another address once it is given", async () => {
    const { leader, others } = await three();
    const { id } = others[0]!;
    await leader.updateMember({ id, address: "moved" });
    for (const node of others)
      await until("everyone knows", () => node.status().members.some(({ address }) => address === "moved"));
    expect(leader.status().config.incoming.size).toBe(3);
  });
});

describe("addresses that gRPC can't dial", () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "raft-membership-"));
    await makeAuthority(directory);
    await makeCertificate(directory, "member-1");
  });
  afterAll(() => rm(directory, { recursive: true }));
  const transport = async (): Promise<Transport> =>
    grpcTransport({ tls: await readCertificate(directory, "member-1") });

  const addresses = [
    "10.0.0.4:70000",
    "10.0.0.4:0",
    "10.0.0.4",
    "",
    ":1",
    "a b:1",
    "http://x/:1",
    "[::1:5",
    "x:1\n",
    "user@host:1",
    `${"x".repeat(400)}:1`,
  ];
  test.each(addresses)("%j is refused before it is proposed, and as an option", async (address) => {
    const bootstrap = members.slice(0, 1);
    const node = await leading([await start(1, await transport(), { bootstrap })]);
    await expect(node.addLearner({ id: 2, address })).rejects.toMatchObject({ code: "RAFT_MEMBERSHIP_REFUSED" });
    await node.propose(put("a", "1"));
    const options = { bootstrap: [...bootstrap, { id: 2, address }] };
    await expect(start(1, await transport(), options)).rejects.toMatchObject({ code: "RAFT_OPTIONS_INVALID" });
  });

  test.each([...addresses, "no such host:1"])(
    "%j in the log is a member that can't be reached, and no more",
    async (address) => {
      const disk = memoryDisk();
      const members2 = [{ id: 2, address }];
      await commit(disk, [change([learn(2)], { ticket: { origin: 1, boot: 2, sequence: 3 }, members: members2 })]);
      const node = await leading([await start(1, await transport(), {}, disk)]);
      expect(node.status().members).toContainEqual({ id: 2, address });
      await node.propose(put("a", "1"));
      await node.remove(2);
    },
  );
});

/** Puts entries into the log of a lone voter as a program without these checks might have, committed. */
async function commit(disk: Disk, entries: readonly Pick<Entry, "type" | "data">[]): Promise<void> {
  const founder = await start(1, network(), { bootstrap: members.slice(0, 1) }, disk);
  await leading([founder]);
  await founder.close();
  const storage = await openStorage(disk, 1);
  const { term } = storage.initialState().hardState;
  const from = storage.lastIndex() + 1;
  const added = entries.map((entry, at) => ({ ...entry, term, index: from + at }));
  await storage.write({ hardState: { term, vote: 1, commit: from + entries.length - 1 }, entries: added });
  await storage.close();
}

const add = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddNode", nodeId });
const learn = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeAddLearnerNode", nodeId });
const remove = (nodeId: number): ConfChangeSingle => ({ type: "ConfChangeRemoveNode", nodeId });

function change(changes: readonly ConfChangeSingle[], context?: unknown): Pick<Entry, "type" | "data"> {
  const base = { version: 2, transition: "ConfChangeTransitionAuto", changes } as const;
  const bytes = context instanceof Uint8Array ? context : Buffer.from(JSON.stringify(context) ?? "");
  return encodeConfChange({ ...base, context: bytes });
}

describe("entries in the log that can't be applied change nothing, and the member starts", () => {
  test.each<readonly [string, Pick<Entry, "type" | "data">]>([
    ["a demotion of the only voter", change([learn(1)])],
    ["a removal of all voters", change([remove(1)])],
    ["leaving what is not joint", change([])],
    ["two voters at once without a joint configuration", encodeConfChange({ version: 1, ...remove(1) })],
    ["bytes that are no change", { type: "EntryConfChangeV2", data: Buffer.from([0xff, 0xff]) }],
    ["bytes that are no change of the old form", { type: "EntryConfChange", data: Buffer.from("hello") }],
    ["a session's command without its numbers", { type: "EntryNormal", data: Buffer.from([2, 1, 2, 3]) }],
    ["a command without who waits for it", { type: "EntryNormal", data: Buffer.from([0]) }],
  ])("%s", async (_, entry) => {
    const disk = memoryDisk();
    await commit(disk, [entry]);
    const node = await leading([await start(1, network(), {}, disk)]);
    expect([...node.status().config.incoming]).toEqual([1]);
    await node.propose(put("a", "1"));
  });

  test("nor do the addresses that come with one", async () => {
    const disk = memoryDisk();
    await commit(disk, [change([learn(1)], { ticket: {}, members: [{ id: 1, address: "elsewhere" }] })]);
    const node = await leading([await start(1, network(), {}, disk)]);
    expect(node.status().members.map(({ address }) => address)).not.toContain("elsewhere");
  });

  test("a change whose addresses are no addresses is applied without them", async () => {
    for (const context of [
      null,
      5,
      "x",
      { ticket: 5 },
      { ticket: {}, members: 7 },
      { ticket: {}, members: [null, 3, {}] },
      Buffer.from([1]),
    ]) {
      const disk = memoryDisk();
      await commit(disk, [change([learn(2)], context)]);
      const node = await leading([await start(1, network(), {}, disk)]);
      expect([...node.status().config.learners]).toEqual([2]);
      await node.close();
    }
  });
});

test("whatever members are asked for, the answer is a code, and the leader takes writes afterwards", async () => {
  const net = new MemoryNetwork();
  const nodes = await Promise.all(
    members.map(({ id }) => start(id, net.transport(), { bootstrap: members, proposalTimeoutMs: 500 })),
  );
  await leading(nodes);
  const id = fc.oneof(
    fc.integer({ min: 0, max: 5 }),
    fc.constantFrom(Number.NaN, -1, 0.5, 2 ** 53, Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER - 1),
  );
  const address = fc.oneof(fc.constantFrom("member-4", ""), fc.string(), fc.constant(undefined as unknown as string));
  const single = fc.record({
    type: fc.constantFrom<ConfChangeSingle["type"]>(
      "ConfChangeAddNode",
      "ConfChangeAddLearnerNode",
      "ConfChangeUpdateNode",
      "ConfChangeRemoveNode",
    ),
    nodeId: id,
  });
  const call = fc.oneof(
    fc.record({ do: fc.constant("addLearner" as const), member: fc.record({ id, address }) }),
    fc.record({ do: fc.constant("updateMember" as const), member: fc.record({ id, address }) }),
    fc.record({
      do: fc.constantFrom("promote" as const, "demote" as const, "remove" as const, "transferLeadership" as const),
      id,
    }),
    fc.record({
      do: fc.constant("changeMembers" as const),
      changes: fc.array(single, { maxLength: 4 }),
      members: fc.array(fc.record({ id, address }), { maxLength: 2 }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(call, async (asked) => {
      const leader = await leading(nodes);
      // What would take votes away, rightly, is not what this is about.
      if (asked.do === "demote" || asked.do === "remove") {
        if (members.some((one) => one.id === asked.id) && asked.id !== leader.id) return;
      }
      if (
        asked.do === "changeMembers" &&
        asked.changes.some(({ type }) => type !== "ConfChangeUpdateNode" && type !== "ConfChangeAddNode")
      ) {
        const gone = asked.changes.filter(
          ({ type, nodeId }) => type !== "ConfChangeAddNode" && members.some((one) => one.id === nodeId),
        );
        if (gone.length > 0 && gone.length < 3) return;
      }
      const work =
        "member" in asked
          ? leader[asked.do](asked.member)
          : "id" in asked
            ? leader[asked.do](asked.id)
            : leader.changeMembers(asked.changes, asked.members);
      const code = await work.then(
        () => "done",
        (error: { code?: string }) => error.code ?? "no code",
      );
      expect(code).toMatch(
        /^(done|RAFT_(MEMBERSHIP_REFUSED|CONF_CHANGE_INVALID|NOT_LEADER|TRANSFER_FAILED|OUTCOME_UNKNOWN|PROPOSAL_DROPPED))$/u,
      );
      const next = await leading(nodes);
      await next.propose(put("a", "1"));
      for (const node of nodes) expect(node.leadership().term).toBeGreaterThan(0);
    }),
    { numRuns: 150 },
  );
}, 60_000);

test("founders are checked before anything is written", async () => {
  const refused = (bootstrap: readonly Member[]): Promise<unknown> =>
    expect(start(1, network(), { bootstrap })).rejects.toMatchObject({
      code: "RAFT_OPTIONS_INVALID",
      failure: { option: "bootstrap" },
    });
  await refused([]);
  await refused(members.slice(1));
  await refused([...members, members[0]!]);
  await refused([...members, { id: 1.5, address: "x" }]);
  await refused([...members, { id: 4, address: undefined as unknown as string }]);
});
