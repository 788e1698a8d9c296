import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Changer, restoreConfiguration, type Change } from "../../src/core/changer.ts";
import { RaftError, type ConfChangeSingle } from "../../src/core/index.ts";
import { Tracker, type Configuration } from "../../src/core/tracker.ts";

const change = fc.record({
  type: fc.constantFrom<ConfChangeSingle["type"]>(
    "ConfChangeAddNode",
    "ConfChangeRemoveNode",
    "ConfChangeAddLearnerNode",
    "ConfChangeUpdateNode",
  ),
  nodeId: fc.integer({ min: 0, max: 5 }),
});
const steps = fc.array(
  fc.record({
    kind: fc.constantFrom("simple", "joint", "auto", "leave"),
    changes: fc.array(change, { maxLength: 4 }),
  }),
  { maxLength: 30 },
);

function start(): Tracker {
  const tracker = new Tracker(10, 1_000);
  const voters = [1, 2, 3];
  restoreConfiguration(tracker, 1, { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false });
  return tracker;
}

function take(tracker: Tracker, kind: string, changes: readonly ConfChangeSingle[]): Change | undefined {
  const changer = new Changer(tracker, 1);
  try {
    if (kind === "simple") return changer.simple(changes);
    return kind === "leave" ? changer.leaveJoint() : changer.enterJoint(kind === "auto", changes);
  } catch (error) {
    if (RaftError.is(error, "RAFT_CONF_CHANGE_INVALID")) return undefined;
    throw error;
  }
}

/** Whether every way to win in one configuration meets every way to win in the other. */
function quorumsMeet(a: Configuration, b: Configuration): boolean {
  const ids = [...new Set([...a.incoming, ...a.outgoing, ...b.incoming, ...b.outgoing])];
  const won = (set: ReadonlySet<number>, yes: ReadonlySet<number>): boolean =>
    set.size === 0 || [...set].filter((id) => yes.has(id)).length * 2 > set.size;
  for (let mask = 0; mask < 2 ** ids.length; mask++) {
    const yes = new Set(ids.filter((_, at) => Math.floor(mask / 2 ** at) % 2 === 1));
    const no = new Set(ids.filter((id) => !yes.has(id)));
    if (won(a.incoming, yes) && won(a.outgoing, yes) && won(b.incoming, no) && won(b.outgoing, no)) return false;
  }
  return true;
}

describe("configurations that follow one another", () => {
  test("have quorums that meet, whatever changes are tried", () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const tracker = start();
        for (const { kind, changes } of plan) {
          const next = take(tracker, kind, changes);
          if (next === undefined) continue;
          expect(quorumsMeet(tracker.config, next.config)).toBe(true);
          tracker.switchTo(next.config, next.progress);
        }
      }),
    );
  });

  test("track exactly their members, and a learner is no voter", () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const tracker = start();
        for (const { kind, changes } of plan) {
          const next = take(tracker, kind, changes);
          if (next !== undefined) tracker.switchTo(next.config, next.progress);
          const { incoming, outgoing, learners, learnersNext } = tracker.config;
          expect(new Set(tracker.ids)).toEqual(new Set([...incoming, ...outgoing, ...learners]));
          expect(incoming.size).toBeGreaterThan(0);
          expect(learners.isDisjointFrom(incoming.union(outgoing))).toBe(true);
          expect(learnersNext.isSubsetOf(outgoing)).toBe(true);
          for (const id of tracker.ids) expect(tracker.get(id)?.isLearner).toBe(learners.has(id));
        }
      }),
    );
  });

  test("survive being written down and restored", () => {
    fc.assert(
      fc.property(steps, (plan) => {
        const tracker = start();
        for (const { kind, changes } of plan) {
          const next = take(tracker, kind, changes);
          if (next !== undefined) tracker.switchTo(next.config, next.progress);
        }
        const restored = new Tracker(10, 1_000);
        restoreConfiguration(restored, 1, tracker.confState());
        expect(restored.confState()).toEqual(tracker.confState());
        expect(restored.ids).toEqual(tracker.ids);
      }),
    );
  });

  test("leave what they started from untouched when they are refused", () => {
    const tracker = start();
    const before = tracker.confState();
    expect(() =>
      new Changer(tracker, 1).simple([
        { type: "ConfChangeRemoveNode", nodeId: 1 },
        { type: "ConfChangeRemoveNode", nodeId: 2 },
      ]),
    ).toThrow(RaftError);
    expect(tracker.confState()).toEqual(before);
    expect(tracker.get(1)?.isLearner).toBe(false);
  });
});
