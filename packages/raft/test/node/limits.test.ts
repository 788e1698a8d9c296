/** What one end takes, the other can carry; and whatever is kept has a bound. */
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { until } from "@warren/std/testing";
import { expect, test } from "vitest";

import { message, type Message } from "../../src/core/index.ts";
import {
  grpcTransport,
  type GrpcTransport,
  MemoryNetwork,
  memoryDisk,
  type Member,
  type RaftNode,
  type RaftNodeOptions,
  type Transport,
} from "../../src/index.ts";
import { encodeProposal } from "../../src/node/envelope.ts";
import { makeAuthority, makeCertificate, readCertificate } from "../../src/testing/index.ts";
import { closeMembers, openStorage, playedPeers, startNode } from "./group.ts";
import { KeyValueMachine } from "./key-value-machine.ts";

const members: Member[] = [1, 2, 3].map((id) => ({ id, address: `member-${id}:1` }));

async function start(
  id: number,
  transport: Transport,
  options: RaftNodeOptions,
): Promise<{ node: RaftNode; fsm: KeyValueMachine }> {
  const fsm = new KeyValueMachine();
  const storage = await openStorage(memoryDisk(), id);
  return { node: await startNode({ storage, transport, fsm }, { bootstrap: members, ...options }), fsm };
}

const kilobytes = (count: number): Uint8Array => Buffer.from(`k=${"x".repeat(count * 1024)}`);

test("a proposal that is too large is refused where it enters, in a session too, and the next one is taken", async () => {
  const network = new MemoryNetwork();
  const { node } = await start(1, network.transport(), {
    bootstrap: members.slice(0, 1),
    tickMs: 5,
    maxProposalBytes: 64 * 1024,
  });
  await until("it leads", () => node.leadership().ready);
  const failure = { code: "RAFT_PROPOSAL_TOO_LARGE", maxBytes: 65_536 };
  await expect(node.propose(kilobytes(65))).rejects.toMatchObject({ failure });
  const session = await node.openSession();
  await expect(node.proposeInSession(session, 1, 0, kilobytes(65))).rejects.toMatchObject({ failure });
  await node.proposeInSession(session, 1, 0, kilobytes(60));
});

test("a leader takes no proposal from a peer that it would not take from its own user", async () => {
  const { transport, receive } = playedPeers();
  const { node } = await start(1, transport, { tickMs: 0, maxProposalBytes: 1_024 });
  const answers = (type: Message["type"], term: number, index: number): Message[] =>
    [2, 3].map((from) => message(type, { from, to: 1, term, index }));
  receive(
    message("MsgHeartbeat", { from: 2, to: 1, term: 2 }),
    message("MsgTimeoutNow", { from: 2, to: 1, term: 2 }),
    ...answers("MsgVoteResp", 3, 0),
    ...answers("MsgAppResp", 3, 2),
  );
  await until("it leads", () => node.leadership().ready);
  const ticket = { origin: 2, boot: 1, sequence: 1 };
  const hand = (data: Uint8Array): void =>
    receive(message("MsgProp", { from: 2, to: 1, entries: [{ term: 0, index: 0, type: "EntryNormal", data }] }));
  hand(encodeProposal(ticket, { kind: "command", data: Buffer.alloc(1_100) }));
  hand(Buffer.from([0]));
  hand(
    encodeProposal(ticket, {
      kind: "session",
      session: Number.NaN,
      number: 1,
      acknowledged: 0,
      data: Buffer.from("a=1"),
    }),
  );
  hand(encodeProposal(ticket, { kind: "command", data: Buffer.alloc(1_000) }));
  await until("the last is in the log", () => node.status().progress.get(1)?.match === 3);
});

test("sizes that the transport can't carry are no options", async () => {
  const carries = (maxMessageBytes: number): Transport =>
    Object.assign(new MemoryNetwork().transport(), { maxMessageBytes });
  for (const option of ["maxProposalBytes", "maxAppendBytes"]) {
    const options = { maxProposalBytes: 1_024, maxAppendBytes: 1_024, [option]: 2 * 1024 * 1024 };
    await expect(start(1, carries(2 * 1024 * 1024), options)).rejects.toMatchObject({
      code: "RAFT_OPTIONS_INVALID",
      failure: { option },
    });
  }
});

test(
  "proposals of the largest size and many at once reach followers over gRPC, handed on ones too",
  { timeout: 60_000 },
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "raft-limits-"));
    try {
      await makeAuthority(directory);
      await Promise.all(members.map(({ id }) => makeCertificate(directory, `member-${id}`)));
      const most = 40 * 1024 * 1024;
      const limits = { maxProposalBytes: most, maxPendingBytes: 2 * most, proposalTimeoutMs: 50_000 };
      const transports = new Map<number, GrpcTransport>();
      const dial = ({ id }: Member): Socket => {
        const port = transports.get(id)?.address?.split(":")[1];
        if (port === undefined) throw new Error("it does not listen yet");
        return connect(Number(port), "127.0.0.1");
      };
      const started = await Promise.all(
        members.map(async ({ id }) => {
          const tls = await readCertificate(directory, `member-${id}`);
          const transport = grpcTransport({ tls, listen: "127.0.0.1:0", dial });
          transports.set(id, transport);
          return start(id, transport, { ...limits, forwardProposals: true, tickMs: 300, stallMs: 20_000 });
        }),
      );
      const leader = await until("one leads", () => started.find(({ node }) => node.leadership().ready), 20_000);
      const follower = started.find((one) => one !== leader)!;
      await until("the follower knows", () => follower.node.leadership().leader !== undefined);
      await leader.node.propose(Buffer.concat([Buffer.from("large="), Buffer.alloc(most - 6, "x")]));
      await Promise.all(
        Array.from({ length: 70 }, (_, at) => follower.node.propose(Buffer.from(`k${at}=${"x".repeat(1024 * 1024)}`))),
      );
      for (const { node, fsm } of started) {
        await node.read();
        expect(fsm.state.size).toBe(71);
      }
    } finally {
      await closeMembers();
      await rm(directory, { recursive: true });
    }
  },
);

test("reads that nobody answers are bounded", async () => {
  const { node } = await start(1, new MemoryNetwork().transport(), { tickMs: 0 });
  const reads = Array.from({ length: 65_537 }, () => node.read());
  const settled = Promise.allSettled(reads);
  await expect(reads.at(-1)).rejects.toMatchObject({ code: "RAFT_OVERLOADED" });
  await node.close();
  expect((await settled).every(({ status }) => status === "rejected")).toBe(true);
});
