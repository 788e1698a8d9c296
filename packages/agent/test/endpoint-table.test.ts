import { Endpoint, type Backend } from "@warren/api";
import { FakeClock, RecordingLogger, seededRandom } from "@warren/std/testing";
import { expect, test } from "vitest";
import {
  EndpointTable,
  loweredWeight,
  mergeEndpoints,
  remoteDrainMs,
  type LocalBackend,
} from "../src/endpoint-table.ts";
import type { NodeEndpoint } from "../src/index.ts";

const endpoint = (serviceId: string): Endpoint => Endpoint.fromPartial({ serviceId });
const backend = (nodeId: string, last: number, weight = 100): Backend => ({
  address: 0x0a4d0200 + last,
  nodeId,
  weight,
});
const own = (slotId: string, more: Partial<LocalBackend> = {}): LocalBackend => ({
  slotId,
  address: "10.77.1.9",
  draining: false,
  health: 1,
  ...more,
});
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a node uses its own state for its own leases, and the assigned backends for others", () => {
  const merged = mergeEndpoints({
    nodeId: "here",
    endpoints: new Map([
      ["a", endpoint("a")],
      ["b", endpoint("b")],
    ]),
    backends: new Map([
      ["a.1/7-1", backend("here", 1, 30)],
      ["a.4/7-9", backend("here", 4)],
      ["a.node-x/7-2", backend("there", 2, 50)],
      ["unheard-of.1/7-3", backend("there", 3)],
      ["no key", backend("there", 3)],
    ]),
    local: new Map([
      ["a.1/7-1", own("a.1", { health: 0.5 })],
      ["a.2/7-4", own("a.2", { draining: true })],
      ["stray.1/7-5", own("stray.1")],
    ]),
    managerWeights: new Map([["a.1/7-1", 30]]),
    leaving: new Map([["a.3/7-6", backend("there", 6)]]),
  });
  expect(merged.map(({ serviceId, backends }) => [serviceId, backends])).toEqual([
    [
      "a",
      [
        { key: "a.node-x/7-2", slot: "node-x", nodeId: "there", address: "10.77.2.2", weight: 50, draining: false },
        { key: "a.3/7-6", slot: "3", nodeId: "there", address: "10.77.2.6", weight: 0, draining: true },
        { key: "a.1/7-1", slot: "1", nodeId: "here", address: "10.77.1.9", weight: 15, draining: false },
        { key: "a.2/7-4", slot: "2", nodeId: "here", address: "10.77.1.9", weight: 0, draining: true },
      ],
    ],
    ["b", []],
  ]);
});

test("health lowers the manager's weight and never raises it", () => {
  expect([1, 0.66, 0.33, 0, 2].map((health) => loweredWeight(100, health))).toEqual([100, 66, 33, 1, 100]);
  expect(loweredWeight(0, 1)).toBe(0);
});

/** A table that runs, and what it applied last. */
function rig(apply?: (endpoints: readonly NodeEndpoint[]) => Promise<void>) {
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const backends = new Map<string, Backend>();
  const applied: (readonly NodeEndpoint[])[] = [];
  const assigned = { endpoints: new Map([["a", endpoint("a")]]), backends };
  const table = new EndpointTable("here", clock, assigned, async (endpoints) => {
    await apply?.(endpoints);
    applied.push(endpoints);
  });
  const end = new AbortController();
  const running = table.run({ clock, random: seededRandom(1), log }, end.signal).catch(() => undefined);
  return {
    table,
    clock,
    log,
    backends,
    applied,
    end,
    running,
    last: () => applied.at(-1)?.[0]?.backends ?? [],
    [Symbol.asyncDispose]: async () => {
      end.abort();
      await running;
    },
  };
}

test("a remote backend that is removed keeps its flows for a minute, unless it comes back", async () => {
  await using one = rig();
  const { table, backends, clock, last, end } = one;
  const put = (key: string, value: Backend): void => {
    backends.set(key, value);
    table.assigned(key, value);
  };
  put("a.1/7-1", backend("there", 1));
  put("a.2/7-2", backend("there", 2));
  put("a.3/7-3", backend("here", 3));
  await table.applied(end.signal);
  expect(last()).toMatchObject([{ draining: false }, { draining: false }]);
  for (const [key, value] of backends) {
    backends.delete(key);
    table.removed(key, value);
  }
  await table.applied(end.signal);
  expect(last()).toMatchObject([
    { key: "a.1/7-1", draining: true, weight: 0 },
    { key: "a.2/7-2", draining: true, weight: 0 },
  ]);
  await clock.advanceAsync(remoteDrainMs - 1_000);
  put("a.2/7-2", backend("there", 2));
  await clock.advanceAsync(2_000);
  await turn();
  expect(last()).toMatchObject([{ key: "a.2/7-2", draining: false }]);
  backends.delete("a.2/7-2");
  table.removed("a.2/7-2", backend("there", 2));
  end.abort();
  await one.running;
  expect(clock.pending).toBe(0);
});

test("the last assigned weight of a lease of this node holds while its backend is unassigned", async () => {
  await using one = rig();
  const { table, backends, last, end } = one;
  backends.set("a.1/7-1", backend("here", 1, 20));
  table.assigned("a.1/7-1", backend("here", 1, 20));
  table.set("a.1/7-1", own("a.1"));
  await table.applied(end.signal);
  expect(last()).toMatchObject([{ weight: 20 }]);
  backends.delete("a.1/7-1");
  table.removed("a.1/7-1", backend("here", 1, 20));
  table.delete("a.1/7-1");
  table.set("a.1/7-1", own("a.1"));
  table.set("a.2/7-2", own("a.2"));
  await table.applied(end.signal);
  expect(last().map(({ weight }) => weight)).toEqual([20, 100]);
  table.setHealth("a.2/7-2", 0.5);
  table.setHealth("unknown", 0.5);
  await table.applied(end.signal);
  expect(last().map(({ weight }) => weight)).toEqual([20, 50]);
});

test("one update runs at a time, the newest state is next, those in between are skipped", async () => {
  const gates: (() => void)[] = [];
  await using one = rig(() => new Promise<void>((resolve) => gates.push(resolve)));
  const { table, applied, end } = one;
  await turn();
  for (let n = 0; n < 10; n += 1) table.set(`a.${n}/7-1`, own(`a.${n}`));
  let reached = false;
  const waiting = table.applied(end.signal).then(() => (reached = true));
  gates.shift()?.();
  await turn();
  expect(applied.map(([first]) => first?.backends.length)).toEqual([0]);
  expect(reached).toBe(false);
  gates.shift()?.();
  await waiting;
  expect(applied.map(([first]) => first?.backends.length)).toEqual([0, 10]);
  expect(gates).toEqual([]);
});

test("a failed update is logged and tried again with the newest state", async () => {
  let failures = 2;
  await using one = rig(async () => {
    await Promise.resolve();
    if (failures-- > 0) throw new Error("nft: busy");
  });
  const { table, applied, log, clock } = one;
  table.set("a.1/7-1", own("a.1"));
  await clock.advanceAsync(1_000);
  expect(applied.map(([first]) => first?.backends.length)).toEqual([1]);
  expect(log.records.filter(({ level }) => level === "error")).toHaveLength(2);
});
