import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { Inflights } from "../../src/core/inflights.ts";
import { Progress } from "../../src/core/progress.ts";

describe("the window of messages in flight", () => {
  test("behaves like a list, whatever is added and freed", () => {
    const operation = fc.oneof(
      fc.record({ add: fc.integer({ min: 0, max: 50 }) }),
      fc.record({ free: fc.integer({ min: 0, max: 60 }) }),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 7 }),
        fc.integer({ min: 1, max: 100 }),
        fc.array(operation),
        (size, maxBytes, plan) => {
          const window = new Inflights(size, maxBytes);
          let model: { index: number; bytes: number }[] = [];
          let index = 0;
          for (const step of plan) {
            if ("free" in step) {
              window.freeUpTo(step.free);
              model = model.filter((message) => message.index > step.free);
            } else if (window.full()) {
              expect(() => window.add(index, step.add)).toThrow("full");
            } else {
              window.add(++index, step.add);
              model.push({ index, bytes: step.add });
            }
            const bytes = model.reduce((sum, message) => sum + message.bytes, 0);
            expect(window.count).toBe(model.length);
            expect(window.full()).toBe(model.length === size || bytes >= maxBytes);
            expect(window.clone().count).toBe(window.count);
          }
        },
      ),
    );
  });
});

test("a window that grew while it was not at its beginning frees what it holds, oldest first", () => {
  const window = new Inflights(8, 1_000);
  for (const index of [1, 2]) window.add(index, 1);
  window.freeUpTo(1);
  for (const index of [3, 4, 5]) window.add(index, 1);
  for (const [freed, left] of [
    [2, 3],
    [3, 2],
    [5, 0],
  ] as const) {
    window.freeUpTo(freed);
    expect(window.count).toBe(left);
  }
});

const fresh = (): Progress => new Progress(0, 1, new Inflights(3, 1_000), false, true);

describe("a follower's progress", () => {
  test("keeps match below next, and match never falls, whatever happens", () => {
    const index = fc.integer({ min: 0, max: 30 });
    const operation = fc.oneof(
      fc.record({ kind: fc.constantFrom("probe", "replicate"), a: index, b: index }),
      fc.record({ kind: fc.constantFrom("snapshot", "ack", "reject", "send"), a: index, b: index }),
    );
    fc.assert(
      fc.property(fc.array(operation), (plan) => {
        const progress = fresh();
        for (const { kind, a, b } of plan) {
          const { match } = progress;
          // As a leader does: an acknowledgement frees the window, a rejection ends the stream.
          if (kind === "probe") progress.becomeProbe();
          else if (kind === "replicate") progress.becomeReplicate();
          else if (kind === "snapshot") progress.becomeSnapshot(Math.max(a, match));
          else if (kind === "ack") {
            if (progress.maybeUpdate(a)) progress.inflights.freeUpTo(a);
          } else if (kind === "reject") {
            if (progress.maybeDecreaseTo(a, b) && progress.state === "StateReplicate") progress.becomeProbe();
          } else if (!progress.isPaused()) progress.sentEntries(1, 10);
          expect(progress.match).toBeGreaterThanOrEqual(match);
          expect(progress.next).toBeGreaterThan(progress.match);
        }
      }),
    );
  });

  test("a probe pauses after one message with entries, and an answer lets the next go", () => {
    const progress = fresh();
    progress.sentEntries(1, 10);
    expect(progress.isPaused()).toBe(true);
    expect(progress.maybeUpdate(1)).toBe(true);
    expect(progress.isPaused()).toBe(false);
  });

  test("a full window pauses the stream", () => {
    const progress = fresh();
    progress.becomeReplicate();
    for (let i = 0; i < 3; i++) {
      expect(progress.isPaused()).toBe(false);
      progress.sentEntries(1, 10);
    }
    expect(String(progress)).toBe("StateReplicate match=0 next=4 paused inflight=3[full]");
    progress.maybeUpdate(1);
    progress.inflights.freeUpTo(1);
    expect(progress.isPaused()).toBe(false);
  });

  test("a stale rejection changes nothing", () => {
    const progress = fresh();
    progress.maybeUpdate(5);
    progress.becomeReplicate();
    expect(progress.maybeDecreaseTo(5, 3)).toBe(false);
    progress.becomeProbe();
    expect(progress.maybeDecreaseTo(3, 1)).toBe(false);
    expect(progress.next).toBe(6);
  });

  test("the commit index is sent again only while it can still raise the follower's", () => {
    const progress = fresh();
    progress.maybeUpdate(5);
    progress.becomeReplicate();
    expect(progress.canBumpCommit(3)).toBe(true);
    progress.sentCommit(5);
    expect(progress.canBumpCommit(9)).toBe(false);
  });

  test("no append is sent while a snapshot is on its way", () => {
    const progress = fresh();
    progress.becomeSnapshot(10);
    expect(() => progress.sentEntries(1, 1)).toThrow("StateSnapshot");
    expect(progress.next).toBe(11);
  });
});
