import { FakeClock, RecordingLogger, until } from "@warren/std/testing";
import { expect, test } from "vitest";

import { startAutopilot, type AutopilotNode } from "../../src/autopilot/index.ts";
import type { PeerState } from "../../src/index.ts";
import { leaderOf, members, startGroup, startMember } from "../node/group.ts";

const state = (id: number, isLearner: boolean, isHeard = true, isCaughtUp = isHeard): PeerState => ({
  id,
  address: `member-${id}`,
  isLearner,
  isHeard,
  isCaughtUp,
  tags: undefined,
});

/** A member that leads, whose changes the test sees and answers. */
class Leader implements AutopilotNode {
  readonly calls: unknown[][] = [];
  answer: () => Promise<void> = () => Promise.resolve();
  listener: ((peers: readonly PeerState[]) => void) | undefined;
  onPeers(listener: (peers: readonly PeerState[]) => void): () => void {
    this.listener = listener;
    return () => (this.listener = undefined);
  }
  promote(...args: unknown[]): Promise<void> {
    return this.called("promote", args);
  }
  remove(...args: unknown[]): Promise<void> {
    return this.called("remove", args);
  }
  changeMembers(...args: unknown[]): Promise<void> {
    return this.called("changeMembers", args);
  }
  private called(name: string, args: unknown[]): Promise<void> {
    this.calls.push([name, ...args]);
    return this.answer();
  }
}

const options = { voters: 3, stableMs: 10_000, deadMs: 60_000 };

test("a learner gets its vote once it has been ready for the whole time, and not again", async () => {
  const clock = new FakeClock();
  const node = new Leader();
  using autopilot = startAutopilot({ node, clock }, options);
  node.listener!([state(2, false), state(3, true)]);
  await clock.advanceAsync(9_000);
  // It lags for a moment, so the time begins anew.
  node.listener!([state(2, false), state(3, true, true, false)]);
  node.listener!([state(2, false), state(3, true)]);
  await clock.advanceAsync(9_999);
  expect(node.calls).toEqual([]);
  await clock.advanceAsync(1);
  expect(node.calls).toEqual([["promote", 3]]);
  // Nothing was observed of it yet.
  await clock.advanceAsync(60_000);
  expect(node.calls).toHaveLength(1);
  expect(autopilot.decision).toMatchObject({ kind: "wait", untilMs: undefined });
  expect(clock.pending).toBe(0);
});

test("a dead voter's vote goes to a spare in one step, and then it is removed", async () => {
  const clock = new FakeClock();
  const node = new Leader();
  using autopilot = startAutopilot({ node, clock }, options);
  node.listener!([state(2, false), state(3, false, false), state(4, true)]);
  await clock.advanceAsync(59_999);
  expect(node.calls).toEqual([]);
  await clock.advanceAsync(1);
  expect(node.calls).toEqual([
    [
      "changeMembers",
      [
        { type: "ConfChangeAddNode", nodeId: 4 },
        { type: "ConfChangeAddLearnerNode", nodeId: 3 },
      ],
    ],
    ["remove", 3],
  ]);
  expect(autopilot.decision?.kind).toBe("wait");
});

test("one that comes back in time is left alone, and a new leader counts anew", async () => {
  const clock = new FakeClock();
  const node = new Leader();
  using _ = startAutopilot({ node, clock }, options);
  const silent = [state(2, false), state(3, false, false), state(4, true)];
  node.listener!(silent);
  await clock.advanceAsync(59_000);
  node.listener!([state(2, false), state(3, false), state(4, true)]);
  node.listener!(silent);
  await clock.advanceAsync(59_000);
  node.listener!([]);
  expect(clock.pending).toBe(0);
  node.listener!(silent);
  await clock.advanceAsync(59_999);
  expect(node.calls).toEqual([]);
  await clock.advanceAsync(1);
  expect(node.calls).toHaveLength(2);
});

test("a change that fails is logged and tried again after a while; none begins while one is in progress", async () => {
  const clock = new FakeClock();
  const node = new Leader();
  const log = new RecordingLogger();
  using _ = startAutopilot({ node, clock, log }, options);
  const refused = Promise.withResolvers<void>();
  node.answer = () => refused.promise;
  const peers = [state(2, false), state(3, true)];
  node.listener!(peers);
  await clock.advanceAsync(10_000);
  node.listener!(peers);
  await clock.advanceAsync(10_000);
  expect(node.calls).toHaveLength(1);
  node.answer = () => Promise.resolve();
  refused.reject(new Error("not now"));
  await clock.advanceAsync(9_999);
  expect(node.calls).toHaveLength(1);
  expect(log.records.filter(({ level }) => level === "warn")).toMatchObject([{ fields: { id: 3, error: "not now" } }]);
  await clock.advanceAsync(1);
  expect(node.calls).toHaveLength(2);
});

test("closed, it decides nothing more", async () => {
  const clock = new FakeClock();
  const node = new Leader();
  const autopilot = startAutopilot({ node, clock }, options);
  node.listener!([state(2, false), state(3, true)]);
  autopilot.close();
  autopilot.close();
  await clock.advanceAsync(100_000);
  expect(node.calls).toEqual([]);
  expect([clock.pending, node.listener]).toEqual([0, undefined]);
});

test("in a group of real members a spare takes the place of one that died, and the dead one is gone", async () => {
  const { network, nodes, leader } = await startGroup();
  const quick = { voters: 3, stableMs: 20, deadMs: 200 };
  const pilots = nodes.map(({ node }) => startAutopilot({ node }, quick));
  const spare = await startMember(network, 4, { join: members });
  await leader.node.addLearner({ id: 4, address: "member-4" });
  await until("it has caught up", () => spare.node.status().config.learners.has(4));
  await leader.node.close();
  const rest = [...nodes.filter((one) => one !== leader), spare];
  await until("it is replaced", async () => {
    const { node } = await leaderOf(rest);
    const { incoming, outgoing, learners } = node.status().config;
    const expected = new Set(rest.map((one) => one.node.id));
    return (
      incoming.symmetricDifference(expected).size === 0 &&
      outgoing.size + learners.size === 0 &&
      node.status().members.length === 3
    );
  });
  for (const pilot of pilots) pilot.close();
});
