import { describe, expect, test } from "vitest";

import {
  grpcTransport,
  memoryDisk,
  MemoryNetwork,
  openLogStorage,
  RaftError,
  resolveOptions,
  type RaftNodeOptions,
} from "../../src/index.ts";
import { members, startGroup, startMember } from "./group.ts";

describe("options", () => {
  test("have defaults", () => {
    expect(resolveOptions({})).toMatchObject({ tickMs: 50, electionTicks: 10, reads: "safe", stallMs: 1_000 });
  });

  test.each([
    ["electionTicks", { electionTicks: 0 }],
    ["tickMs", { tickMs: -1 }],
    ["snapshotEntries", { snapshotEntries: Number.NaN }],
    ["maxPendingBytes", { maxPendingBytes: Number.POSITIVE_INFINITY }],
    ["maxInflightBytes", { maxAppendBytes: 2_000, maxInflightBytes: 1_000 }],
    ["reads", { reads: "lease", tickMs: 0 }],
    ["reads", { reads: "never" }],
    ["tickMs", { tickMs: "50" }],
    ["electionTicks", { electionTicks: 1.5 }],
    ["snapshotEntries", { snapshotEntries: null }],
    ["sessionTtlMs", { sessionTtlMs: 1.5 }],
    ["forwardProposals", { forwardProposals: "no" }],
    ["join", { join: "10.0.0.1:7000" }],
    ["bootstrap", { bootstrap: [null] }],
    ["tags", { tags: null }],
    ["tags", { tags: ["1"] }],
    ["tags", { tags: { version: 1 } }],
    ["tags", { tags: { version: "x".repeat(1_024) } }],
  ])("that make no sense are refused: %s", (option, given) => {
    try {
      resolveOptions(given as RaftNodeOptions);
      expect.unreachable();
    } catch (error) {
      expect(RaftError.is(error, "RAFT_OPTIONS_INVALID")).toBe(true);
      expect((error as RaftError).failure).toMatchObject({ option });
    }
  });

  test("that are given as undefined have their defaults", () => {
    expect(resolveOptions({ tickMs: undefined } as unknown as RaftNodeOptions).tickMs).toBe(50);
  });

  test("of a level that is none are refused", async () => {
    const started = startMember(new MemoryNetwork(), 1, { bootstrap: members, activeLevel: Number.NaN });
    await expect(started).rejects.toMatchObject({ failure: { option: "activeLevel" } });
  });

  test.each([
    ["nodeId", { nodeId: 0 }],
    ["nodeId", { nodeId: "1" }],
    ["nodeId", { nodeId: 2 ** 53 - 1 }],
    ["clusterId", { clusterId: "" }],
    ["snapshotsKept", { snapshotsKept: 0 }],
    ["cacheBytes", { cacheBytes: Number.NaN }],
  ])("of a storage are checked before anything is made: %s", async (option, wrong) => {
    const disk = memoryDisk();
    const opened = openLogStorage(disk, { clusterId: "test", nodeId: 1, ...wrong } as never);
    await expect(opened).rejects.toMatchObject({ code: "RAFT_OPTIONS_INVALID", failure: { option } });
    const storage = await openLogStorage(disk, { clusterId: "test", nodeId: 1 });
    await storage.close();
  });

  test.each([
    ["maxQueuedBytes", { maxQueuedBytes: 0 }],
    ["snapshotBytesPerSecond", { snapshotBytesPerSecond: Number.NaN }],
  ])("of the transport are checked: %s", (option, wrong) => {
    const tls = { ca: Buffer.of(), cert: Buffer.of(), key: Buffer.of() };
    expect(() => grpcTransport({ tls, ...wrong })).toThrow(
      expect.objectContaining({ failure: { code: "RAFT_OPTIONS_INVALID", option } }),
    );
  });
});

test.each([[undefined], [-1], [Number.NaN], ["soon"]])("a drain within %s ms ends nothing", async (graceMs) => {
  const { leader } = await startGroup({}, members.slice(0, 1));
  const drained = leader.node.drain({ graceMs } as { graceMs: number });
  await expect(drained).rejects.toMatchObject({ failure: { argument: "graceMs" } });
  await leader.node.propose(Buffer.from("a=1"));
});
