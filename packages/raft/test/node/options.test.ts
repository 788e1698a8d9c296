import { describe, expect, test } from "vitest";

import { RaftError, resolveOptions } from "../../src/index.ts";

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
  ] as const)("that make no sense are refused: %s", (option, given) => {
    try {
      resolveOptions(given);
      expect.unreachable();
    } catch (error) {
      expect(RaftError.is(error, "RAFT_OPTIONS_INVALID")).toBe(true);
      expect((error as RaftError).failure).toMatchObject({ option });
    }
  });
});
