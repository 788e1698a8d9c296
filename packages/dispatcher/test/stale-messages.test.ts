/** Each way in which a manager or a worker may be behind, and that no container is stopped by it (L13, L14). */
import { ApiError, LeaseState, NodeStatus_State, TaskState, type Epoch, type Point } from "@warren/api";
import { assignedKinds, assignmentDigest, leaseKey } from "@warren/api/model";
import { FakeClock, seededRandom, until } from "@warren/std/testing";
import { Store, StoreStateMachine } from "@warren/store";
import { memoryManagers, MemoryLog, MemoryProposer, type MemoryStore } from "@warren/store/testing";
import { describe, expect, test } from "vitest";

import { createCluster } from "../src/testing/index.ts";
import {
  changeLease,
  deploy,
  failureOf,
  harness,
  memoryStoreOf,
  names,
  nodeId,
  place,
  report,
  run,
  type Harness,
} from "./harness.ts";

const a = nodeId("a");
type Made = MemoryStore & { readonly clock: FakeClock };

/** A cluster in which node a holds `web.1`, which runs. */
async function cluster(made: Made = memoryStoreOf()): Promise<Harness> {
  const h = await harness({}, { made });
  await h.store.update((tx) => {
    deploy(tx, "web");
    place(tx, "web", 1, a, { epoch: tx.epoch, state: TaskState.RUNNING });
  });
  return h;
}

function epochOf(h: Harness): Epoch {
  return h.store.view().resolve("slots", "web.1").leases[0]!.epoch!;
}

/** A leader whose disk has only the first `commands` of a log. */
async function setBack({ proposer: { applied } }: MemoryStore, commands: number, seed = 99): Promise<Made> {
  const clock = new FakeClock();
  const log = new MemoryLog();
  log.entries.push(...applied.slice(0, commands));
  for (const { term } of log.entries) while (log.term < term) log.elect(undefined);
  const machine = new StoreStateMachine();
  const proposer = new MemoryProposer(machine, log);
  proposer.applyCommitted();
  const store = new Store({ clock, random: seededRandom(seed), machine, proposer });
  const beginTerm = (): ReturnType<MemoryStore["beginTerm"]> => store.beginTerm(log.elect(proposer));
  await beginTerm();
  return { store, machine, proposer, clock, beginTerm, endTerm: () => store.endTerm() };
}

/** Checks that a manager which lacks `lastApplied` sends no assignments to a worker that holds `web.1` of `epoch`. */
async function isKeptAlive(h: Harness, lastApplied: Point, epoch: Epoch, why: RegExp): Promise<void> {
  const worker = await h.worker("a", { hostname: "edge-1", lastApplied });
  const historyLost = worker.session.values[0]?.historyLost ?? "";
  expect(historyLost).toMatch(why);
  // No assignments are sent, so no object is removed or replaced, and no digest is dropped.
  const refused = await worker.assignments(Buffer.alloc(7, 1)).ended;
  expect(ApiError.is(refused, "API_PRECONDITION")).toBe(true);
  expect((refused as Error).message).toContain(historyLost);
  // It may report, and is not sent the removal of leases that this manager lacks.
  await worker.report(report("web.1", "HELD", { epoch, runs: [run(TaskState.RUNNING)] }));
  // The node is stored as unknown: it gets no tasks, and its tasks are not moved away as from a node that is down.
  expect(h.store.view().get("nodes", a)?.status).toMatchObject({
    state: NodeStatus_State.UNKNOWN,
    message: historyLost,
  });
  expect(
    h.store
      .view()
      .list("events")
      .filter(({ action }) => action === "history-lost"),
  ).toMatchObject([{ objectId: a, objectName: "edge-1", message: `gets no assignments: ${historyLost}` }]);
  // Heartbeats and changes of the node don't make it ready.
  await worker.heartbeat();
  await h.store.update((tx) => tx.update("nodes", { ...tx.resolve("nodes", a), subnet: "10.77.9.0/24" }));
  await worker.session.next(2);
  expect(h.store.view().get("nodes", a)?.status?.state).toBe(NodeStatus_State.UNKNOWN);
}

describe("a manager that comes back", () => {
  test("empty stops no container", async () => {
    await using before = await cluster();
    const made = { ...memoryStoreOf(), clock: new FakeClock() };
    await createCluster(made.store, { counter: 1, id: "second" });
    await using after = await harness({}, { made });
    await isKeptAlive(after, before.store.point(), epochOf(before), /another history with the same counter/);
  });

  test("empty, with no cluster yet, refuses the session", async () => {
    await using before = await cluster();
    const made = memoryStoreOf();
    await using after = await harness({}, { made });
    await made.store.update((tx) => tx.delete("clusters", "cluster"));
    const session = after.session(a, { lastApplied: before.store.point() });
    expect(ApiError.is(await session.ended, "API_UNAVAILABLE")).toBe(true);
  });

  test("older stops no container that its lost history had started", async () => {
    await using before = await cluster();
    const { length } = before.proposer.applied;
    for (let n = 0; n < 5; n++) await before.store.update((tx) => deploy(tx, `s${n}`, { vip: `10.96.1.${n}` }));
    await using after = await harness({}, { made: await setBack(before, length - 1) });
    expect(after.store.view().get("slots", "web.1")).toBeUndefined();
    expect(after.store.view().version).toBeLessThan(before.store.view().version);
    await isKeptAlive(after, before.store.point(), epochOf(before), /a part of the history was lost/);
  });

  test("from another history stops no container, even at a later version", async () => {
    await using before = await cluster();
    const { length } = before.proposer.applied;
    await using after = await harness({}, { made: await setBack(before, length - 1) });
    for (let n = 0; n < 20; n++) await after.store.update((tx) => deploy(tx, `s${n}`, { vip: `10.96.1.${n}` }));
    expect(after.store.view().version).toBeGreaterThan(before.store.view().version);
    await isKeptAlive(after, before.store.point(), epochOf(before), /a part of the history was lost/);
  });

  test.each([
    ["a restored cluster", { counter: 1, id: "first" }, { counter: 2, id: "second" }, /incarnation 1 .* are in 2/],
    ["an earlier incarnation", { counter: 2, id: "second" }, { counter: 1, id: "first" }, /was set back/],
    [
      "another history with the same counter",
      { counter: 2, id: "x" },
      { counter: 2, id: "y" },
      /2 is x there and y here/,
    ],
  ])("with %s stops no container, and gives the reason (L14)", async (_, theirs, ours, why) => {
    await using before = await cluster();
    const made = await setBack(before, before.proposer.applied.length);
    await made.store.update((tx) => tx.update("clusters", { ...tx.resolve("clusters", "cluster"), incarnation: ours }));
    await using after = await harness({}, { made });
    const lost = { reign: 77, index: 500 };
    await isKeptAlive(after, { ...before.store.point(), incarnation: theirs }, lost, why);
  });
});

describe("a manager of the same history", () => {
  test("may send assignments at a later point or an equal one", async () => {
    const clock = new FakeClock();
    const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
    await using before = await cluster({ ...first!, clock });
    const lastApplied = before.store.point();
    await second!.beginTerm();
    await using after = await harness({}, { made: { ...second!, clock } });
    const worker = await after.worker("a", { lastApplied });
    expect(worker.session.values[0]?.historyLost).toBe("");
    expect(names(await worker.assignments().next(1))).toContain(`lease:${leaseKey("web.1", epochOf(before))}`);
    expect(after.store.view().get("nodes", a)?.status?.state).toBe(NodeStatus_State.READY);
  });

  test("looks for the point after a read barrier, so committed commands that it has yet to apply count", async () => {
    const clock = new FakeClock();
    const made = { ...memoryManagers(1, { clock, random: seededRandom(1) })[0]!, clock };
    await using h = await cluster(made);
    const catchUp = h.proposer.holdBack();
    const written = h.store.update((tx) => deploy(tx, "db", { vip: "10.96.0.11" }));
    await Promise.resolve();
    const point = { ...h.store.point(), version: h.store.point().version + 1 };
    expect(h.store.knows(point)).toBe(false);
    const session = h.session(a, { lastApplied: point });
    await clock.advanceAsync(10);
    expect(session.values).toEqual([]);
    catchUp();
    await written;
    expect((await session.next(1)).historyLost).toBe("");
  });

  test("sends assignments to a node without a last applied point", async () => {
    await using h = await cluster();
    const worker = await h.worker("a");
    expect(worker.session.values[0]?.historyLost).toBe("");
    expect(names(await worker.assignments().next(1))).toContain(`lease:${leaseKey("web.1", epochOf(h))}`);
  });
});

test("a deposed leader ends its sessions and streams, and writes and sends nothing more", async () => {
  const clock = new FakeClock();
  const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
  await using h = await cluster({ ...first!, clock });
  const worker = await h.worker("a");
  const stream = worker.assignments();
  await stream.next(1);
  const running = h.log.records.length;
  await second!.beginTerm();
  const decided = second!.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
  // The store knows that it is deposed, before `run` has returned.
  for (const call of [
    async () => worker.report(report("web.1", "RELEASED", { epoch: epochOf(h) })),
    async () => worker.heartbeat(),
  ])
    expect(ApiError.is(await failureOf(call), "API_UNAVAILABLE")).toBe(true);
  await decided;
  expect(ApiError.is(await worker.session.ended, "API_UNAVAILABLE")).toBe(true);
  expect(ApiError.is(await stream.ended, "API_UNAVAILABLE")).toBe(true);
  expect(stream.values).toHaveLength(1);
  expect(second!.store.view().resolve("slots", "web.1").leases[0]?.state).toBe(LeaseState.RELEASING);
  expect(h.log.records.slice(running).map(({ event }) => event)).toContain("the term is over");
});

test("a leader that does not know that it is deposed has its computed writes refused", async () => {
  const clock = new FakeClock();
  const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
  await using h = await cluster({ ...first!, clock });
  const worker = await h.worker("a");
  const catchUp = h.proposer.holdBack();
  await second!.beginTerm();
  await second!.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
  // The first manager has not applied this and still considers itself the leader.
  const refused = await failureOf(() => worker.report(report("web.1", "RELEASED", { epoch: epochOf(h) })));
  expect(refused).toMatchObject({ code: "STORE_NOT_LEADER" });
  catchUp();
  expect(second!.store.view().resolve("slots", "web.1").leases[0]?.state).toBe(LeaseState.RELEASING);
  await until("it is over", () => h.log.records.some(({ event }) => event === "the term is over"));
});

test("a leader that is elected again before its `run` ended serves in the new term only", async () => {
  await using h = await cluster();
  const old = await h.worker("a");
  await h.beginTerm();
  h.lead();
  const worker = await h.worker("a");
  // The first term's run ends as it sees a change that is not of its term.
  await h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
  expect(ApiError.is(await old.session.ended, "API_UNAVAILABLE")).toBe(true);
  expect(await worker.heartbeat()).toBeGreaterThan(0);
  expect(names(await worker.assignments().next(1))).toContain("lease:web.1/");
});

test("a replaced session's calls are refused, and it gets no messages", async () => {
  await using h = await cluster();
  const old = await h.worker("a");
  const stream = old.assignments();
  await stream.next(1);
  await h.worker("a");
  expect(ApiError.is(await old.session.ended, "API_ABORTED")).toBe(true);
  expect(ApiError.is(await stream.ended, "API_ABORTED")).toBe(true);
  for (const call of [
    async () => old.report(report("web.1", "RELEASED", { epoch: epochOf(h) })),
    async () => old.heartbeat(),
    async () => Promise.reject(await old.assignments().ended),
  ])
    expect(ApiError.is(await failureOf(call), "API_NOT_FOUND")).toBe(true);
  expect(h.store.view().resolve("slots", "web.1").leases[0]?.state).toBe(LeaseState.HELD);
});

test("a worker whose record was set back gets the difference, and removals of released leases only", async () => {
  await using h = await cluster();
  const now = await h.worker("a");
  const first = await now.assignments().next(1);
  const held = Buffer.from(
    first.changes
      .map(({ kind, key, object }) => assignmentDigest(kind, key, object!).toString("hex"))
      .toSorted()
      .join(""),
    "hex",
  );
  const lastApplied = first.point!;
  const old = epochOf(h);
  await h.store.update((tx) => {
    place(tx, "web", 2, a, { epoch: tx.epoch });
    changeLease(tx, "web.1", { state: LeaseState.RELEASED });
  });
  // With its record set back, the worker still holds `web.1` and lacks `web.2`.
  const worker = await h.worker("a", { lastApplied });
  expect(worker.session.values[0]?.historyLost).toBe("");
  const stream = worker.assignments(held);
  const message = await stream.next(1);
  const added = h.store.view().resolve("slots", "web.2").leases[0]!.epoch;
  expect(names(message)).toBe(`lease:${leaseKey("web.2", added)}`);
  const digestOf = (kind: "lease" | "backend"): string => {
    const { key, object } = first.changes.find((change) => change.kind === assignedKinds[kind].kind)!;
    return assignmentDigest(assignedKinds[kind].kind, key, object!).toString("hex");
  };
  expect(message.dropped.toString("hex")).toBe([digestOf("lease"), digestOf("backend")].toSorted().join(""));
  await worker.report(report("web.1", "HELD", { epoch: old, runs: [run(TaskState.RUNNING, { life: 5, run: 1 })] }));
  expect(names(await stream.next(2))).toBe(`-lease:${leaseKey("web.1", old)}`);
  expect(h.store.view().resolve("slots", "web.1").leases[0]?.state).toBe(LeaseState.RELEASED);
});
