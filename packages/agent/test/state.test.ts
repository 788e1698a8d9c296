import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AssignedTask, Endpoint, RegistryLogin, TaskState, TaskStatus } from "@warren/api";
import { silentLogger, systemClock } from "@warren/std";
import { FakeClock, RecordingLogger, seededRandom } from "@warren/std/testing";
import { describe, expect, test } from "vitest";
import { openLevelState, type AgentState } from "../src/index.ts";
import { LocalRecord } from "../src/local-record.ts";
import { MemoryDisk } from "./fakes/memory-state.ts";

const random = seededRandom(1);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const texts = (entries: ReadonlyMap<string, Uint8Array>): Record<string, string> =>
  Object.fromEntries([...entries].map(([key, value]) => [key, new TextDecoder().decode(value)]));

/** Opens what an earlier open left. */
type Reopen = () => Promise<AgentState>;

describe.each([
  [
    "memory",
    async (use: (open: Reopen) => Promise<void>) => {
      const disk = new MemoryDisk(random);
      await use(() => Promise.resolve(disk.open()));
    },
  ],
  [
    "LevelDB",
    async (use: (open: Reopen) => Promise<void>) => {
      const folder = await mkdtemp(join(tmpdir(), "warren-state-"));
      await use(() => openLevelState(join(folder, "record")));
      await rm(folder, { recursive: true });
    },
  ],
])("the agent's state in %s", (_name, within) => {
  test("is empty at first, and holds what was written when it is opened again", () =>
    within(async (open) => {
      const state = await open();
      expect((await state.load()).size).toBe(0);
      await state.write([
        { key: "a", value: bytes("1") },
        { key: "b/c", value: bytes("2") },
      ]);
      await state.write([
        { key: "a", value: undefined },
        { key: "d", value: bytes("") },
        { key: "none", value: undefined },
      ]);
      await state.close();
      const again = await open();
      expect(texts(await again.load())).toEqual({ "b/c": "2", d: "" });
      await again.close();
    }));

  test("takes writes in the order of the calls", () =>
    within(async (open) => {
      const state = await open();
      await Promise.all(Array.from({ length: 50 }, (_, n) => state.write([{ key: "a", value: bytes(String(n)) }])));
      expect(texts(await state.load())).toEqual({ a: "49" });
      await state.close();
    }));
});

test("the record on disk is for its owner alone", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-state-"));
  const state = await openLevelState(join(folder, "record"));
  expect((await stat(join(folder, "record"))).mode & 0o777).toBe(0o700);
  await state.close();
  await rm(folder, { recursive: true });
});

test("a record that is loaded again says what was said to it", async () => {
  const disk = new MemoryDisk(random);
  const record = await LocalRecord.load(disk.open());
  const end = new AbortController();
  const running = record.run({ clock: systemClock, random, log: silentLogger }, end.signal).catch(() => undefined);
  const network = { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" };
  record.setNode({ id: "n", network });
  const assigned = AssignedTask.fromPartial({ id: "t", serviceName: "web", desiredState: TaskState.RUNNING });
  record.addTask({ assigned, status: TaskStatus.create(), local: {} });
  record.addTask({ assigned: { ...assigned, id: "gone" }, status: TaskStatus.create(), local: {} });
  record.setStatus("t", TaskStatus.fromPartial({ state: TaskState.RUNNING, at: new Date(5) }));
  record.setLocal("t", { address: "10.77.1.2", netnsPath: "/n", removed: true });
  record.setLocal("t", { removed: undefined, verdict: { kind: "failed", code: "C", message: "m" } });
  record.deleteTask("gone");
  record.setEndpoint(Endpoint.fromPartial({ serviceId: "s", vip: "10.96.0.1" }));
  record.setRegistry(RegistryLogin.fromPartial({ registry: "r:5000/x", auth: { username: "u", password: "p" } }));
  await record.durable(end.signal);
  end.abort();
  await running;
  const again = await LocalRecord.load(disk.open());
  expect(again.node).toEqual({ id: "n", network });
  expect([...again.tasks]).toEqual([
    [
      "t",
      {
        assigned,
        status: TaskStatus.fromPartial({ state: TaskState.RUNNING, at: new Date(5) }),
        local: { address: "10.77.1.2", netnsPath: "/n", verdict: { kind: "failed", code: "C", message: "m" } },
      },
    ],
  ]);
  expect([...again.endpoints.keys()]).toEqual(["s"]);
  expect(again.registries.get("r:5000/x")?.auth).toEqual({ username: "u", password: "p" });
});

test("a write that fails is told and tried again, and durable() waits for it", async () => {
  const disk = new MemoryDisk(random);
  const record = await LocalRecord.load(disk.open());
  const end = new AbortController();
  const clock = new FakeClock();
  const log = new RecordingLogger();
  const running = record.run({ clock, random, log }, end.signal).catch(() => undefined);
  disk.failures = 3;
  record.setNode({ id: "n" });
  let durable = false;
  const waiting = record.durable(end.signal).then(() => (durable = true));
  await clock.advanceAsync(50);
  expect(durable).toBe(false);
  record.setNode({ id: "newer" });
  for (let step = 0; step < 40; step += 1) await clock.advanceAsync(50);
  await waiting;
  expect(log.records.filter(({ level }) => level === "error")).toHaveLength(3);
  expect((await LocalRecord.load(disk.open())).node?.id).toBe("newer");
  end.abort();
  await running;
});

test.each([
  ["node", '{"format":2,"id":"n"}', "format 2"],
  ["node", "{", "JSON"],
  ["unheard/of", "", "no such entry"],
  ["task/t/status", "", "a part of it is missing"],
  ["endpoint/s", "\u{ffff}", ""],
])("what can't be read is refused: %s", async (key, value, why) => {
  const disk = new MemoryDisk(random);
  disk.entries.set(key, bytes(value));
  const loading = LocalRecord.load(disk.open());
  await expect(loading).rejects.toMatchObject({ code: "AGENT_RECORD_UNREADABLE" });
  await expect(loading).rejects.toThrow(why);
});
