/** Terms as a member's user sees them: none is missed, and what was asked of one that is over is answered. */
import { until } from "@warren/std/testing";
import { expect, test } from "vitest";

import { message, type Message } from "../../src/core/index.ts";
import {
  MemoryNetwork,
  memoryDisk,
  type Command,
  type LeaderTerm,
  type Leadership,
  type RaftNode,
  type RaftNodeOptions,
  type StateMachine,
  type Transport,
} from "../../src/index.ts";
import { members, openStorage, playedPeers, startNode } from "./group.ts";
import { KeyValueMachine, put } from "./key-value-machine.ts";

async function start(id: number, transport: Transport, fsm: StateMachine, options: RaftNodeOptions): Promise<RaftNode> {
  const storage = await openStorage(memoryDisk(), id);
  return startNode({ storage, transport, fsm }, { bootstrap: members, ...options });
}

/** Member 1 of three, of which the test plays the others. */
async function alone(fsm: StateMachine): Promise<{ node: RaftNode; receive: (...messages: Message[]) => void }> {
  const { transport, receive } = playedPeers();
  return { node: await start(1, transport, fsm, { tickMs: 0 }), receive };
}

/** What makes a follower of `term` lead the term after it, if the others vote for it. */
function elect(term: number): Message[] {
  return [
    message("MsgHeartbeat", { from: 2, to: 1, term }),
    message("MsgTimeoutNow", { from: 2, to: 1, term }),
    ...[2, 3].map((from) => message("MsgVoteResp", { from, to: 1, term: term + 1 })),
  ];
}

/** The others have everything up to `index`. */
function acknowledge(term: number, index: number): Message[] {
  return [2, 3].map((from) => message("MsgAppResp", { from, to: 1, term, index }));
}

function watch(node: RaftNode): { changes: Leadership[]; terms: LeaderTerm[] } {
  const changes: Leadership[] = [];
  const terms: LeaderTerm[] = [];
  node.onLeadership((leadership) => void changes.push(leadership));
  node.onLeaderTerm((term) => void terms.push(term));
  return { changes, terms };
}

test("a member that lost its term and won another within one turn is seen in two terms by every listener", async () => {
  const { node, receive } = await alone(new KeyValueMachine());
  const first = watch(node);
  receive(...elect(4));
  await until("it leads", () => node.leadership().isLeader);
  receive(...acknowledge(5, 2));
  await until("its term is ready", () => first.terms.length === 1);
  const second = watch(node);
  expect(second.terms.map(({ term }) => term)).toEqual([5]);
  receive(...elect(8));
  await until("it leads again", () => node.leadership().term === 9);
  for (const { changes, terms } of [first, second]) {
    const led = changes.filter(({ term }) => term > 5).map(({ term, isLeader }) => [term, isLeader]);
    expect(led).toEqual([
      [8, false],
      [9, false],
      [9, true],
    ]);
    expect(terms.map(({ term, signal }) => [term, signal.aborted])).toEqual([[5, true]]);
  }
  receive(...acknowledge(9, 3));
  await until("the second is ready", () => first.terms.length === 2);
  expect(node.leadership()).toMatchObject({ term: 9, leader: 1, address: "member-1", isLeader: true, ready: true });
  await node.close();
  expect(first.terms.map(({ term, signal }) => [term, signal.aborted])).toEqual([
    [5, true],
    [9, true],
  ]);
});

test("a term is ready once an entry of it is applied, not when it is won nor while one before it is applied", async () => {
  const applying = Promise.withResolvers<void>();
  const fsm = new KeyValueMachine();
  let held = false;
  const slow: StateMachine = {
    apply: async (batch) => {
      held = true;
      await applying.promise;
      return fsm.apply(batch);
    },
    snapshot: () => fsm.snapshot(),
    restore: (chunks) => fsm.restore(chunks),
  };
  const { node, receive } = await alone(slow);
  const { terms } = watch(node);
  receive(...elect(4));
  await until("it leads", () => node.leadership().isLeader);
  node.propose(put("a", "1")).catch(() => undefined);
  // Wins again: the command of term 5 is before the first entry of term 9, and both commit at once.
  await until("it is in the log", () => node.status().progress.get(1)?.match === 3);
  receive(...elect(8));
  await until("it leads again", () => node.leadership().term === 9);
  receive(...acknowledge(9, 4));
  await until("the old command is being applied", () => held);
  expect(node.leadership()).toMatchObject({ isLeader: true, ready: false });
  expect(terms).toEqual([]);
  applying.resolve();
  await until("the term is ready", () => terms.length > 0);
  expect(terms.map(({ term }) => term)).toEqual([9]);
  expect(fsm.state.get("a")).toBe("1");
});

test("a proposal for a term is taken in that term only, and applied with it", async () => {
  const commands: Command[] = [];
  const fsm = new KeyValueMachine();
  const keeping: StateMachine = {
    apply: (batch) => {
      commands.push(...batch);
      return fsm.apply(batch);
    },
    snapshot: () => fsm.snapshot(),
    restore: (chunks) => fsm.restore(chunks),
  };
  const { node, receive } = await alone(keeping);
  await expect(node.propose(put("a", "0"), { term: 5 })).rejects.toMatchObject({ code: "RAFT_NOT_LEADER" });
  receive(...elect(4));
  await until("it leads", () => node.leadership().isLeader);
  await expect(node.propose(put("a", "1"), { term: 4 })).rejects.toMatchObject({ code: "RAFT_NOT_LEADER" });
  const taken = node.propose(put("a", "2"), { term: 5 });
  receive(...acknowledge(5, 3));
  await taken;
  // Computed while it led term 5; in the same turn, before the proposal is taken, it comes to lead term 9.
  const late = node.propose(put("a", "3"), { term: 5 });
  receive(...elect(8));
  await expect(late).rejects.toMatchObject({ code: "RAFT_NOT_LEADER", failure: { leader: 1, address: "member-1" } });
  const next = node.propose(put("a", "4"), { term: 9 });
  receive(...acknowledge(9, 5));
  await next;
  expect(commands.map(({ term, data }) => [term, Buffer.from(data).toString()])).toEqual([
    [5, "a=2"],
    [9, "a=4"],
  ]);
});

test("what is in flight when the leader changes is answered at once, with the new leader's address", async () => {
  const network = new MemoryNetwork();
  const options = { tickMs: 5, proposalTimeoutMs: 60_000, readTimeoutMs: 60_000 };
  const nodes = await Promise.all(
    members.map(({ id }) => start(id, network.transport(), new KeyValueMachine(), options)),
  );
  const leader = await until("one leads", () => nodes.find((node) => node.leadership().ready));
  // Its appends reach nobody, and it hears the others.
  network.reaches = (from) => from !== leader.id;
  const asked = Promise.allSettled([leader.propose(put("a", "1")), leader.read()]);
  const next = await until("another leads", () => nodes.find((node) => node !== leader && node.leadership().isLeader));
  const { id } = next;
  const known = { leader: id, address: `member-${id}` };
  const outcomes = await asked;
  for (const [at, code] of ["RAFT_OUTCOME_UNKNOWN", "RAFT_LEADER_CHANGED"].entries()) {
    const outcome = outcomes[at] as PromiseRejectedResult;
    expect(outcome.reason).toMatchObject({ code });
    // A leader that saw no quorum gave up before it heard of the next.
    const { failure } = outcome.reason as { failure: { leader: number | undefined } };
    expect([{ leader: undefined, address: undefined }, known]).toContainEqual({
      leader: failure.leader,
      address: (failure as { address?: string }).address,
    });
  }
  network.reaches = () => true;
  await until("it follows", () => leader.leadership().leader === id);
  await expect(leader.propose(put("a", "2"))).rejects.toMatchObject({ code: "RAFT_NOT_LEADER", failure: known });
});

test("a deposed leader's requests name the leader that deposed it", async () => {
  const { node, receive } = await alone(new KeyValueMachine());
  receive(...elect(4));
  receive(...acknowledge(5, 2));
  await until("it leads", () => node.leadership().ready);
  const proposal = node.propose(put("a", "1"));
  const read = node.read();
  await until("it is in the log", () => node.status().progress.get(1)?.match === 3);
  receive(message("MsgHeartbeat", { from: 3, to: 1, term: 6 }));
  const failure = { leader: 3, address: "member-3" };
  await expect(proposal).rejects.toMatchObject({ code: "RAFT_OUTCOME_UNKNOWN", failure });
  await expect(read).rejects.toMatchObject({ code: "RAFT_LEADER_CHANGED", failure });
});

test("a listener that throws stops neither the others nor the member", async () => {
  const { node, receive } = await alone(new KeyValueMachine());
  node.onLeadership(() => {
    throw new Error("a listener's own failure");
  });
  const { changes } = watch(node);
  receive(...elect(4));
  receive(...acknowledge(5, 2));
  await until("it leads", () => node.leadership().ready);
  expect(changes.some(({ isLeader }) => isLeader)).toBe(true);
});
