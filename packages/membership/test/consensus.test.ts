import { RaftError } from "@warren/raft";
import { RecordingLogger } from "@warren/std/testing";
import { expect, test } from "vitest";
import { applied } from "../src/consensus.ts";

/** A member whose reads fail with these, one after the other, and then succeed. */
function memberWhoseReadsFail(
  errors: Error[],
  end?: RaftError,
): Parameters<typeof applied>[0] & { readonly closed: () => number } {
  let closed = 0;
  return {
    read: async () => {
      const error = errors.shift();
      if (error !== undefined) throw error;
      return 1;
    },
    close: async () => void (closed += 1),
    done: Promise.resolve(end),
    closed: () => closed,
  };
}

test("a first election that takes longer than a read waits, as on a slow machine, is waited for", async () => {
  const node = memberWhoseReadsFail([
    new RaftError({ code: "RAFT_READ_TIMEOUT" }, "no leader confirmed the read in time"),
    new RaftError({ code: "RAFT_LEADER_CHANGED", leader: undefined, address: undefined }, "the leader changed"),
    new RaftError({ code: "RAFT_READ_TIMEOUT" }, "no leader confirmed the read in time"),
  ]);
  const log = new RecordingLogger();
  await applied(node, log);
  expect(log.records).toHaveLength(3);
  expect(node.closed()).toBe(0);
});

test("what ended the member is thrown, and the member is closed", async () => {
  const damage = new RaftError({ code: "RAFT_CLOSED" }, "the log is damaged");
  const node = memberWhoseReadsFail([new RaftError({ code: "RAFT_CLOSED" }, "closed")], damage);
  await expect(applied(node, new RecordingLogger())).rejects.toBe(damage);
  expect(node.closed()).toBe(1);
});
