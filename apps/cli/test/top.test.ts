import { StatsResponse } from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { expect, test } from "vitest";
import { actionOf, view, type SortOrder } from "../src/commands/top.ts";

const stats = (
  at: number,
  tasks: readonly (readonly [slot: number, cpuMs: number, memory: number, pids: number, read: number])[],
): StatsResponse =>
  StatsResponse.fromPartial({
    stats: tasks.map(([slot, cpuMs, memoryBytes, pids, readBytes]) => ({
      taskId: `t${slot}`,
      serviceName: "web",
      slot: numberedSlot(slot),
      nodeId: "n",
      at: new Date(at),
      cpuUsageNs: cpuMs * 1e6,
      memoryBytes,
      pids,
      readBytes,
      writeBytes: 100 - readBytes,
    })),
  });
const before = stats(0, [
  [1, 0, 10, 1, 5],
  [2, 0, 30, 2, 1],
  [3, 0, 20, 9, 3],
]);
const now = stats(1_000, [
  [1, 900, 10, 1, 5],
  [2, 10, 30, 2, 1],
  [3, 500, 20, 9, 3],
]);

test.for([
  ["cpu", "1 3 2"],
  ["memory", "2 3 1"],
  ["pids", "3 2 1"],
  ["read", "1 3 2"],
  ["written", "2 3 1"],
  ["name", "1 2 3"],
] as const)("sorted by %s the slots are %s", ([sort, order]) => {
  const lines = view(before, now, new Map([["n", "edge-1"]]), sort)
    .split("\n")
    .slice(1);
  expect(lines.map((line) => line.slice(4, 5)).join(" ")).toBe(order);
  expect(lines.find((line) => line.startsWith("web.1"))).toMatch(/edge-1 +90.0 %/);
});

test("keys choose what is sorted by, and end it", () => {
  const chosen = ["c", "m", "n", "p", "r", "w"].map(actionOf) satisfies (SortOrder | "quit" | undefined)[];
  expect(chosen).toEqual(["cpu", "memory", "name", "pids", "read", "written"]);
  expect([actionOf("q"), actionOf("\u0003"), actionOf("x")]).toEqual(["quit", "quit", undefined]);
});
