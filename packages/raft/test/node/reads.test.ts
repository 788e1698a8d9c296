import { FakeClock } from "@warren/std/testing";
import { expect, test } from "vitest";

import { Reads } from "../../src/node/reads.ts";

function reads(): { reads: Reads; clock: FakeClock; asked: Uint8Array[]; ask: (context: Uint8Array) => boolean } {
  const clock = new FakeClock();
  const asked: Uint8Array[] = [];
  const limits = { origin: 1, boot: 2, timeoutMs: () => 1_000, retryMs: 100 };
  return { reads: new Reads(clock, limits), clock, asked, ask: (context) => asked.push(context) > 0 };
}

test("a read by a lease that ran out before it is served is asked again, and one by a round is served", async () => {
  const { reads: all, asked, ask } = reads();
  const settled: string[] = [];
  void all.add().then(() => settled.push("first"));
  all.issue(ask);
  all.confirm({ index: 5, context: asked[0]!, byLease: true });
  all.serve(5, () => false);
  await Promise.resolve();
  expect(settled).toEqual([]);
  all.issue(ask);
  expect(asked).toHaveLength(2);
  all.confirm({ index: 5, context: asked[1]! });
  all.serve(5, () => false);
  await Promise.resolve();
  expect(settled).toEqual(["first"]);
});

test("an answer to another member's question, or to another run's, is none", async () => {
  const { reads: all, asked, ask } = reads();
  const read = all.add();
  all.issue(ask);
  for (const at of [0, 8]) {
    const context = Buffer.from(asked[0]!);
    context[at]! ^= 1;
    all.confirm({ index: 1, context });
  }
  let served = false;
  void read.then(() => (served = true));
  all.serve(1, () => true);
  await Promise.resolve();
  expect(served).toBe(false);
  all.confirm({ index: 1, context: asked[0]! });
  all.serve(1, () => true);
  expect(await read).toBe(1);
});

test("a read waits for its index to be applied, is asked again when the answer fails to come, and ends in time", async () => {
  const { reads: all, clock, asked, ask } = reads();
  const read = all.add();
  const outcome = read.catch((error: { code: string }) => error.code);
  all.issue(ask);
  clock.advance(100);
  all.expire();
  all.issue(ask);
  expect(asked).toHaveLength(2);
  all.confirm({ index: 7, context: asked[1]! });
  all.serve(6, () => true);
  clock.advance(899);
  all.expire();
  clock.advance(1);
  all.expire();
  expect(await outcome).toBe("RAFT_READ_TIMEOUT");
});
