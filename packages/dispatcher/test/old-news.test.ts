/** Old news can't undo new: each way in which a manager or a worker may be behind, and that it kills nothing (L13, L14). */
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

/** A manager whose disk has the first `commands` of a log, and that was made the leader. */
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

/** What a worker that has obeyed `obeyed`, and holds `web.1` of `epoch`, meets at a manager that is not to be obeyed. */
async function isKeptAlive(h: Harness, obeyed: Point, epoch: Epoch, why: RegExp): Promise<void> {
  const worker = await h.worker("a", { hostname: "edge-1", obeyed });
  const historyLost = worker.session.values[0]?.historyLost ?? "";
  expect(historyLost).toMatch(why);
  // Nothing is assigned, so nothing is removed or replaced, and no digest of what it holds is dropped.
  const refused = await worker.assignments(Buffer.alloc(7, 1)).ended;
  expect(ApiError.is(refused, "API_PRECONDITION")).toBe(true);
  expect((refused as Error).message).toContain(historyLost);
  // It may report, and what it reports of leases that this manager does not know is kept.
  await worker.report(report("web.1", "HELD", { epoch, runs: [run(TaskState.RUNNING)] }));
  // It is recorded; the node gets no tasks, and those that it has are not moved away as from one that is down.
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
  test("empty kills nothing", async () => {
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
    const session = after.session(a, { obeyed: before.store.point() });
    expect(ApiError.is(await session.ended, "API_UNAVAILABLE")).toBe(true);
  });

  test("older kills nothing: what it has lost is not what the node is to stop", async () => {
    await using before = await cluster();
    const { length } = before.proposer.applied;
    await using after = await harness({}, { made: await setBack(before, length - 1) });
    expect(after.store.view().get("slots", "web.1")).toBeUndefined();
    await isKeptAlive(after, before.store.point(), epochOf(before), /a part of the history was lost/);
  });

  test("from another history kills nothing, however far that has come", async () => {
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
    ["a twin of the same counter", { counter: 2, id: "x" }, { counter: 2, id: "y" }, /2 is x there and y here/],
  ])("as one of %s kills nothing, and says so (L14)", async (_, theirs, ours, why) => {
    await using before = await cluster();
    const made = await setBack(before, before.proposer.applied.length);
    await made.store.update((tx) => tx.update("clusters", { ...tx.resolve("clusters", "cluster"), incarnation: ours }));
    await using after = await harness({}, { made });
    const lost = { reign: 77, index: 500 };
    await isKeptAlive(after, { ...before.store.point(), incarnation: theirs }, lost, why);
  });
});

describe("a manager of the same history", () => {
  test("is obeyed, at a later point or an equal one, whichever manager it is", async () => {
    const clock = new FakeClock();
    const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
    await using before = await cluster({ ...first!, clock });
    const obeyed = before.store.point();
    await second!.beginTerm();
    await using after = await harness({}, { made: { ...second!, clock } });
    const worker = await after.worker("a", { obeyed });
    expect(worker.session.values[0]?.historyLost).toBe("");
    expect(names(await worker.assignments().next(1))).toContain(`lease:${leaseKey("web.1", epochOf(before))}`);
    expect(after.store.view().get("nodes", a)?.status?.state).toBe(NodeStatus_State.READY);
  });

  test("is asked only after a read barrier: what it has yet to apply is not lost", async () => {
    const clock = new FakeClock();
    const made = { ...memoryManagers(1, { clock, random: seededRandom(1) })[0]!, clock };
    await using h = await cluster(made);
    const catchUp = h.proposer.holdBack();
    const written = h.store.update((tx) => deploy(tx, "db", { vip: "10.96.0.11" }));
    await Promise.resolve();
    const point = { ...h.store.point(), version: h.store.point().version + 1 };
    expect(h.store.knows(point)).toBe(false);
    const session = h.session(a, { obeyed: point });
    await clock.advanceAsync(10);
    expect(session.values).toEqual([]);
    catchUp();
    await written;
    expect((await session.next(1)).historyLost).toBe("");
  });

  test("obeys a node that has obeyed nothing yet, or lost its record", async () => {
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
  // It knows by now that it is deposed, whether or not its own `run` was ended.
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

test("a leader that is deposed unnoticed writes nothing that was computed before", async () => {
  const clock = new FakeClock();
  const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
  await using h = await cluster({ ...first!, clock });
  const worker = await h.worker("a");
  const catchUp = h.proposer.holdBack();
  await second!.beginTerm();
  await second!.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
  // The first manager has not applied this: it still takes itself for the leader.
  const refused = await failureOf(() => worker.report(report("web.1", "RELEASED", { epoch: epochOf(h) })));
  expect(refused).toMatchObject({ code: "STORE_NOT_LEADER" });
  catchUp();
  expect(second!.store.view().resolve("slots", "web.1").leases[0]?.state).toBe(LeaseState.RELEASING);
  await until("it is over", () => h.log.records.some(({ event }) => event === "the term is over"));
});

test("a leader that is elected anew before it noticed the end of its term serves in the new one only", async () => {
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

test("a session that was replaced is heard no more, and gets nothing", async () => {
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

test("a worker whose record is old is brought up to date, and loses only what was released since", async () => {
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
  const obeyed = first.point!;
  const old = epochOf(h);
  await h.store.update((tx) => {
    place(tx, "web", 2, a, { epoch: tx.epoch });
    changeLease(tx, "web.1", { state: LeaseState.RELEASED });
  });
  // Set back to the record as it was: it takes itself to hold `web.1` still, and does not know of `web.2`.
  const worker = await h.worker("a", { obeyed });
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
