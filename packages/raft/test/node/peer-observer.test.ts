import { silentLogger } from "@warren/std";
import { expect, test } from "vitest";

import { PeerObserver, type PeerState } from "../../src/node/peer-observer.ts";

const peer = { id: 2, address: "member-2", isLearner: false, isCaughtUp: true, tags: undefined };

function observed(electionTicks: number): { observer: PeerObserver; seen: (readonly PeerState[])[]; tick: () => void } {
  const observer = new PeerObserver(electionTicks, silentLogger);
  const seen: (readonly PeerState[])[] = [];
  observer.onPeers((peers) => void seen.push(peers));
  const tick = (): void => {
    observer.tick();
    observer.observe([peer]);
    observer.notify();
  };
  return { observer, seen, tick };
}

test("a member counts as heard for a new leader's first election timeout, then only if it is", () => {
  const { observer, seen, tick } = observed(3);
  for (let i = 0; i < 4; i++) tick();
  expect(seen).toEqual([[{ ...peer, isHeard: true }]]);
  tick();
  expect(seen.at(-1)).toEqual([{ ...peer, isHeard: false }]);
  observer.heard(2);
  tick();
  expect(seen.at(-1)).toEqual([{ ...peer, isHeard: true }]);
  for (let i = 0; i < 3; i++) tick();
  expect(seen.at(-1)).toEqual([{ ...peer, isHeard: false }]);
});

test("each term of a leader begins anew, and what is the same is not reported again", () => {
  const { observer, seen, tick } = observed(3);
  for (let i = 0; i < 9; i++) tick();
  expect(seen).toHaveLength(2);
  observer.observe(undefined);
  observer.notify();
  observer.notify();
  expect(seen.slice(2)).toEqual([[]]);
  tick();
  expect(seen.at(-1)).toEqual([{ ...peer, isHeard: true }]);
});

test("who listens later is called with what is known, and when nobody listens nothing is observed", () => {
  const { observer, seen, tick } = observed(3);
  tick();
  const late: (readonly PeerState[])[] = [];
  const stop = observer.onPeers((peers) => void late.push(peers));
  expect(late).toEqual(seen);
  stop();
  expect(observer.isObserved).toBe(true);
  expect(new PeerObserver(3, silentLogger).isObserved).toBe(false);
});
