import { NodeConditions, onKeptRoom, type AgentState } from "@warren/agent";
import { FakeClock, RecordingLogger } from "@warren/std/testing";
import { expect, test } from "vitest";

test("a record that can't be written has the room that was kept back, and the node says so until it is kept again", async () => {
  const conditions = new NodeConditions({ clock: new FakeClock(), log: new RecordingLogger() });
  const codes = (): string[] => conditions.all().map(({ code }) => code);
  let free = 0;
  const ballast = {
    held: true,
    giveUp: async () => {
      const had = ballast.held;
      if (had) free += 1;
      ballast.held = false;
      return had;
    },
    layAside: async () => (ballast.held = free > 1),
  };
  const written: string[] = [];
  const state: AgentState = {
    nodeId: "node",
    opened: 1,
    lost: undefined,
    identify: async () => undefined,
    load: async () => new Map(),
    write: async (changes) => {
      if (free === 0) throw new Error("IO error: No space left on device");
      written.push(...changes.map(({ key }) => key));
    },
    close: async () => undefined,
  };
  const kept = onKeptRoom(state, ballast, {
    conditions,
    directory: "/var/lib/warren/worker",
    isDiskFull: (error) => String(error).includes("No space left"),
  });
  expect(codes()).toEqual([]);
  await expect(kept.write([{ key: "a", value: undefined }])).rejects.toThrow("No space left");
  expect(codes()).toEqual(["DISK_LOW"]);
  await kept.write([{ key: "a", value: undefined }]);
  expect([written, codes()]).toEqual([["a"], ["DISK_LOW"]]);
  free = 2;
  await kept.write([{ key: "b", value: undefined }]);
  expect([written, codes()]).toEqual([["a", "b"], []]);
});
