import { noMetrics } from "@warren/std";
import { RecordingMetrics } from "@warren/std/testing";
import { expect, test } from "vitest";

import { message } from "../../src/core/index.ts";
import { Inbox } from "../../src/node/inbox.ts";
import { raftMetrics } from "../../src/node/metrics.ts";

test("messages come out in their order, once", () => {
  const inbox = new Inbox(raftMetrics(noMetrics));
  inbox.push(message("MsgHeartbeat", { from: 1 }));
  inbox.push(message("MsgHeartbeat", { from: 2 }));
  expect(inbox.drain().map(({ from }) => from)).toEqual([1, 2]);
  expect(inbox.drain()).toEqual([]);
});

test("what comes beyond the bound, in number or in bytes, is dropped and counted", () => {
  const metrics = new RecordingMetrics();
  const inbox = new Inbox(raftMetrics(metrics));
  for (let i = 0; i < 70_000; i++) inbox.push(message("MsgHeartbeatResp"));
  expect(inbox.drain()).toHaveLength(65_536);
  const data = new Uint8Array(64 * 1024 * 1024);
  const append = message("MsgApp", { entries: [{ term: 1, index: 1, type: "EntryNormal", data }] });
  for (let i = 0; i < 10; i++) inbox.push(append);
  expect(inbox.drain()).toHaveLength(3);
  expect(metrics.values.get("warren_raft_messages_dropped_total")).toBe(70_000 - 65_536 + 7);
});
