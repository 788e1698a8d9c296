import { expect, test } from "vitest";

import { decide, resolveAutopilotOptions, type ObservedPeer } from "../../src/autopilot/index.ts";

const options = resolveAutopilotOptions({ voters: 3, stableMs: 10, deadMs: 100 });
const now = 1_000;
const peer = (id: number, isLearner: boolean, silentFor?: number, readyFor?: number): ObservedPeer => ({
  id,
  address: `member-${id}`,
  isLearner,
  isHeard: silentFor === undefined,
  isCaughtUp: readyFor !== undefined,
  tags: undefined,
  silentSinceMs: silentFor === undefined ? undefined : now - silentFor,
  readySinceMs: readyFor === undefined ? undefined : now - readyFor,
});
const voter = (id: number, silentFor?: number): ObservedPeer =>
  peer(id, false, silentFor, silentFor === undefined ? 500 : undefined);
const learner = (id: number, readyFor?: number): ObservedPeer => peer(id, true, undefined, readyFor);

test.each([
  ["a learner that is ready takes a vote that is missing", [voter(2), learner(4, 10)], { kind: "promote", id: 4 }],
  ["but not before it was so for long enough", [voter(2), learner(4, 9)], { kind: "wait", untilMs: now + 1 }],
  ["and not while it lags", [voter(2), learner(4)], { kind: "wait", untilMs: undefined }],
  ["with enough voters it is a spare", [voter(2), voter(3), learner(4, 50)], { kind: "wait", untilMs: undefined }],
  [
    "a spare takes the vote of a voter that is dead",
    [voter(2), voter(3, 100), learner(4, 50)],
    { kind: "replace", dead: 3, by: 4 },
  ],
  ["not of one that is silent for less", [voter(2), voter(3, 99), learner(4, 50)], { kind: "wait", untilMs: now + 1 }],
  [
    "a spare that is ready only later is waited for",
    [voter(2), voter(3, 100), learner(4, 5)],
    { kind: "wait", untilMs: now + 5 },
  ],
  ["a dead voter without a successor keeps its vote", [voter(2), voter(3, 500)], { kind: "wait", untilMs: undefined }],
  [
    "a dead voter is replaced before a missing vote is given",
    [voter(3, 100), learner(4, 50)],
    { kind: "replace", dead: 3, by: 4 },
  ],
  ["a dead voter too many is removed", [voter(2), voter(3), voter(4, 100)], { kind: "remove", id: 4 }],
  ["a live voter too many stays", [voter(2), voter(3), voter(4)], { kind: "wait", untilMs: undefined }],
  ["a dead learner is removed", [voter(2), voter(3), peer(4, true, 100)], { kind: "remove", id: 4 }],
  ["of two that are dead, one at a time", [voter(2, 100), voter(3, 100), learner(4, 10)], { kind: "replace", dead: 2 }],
] as const)("%s", (_, peers, decision) => {
  expect(decide(peers, now, options)).toMatchObject(decision);
});

test("options that make no sense are refused by name", () => {
  expect(resolveAutopilotOptions({})).toEqual({ voters: 3, stableMs: 10_000, deadMs: 86_400_000 });
  for (const [given, option] of [
    [{ voters: 0 }, "voters"],
    [{ stableMs: -1 }, "stableMs"],
    [{ deadMs: Number.NaN }, "deadMs"],
  ] as const) {
    expect(() => resolveAutopilotOptions(given)).toThrow(
      expect.objectContaining({ code: "RAFT_OPTIONS_INVALID", failure: { code: "RAFT_OPTIONS_INVALID", option } }),
    );
  }
});
