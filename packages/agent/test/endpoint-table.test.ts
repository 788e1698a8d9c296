import { Endpoint } from "@warren/api";
import { FakeClock, RecordingLogger, seededRandom } from "@warren/std/testing";
import { expect, test } from "vitest";
import { EndpointTable, mergeEndpoints } from "../src/endpoint-table.ts";

const endpoint = (serviceId: string, ...backends: [taskId: string, nodeId: string, draining?: boolean][]): Endpoint =>
  Endpoint.fromPartial({
    serviceId,
    backends: backends.map(([taskId, nodeId, draining = false]) => ({
      taskId,
      nodeId,
      address: `of ${taskId}`,
      draining,
    })),
  });

test("of its own tasks a node goes by itself, of others by the managers", () => {
  const local = new Map([
    ["mine", { serviceId: "a", slot: 2, address: "new", draining: false }],
    ["leaving", { serviceId: "a", slot: 3, address: "x", draining: true }],
    ["stray", { serviceId: "unheard-of", slot: 1, address: "y", draining: false }],
  ]);
  const merged = mergeEndpoints(
    [endpoint("a", ["mine", "here"], ["gone", "here"], ["far", "there", true]), endpoint("b")],
    "here",
    local,
  );
  expect(merged.map(({ serviceId, backends }) => [serviceId, backends])).toEqual([
    [
      "a",
      [
        { taskId: "far", nodeId: "there", slot: 0, address: "of far", draining: true },
        { taskId: "mine", nodeId: "here", slot: 2, address: "new", draining: false },
        { taskId: "leaving", nodeId: "here", slot: 3, address: "x", draining: true },
      ],
    ],
    ["b", []],
  ]);
});

test("one application is under way at a time, the newest state is next, those between are skipped", async () => {
  const applied: number[] = [];
  const gates: (() => void)[] = [];
  const table = new EndpointTable("here", new Map([["a", endpoint("a")]]), async ([first]) => {
    await new Promise<void>((resolve) => gates.push(resolve));
    applied.push(first?.backends.length ?? -1);
  });
  const end = new AbortController();
  const running = table.run(
    { clock: new FakeClock(), random: seededRandom(1), log: new RecordingLogger() },
    end.signal,
  );
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  await turn();
  for (let n = 0; n < 10; n += 1) table.set(`t${n}`, { serviceId: "a", slot: n, address: `${n}`, draining: false });
  let reached = false;
  const waiting = table.applied(end.signal).then(() => (reached = true));
  gates.shift()?.();
  await turn();
  expect(applied).toEqual([0]);
  expect(reached).toBe(false);
  gates.shift()?.();
  await waiting;
  expect(applied).toEqual([0, 10]);
  expect(gates).toEqual([]);
  end.abort();
  await expect(running).rejects.toThrow();
});

test("an application that fails is told and tried again with the newest state", async () => {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  let failures = 2;
  const applied: number[] = [];
  const table = new EndpointTable("here", new Map([["a", endpoint("a")]]), async ([first]) => {
    await Promise.resolve();
    if (failures-- > 0) throw new Error("nft: busy");
    applied.push(first?.backends.length ?? -1);
  });
  const end = new AbortController();
  const running = table.run({ clock, random: seededRandom(1), log }, end.signal).catch(() => undefined);
  table.set("t", { serviceId: "a", slot: 1, address: "1", draining: false });
  await clock.advanceAsync(1_000);
  expect(applied).toEqual([1]);
  expect(log.records.filter(({ level }) => level === "error")).toHaveLength(2);
  end.abort();
  await running;
});
