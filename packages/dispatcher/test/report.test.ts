import {
  ApiError,
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  RunEnd,
  TaskState,
  TaskStatus,
  type Lease,
  type Slot,
  type Task,
} from "@warren/api";
import { leaseKey, taskIdOf } from "@warren/api/model";
import { FakeClock } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { advanced } from "../src/report.ts";
import {
  changeLease,
  deploy,
  epoch,
  harness,
  lease,
  memoryStoreOf,
  names,
  nodeId,
  place,
  record,
  report,
  run,
  slot,
  type Harness,
  type Worker,
} from "./harness.ts";

const [a, b] = [nodeId("a"), nodeId("b")];

/** `web.1` on node a, `web.2` on node b. */
async function filled(): Promise<Harness> {
  const h = await harness();
  await h.store.update((tx) => {
    deploy(tx, "web");
    place(tx, "web", 1, a);
    place(tx, "web", 2, b);
  });
  return h;
}

const slotOf = (h: Harness, id = "web.1"): Slot => h.store.view().resolve("slots", id);
const leaseOf = (h: Harness, id = "web.1"): Lease => slotOf(h, id).leases.at(-1)!;
const rows = (h: Harness, id = "web.1"): readonly Task[] => h.store.view().find("tasks", "slot", id);
const states = (h: Harness, id = "web.1"): TaskState[] =>
  rows(h, id)
    .map(({ status }) => status!.state)
    .toSorted((x, y) => x - y);

describe("runs that a node reports", () => {
  test("are stored when the report is answered, under ids that both sides compute, with an event when one runs", async () => {
    await using h = await filled();
    const worker = await h.worker("a", { hostname: "edge-1" });
    const at = new Date(5_000);
    await worker.report(report("web.1", "HELD", { runs: [run(TaskState.RUNNING, { at, message: "started" })] }));
    const id = taskIdOf("web.1", epoch(1), { life: 0, run: 1 });
    expect(h.store.view().get("tasks", id)?.status).toMatchObject({ state: TaskState.RUNNING, at, message: "started" });
    expect(h.store.view().list("events").at(-1)).toMatchObject({
      objectId: id,
      objectName: "web.1",
      action: "started",
      message: "runs on edge-1",
    });
  });

  test("L6: after the first have rows of their own, from slot and lease", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(
      report("web.1", "HELD", { runs: [run(TaskState.FAILED), run(TaskState.RUNNING, { life: 41, run: 1 })] }),
    );
    const second = h.store.view().get("tasks", taskIdOf("web.1", epoch(1), { life: 41, run: 1 }));
    expect(second).toMatchObject({
      serviceId: "web",
      serviceName: "web",
      slotId: "web.1",
      slot: { key: { $case: "number", value: 1 } },
      epoch: epoch(1),
      life: 41,
      run: 1,
      nodeId: a,
      versionId: "v-web",
      status: { state: TaskState.RUNNING },
    });
    expect(states(h)).toEqual([TaskState.RUNNING, TaskState.FAILED]);
  });

  test("only move forward, and the first end stays", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    for (const [reported, stored] of [
      [TaskState.PREPARING, TaskState.PREPARING],
      [TaskState.ACCEPTED, TaskState.PREPARING],
      [TaskState.RUNNING, TaskState.RUNNING],
      [TaskState.STARTING, TaskState.RUNNING],
      [TaskState.SHUTDOWN, TaskState.SHUTDOWN],
      [TaskState.RUNNING, TaskState.SHUTDOWN],
      [TaskState.FAILED, TaskState.SHUTDOWN],
      [TaskState.COMPLETE, TaskState.SHUTDOWN],
    ] as const) {
      await worker.report(report("web.1", "HELD", { runs: [run(reported)] }));
      expect(states(h)).toEqual([stored]);
    }
    expect(h.metrics.values.get('warren_dispatcher_lease_reports_total{result="stale"}')).toBe(5);
  });

  test("twice are written once; the same state with more details is written again", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const pulling = report("web.1", "OFFERED", { runs: [run(TaskState.PREPARING, { message: "pulling" })] });
    await worker.report(pulling);
    const { version } = h.store.view();
    await worker.report(pulling);
    expect(h.store.view().version).toBe(version);
    await worker.report(report("web.1", "OFFERED", { runs: [run(TaskState.PREPARING, { message: "pulled" })] }));
    expect(rows(h)[0]?.status?.message).toBe("pulled");
  });

  test("L12: by a worker that lost its record keep the stored fields", () => {
    const startedAt = new Date(5_000);
    const known = { containerId: "c", address: "10.77.1.2", imageDigest: "sha256:1", startedAt, pid: 7 };
    const before = TaskStatus.fromPartial({ state: TaskState.RUNNING, container: known });
    const found = TaskStatus.fromPartial({ state: TaskState.RUNNING, message: "found", container: { pid: 8 } });
    expect(advanced(before, found, new Date(6_000))?.container).toMatchObject({ ...known, pid: 8 });
    const bare = TaskStatus.fromPartial({ state: TaskState.FAILED, message: "gone" });
    expect(advanced(before, bare, new Date(6_000))?.container).toMatchObject(known);
  });

  test("L10: are the last five of a lease, however many there were", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const many = (count: number, from = 1): LeaseReport =>
      report("web.1", "HELD", {
        runs: Array.from({ length: count }, (_, n) =>
          run(TaskState.FAILED, { life: 41, run: from + n, at: new Date(1_000 * (from + n)) }),
        ),
      });
    await worker.report(many(40));
    expect(
      rows(h)
        .map((task) => task.run)
        .toSorted((x, y) => x - y),
    ).toEqual([36, 37, 38, 39, 40]);
    await h.clock.advanceAsync(1_000);
    await worker.report(many(2, 41));
    expect(
      rows(h)
        .map((task) => task.run)
        .toSorted((x, y) => x - y),
    ).toEqual([38, 39, 40, 41, 42]);
    // A worker whose disk was set back reports trimmed runs.
    const { version } = h.store.view();
    await worker.report(many(5, 3));
    expect(h.store.view().version).toBe(version);
  });

  test("L7: are kept in their true order, also if the node's clock was set back", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const failed = (life: number, n: number, at: number) =>
      run(TaskState.FAILED, {
        life,
        run: n,
        status: TaskStatus.fromPartial({
          state: TaskState.FAILED,
          at: new Date(at),
          container: { startedAt: new Date(at) },
        }),
      });
    const before = [1, 2, 3, 4, 5].map((n) => failed(41, n, 1e12 + n));
    await worker.report(report("web.1", "HELD", { runs: before }));
    // After a reboot without a battery-backed clock, the next life's run is of 1970.
    const status = TaskStatus.fromPartial({
      state: TaskState.RUNNING,
      at: new Date(9),
      container: { startedAt: new Date(9) },
    });
    await worker.report(
      report("web.1", "HELD", { runs: [...before.slice(1), run(TaskState.RUNNING, { life: 42, run: 1, status })] }),
    );
    const id = taskIdOf("web.1", epoch(1), { life: 42, run: 1 });
    expect(h.store.view().get("tasks", id)?.status?.state).toBe(TaskState.RUNNING);
    const { version } = h.store.view();
    await worker.report(
      report("web.1", "HELD", { runs: [...before.slice(1), run(TaskState.RUNNING, { life: 42, run: 1, status })] }),
    );
    expect(h.store.view().version).toBe(version);
  });

  test("L7: have their late ends stored, also if the node's clock was set back meanwhile", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const ended = (n: number, at: number) => run(TaskState.FAILED, { life: 41, run: n, at: new Date(at) });
    const first = [1, 2, 3, 4].map((n) => ended(n, 1e12 + n));
    const fifth = run(TaskState.RUNNING, { life: 41, run: 5, at: new Date(1e12 + 5) });
    await worker.report(report("web.1", "HELD", { runs: [...first, fifth] }));
    const later = [6, 7, 8, 9, 10].map((n) => ended(n, 1e11 + n));
    await worker.report(report("web.1", "SETTLED", { runs: later, settled: "its restart policy is none" }));
    expect(states(h)).toEqual(Array.from({ length: 5 }, () => TaskState.FAILED));
  });

  test("leave at most one row that is not ended, also if ends were not reported", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(report("web.1", "HELD", { runs: [run(TaskState.RUNNING)] }));
    await worker.report(report("web.1", "HELD", { runs: [run(TaskState.STARTING, { life: 42, run: 1 })] }));
    expect(rows(h).map(({ life, status }) => [life, status?.state, status?.message])).toEqual(
      expect.arrayContaining([
        [0, TaskState.ORPHANED, "a later run of its lease has begun; how this one ended was not reported"],
        [42, TaskState.STARTING, ""],
      ]),
    );
    // A late end of an earlier run is stored, and ends no other run.
    await worker.report(report("web.1", "HELD", { runs: [run(TaskState.FAILED)] }));
    expect(states(h)).toEqual([TaskState.STARTING, TaskState.FAILED]);
  });

  test("have texts that are cut, and no fields that the manager sets", () => {
    const reported = TaskStatus.create({
      state: TaskState.FAILED,
      message: "x".repeat(5_000),
      code: "y".repeat(500),
      pending: { nodes: 3 },
    });
    const next = advanced(undefined, reported, new Date(7));
    expect(next).toMatchObject({ at: new Date(7), pending: undefined });
    expect([next?.message.length, next?.code.length]).toEqual([1_000, 100]);
  });
});

describe("a lease that its node reports", () => {
  test("carries the slot's record", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const counts = record({ runs: 3, restarts: 2, windowMs: 4_000, failures: 2 });
    await worker.report(report("web.1", "HELD", { record: counts }));
    expect(leaseOf(h).record).toMatchObject({ runs: 3, restarts: 2, windowMs: 4_000, bootId: "boot", failures: 2 });
  });

  test("L9: has a record of its own, whatever others of its slot report", async () => {
    await using h = await filled();
    const [onA, onB] = [await h.worker("a"), await h.worker("b")];
    const records = (): unknown[] => slotOf(h).leases.map((each) => each.record);
    await onA.report(report("web.1", "HELD", { record: record({ runs: 3, failures: 1 }) }));
    await h.store.update((tx) => {
      const found = tx.resolve("slots", "web.1");
      const incoming = lease(b, { epoch: epoch(2), state: LeaseState.OFFERED, address: "10.77.2.2" });
      tx.update("slots", { ...found, leases: [...found.leases, incoming] });
    });
    await onB.report(report("web.1", "OFFERED", { epoch: epoch(2), record: record({ runs: 3, rejections: 1 }) }));
    await onA.report(report("web.1", "HELD", { record: record({ runs: 4, restarts: 2 }) }));
    expect(records()).toMatchObject([
      { runs: 4, restarts: 2, rejections: 0 },
      { runs: 3, rejections: 1 },
    ]);
  });

  test("L4: as settled though its slot is settled no more changes no count: the slot has begun anew", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(report("web.1", "SETTLED", { record: record({ runs: 4, restarts: 2 }), settled: "enough" }));
    await h.store.update((tx) => {
      changeLease(tx, "web.1", { state: LeaseState.RELEASING, record: record({ runs: 4 }) });
      tx.update("slots", { ...tx.resolve("slots", "web.1"), settled: "" });
    });
    await worker.report(report("web.1", "RELEASED", { record: record({ runs: 4, restarts: 2 }), settled: "enough" }));
    expect(leaseOf(h)).toMatchObject({ state: LeaseState.RELEASED, record: { runs: 4, restarts: 0 } });
  });

  test("L12: without the record, which was lost, is answered with the stored record", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(report("web.1", "SETTLED", { record: record({ runs: 4, failures: 2 }), settled: "enough" }));
    const { records } = await worker.report(report("web.1", "HELD"));
    expect(records).toMatchObject([
      { slotId: "web.1", epoch: epoch(1), record: { runs: 4, failures: 2 }, settled: "enough" },
    ]);
    expect(leaseOf(h).record).toMatchObject({ runs: 4, failures: 2 });
    expect((await worker.report(report("web.1", "HELD", { record: record({ runs: 5 }) }))).records).toEqual([]);
    expect(leaseOf(h).record).toMatchObject({ runs: 5 });
  });

  test("L4: as settled settles its slot, and is not released by that", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(report("web.1", "SETTLED", { settled: "failed 3 times in 60 s" }));
    expect(slotOf(h).settled).toBe("failed 3 times in 60 s");
    expect(leaseOf(h).state).toBe(LeaseState.HELD);
  });

  test("L4: as settled while it is releasing does not settle the slot", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
    await worker.report(report("web.1", "SETTLED", { settled: "failed 3 times" }));
    expect(slotOf(h).settled).toBe("");
  });

  test("L4: as stopping is acknowledged, and no longer reverted", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
    await worker.report(report("web.1", "HELD"));
    expect(leaseOf(h).releaseAcknowledged).toBe(false);
    await worker.report(report("web.1", "RELEASING"));
    expect(leaseOf(h)).toMatchObject({ state: LeaseState.RELEASING, releaseAcknowledged: true });
  });

  test("L4: as stopping, after the manager reverted that, is released all the same", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await worker.report(report("web.1", "RELEASING"));
    expect(leaseOf(h)).toMatchObject({ state: LeaseState.RELEASING, releaseAcknowledged: true });
  });

  test("as released is released and unassigned, and its runs end", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    await h.clock.advanceAsync(60_000 / 12);
    await worker.report(report("web.1", "RELEASED"));
    expect(leaseOf(h)).toMatchObject({ state: LeaseState.RELEASED, since: new Date(h.clock.now()) });
    expect(states(h)).toEqual([TaskState.SHUTDOWN]);
    expect(names(await stream.next(2))).toContain("-lease:web.1/7-1");
  });

  test("as held is stored as was_held", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    await h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.OFFERED, wasHeld: false }));
    await worker.report(report("web.1", "OFFERED"));
    expect(leaseOf(h).wasHeld).toBe(false);
    await worker.report(report("web.1", "HELD"));
    expect(leaseOf(h).wasHeld).toBe(true);
  });

  test("with an image digest sets that of its version, once", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`;
    await worker.report(report("web.1", "HELD", { imageDigest: digestOf("1") }));
    await worker.report(report("web.1", "HELD", { imageDigest: digestOf("2") }));
    expect(h.store.view().get("versions", "v-web")?.imageDigest).toBe(digestOf("1"));
  });
});

describe("L10: a report", () => {
  test("L11: of another node's lease is refused with the reason, and changes nothing; others in the request are stored", async () => {
    await using h = await filled();
    await h.worker("b", { hostname: "edge-2" });
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    const before = slotOf(h, "web.2");
    const { refused } = await worker.report(
      report("web.2", "RELEASED"),
      report("web.1", "HELD", { runs: [run(TaskState.RUNNING)] }),
    );
    expect(refused).toMatchObject([{ slotId: "web.2", epoch: epoch(1) }]);
    expect(refused[0]?.why).toContain(`lease web.2/7-1 is node edge-2's (${b})`);
    expect(slotOf(h, "web.2")).toBe(before);
    expect(states(h)).toEqual([TaskState.RUNNING]);
    await h.clock.advanceAsync(1_000);
    expect(stream.values.slice(1).map(names).join(" ")).toBe("backend:web.1/7-1");
  });

  test("of a lease that is gone or released is answered with its removal, and not stored", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    const { reign } = h.store.term!;
    const gone = epoch(h.store.view().version, reign);
    await h.store.update((tx) => {
      const found = tx.resolve("slots", "web.1");
      tx.update("slots", {
        ...found,
        leases: [lease(a, { epoch: gone, state: LeaseState.RELEASED }), ...found.leases],
      });
    });
    await worker.report(
      report("web.1", "HELD", { epoch: gone, runs: [run(TaskState.RUNNING)] }),
      report("forgotten.1", "HELD", { epoch: gone }),
    );
    expect(names(await stream.next(2))).toBe(
      [`-lease:${leaseKey("web.1", gone)}`, `-lease:${leaseKey("forgotten.1", gone)}`].join(" "),
    );
    expect(rows(h)).toHaveLength(1);
  });

  test("L14: of a lease of another history is counted as unknown, and no removal is sent", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    const { reign } = h.store.term!;
    const later = epoch(h.store.view().version + 100, reign);
    await worker.report(
      report("web.1", "HELD", { epoch: epoch(2, 12_345), versionId: "v-lost", address: "10.77.9.9" }),
      report("gone.1", "HELD", { epoch: epoch(3, 12_345) }),
      report("web.1", "HELD", { epoch: later }),
    );
    await h.clock.advanceAsync(1_000);
    expect(stream.values).toHaveLength(1);
    expect(h.metrics.values.get('warren_dispatcher_lease_reports_total{result="kept"}')).toBe(3);
    const said = h.log.records.find(({ event }) => event === "leases of another history are kept as unknown");
    expect(said?.fields).toMatchObject({
      leases: 3,
      first: [{ lease: "web.1/9ix-2", version: "v-lost", address: "10.77.9.9" }, {}, {}],
    });
  });

  test.each<[string, LeaseReport, string]>([
    ["a slot's id of another form", report("web", "HELD"), "leases[1].slot_id"],
    ["no epoch", LeaseReport.create({ slotId: "web.1", state: LeaseReport_State.HELD }), "leases[1].epoch"],
    ["no state", LeaseReport.create({ slotId: "web.1", epoch: epoch(1) }), "leases[1].state"],
    [
      "a task's state that is the manager's",
      report("web.1", "HELD", { runs: [run(TaskState.PENDING)] }),
      "leases[1].runs[0].status.state",
    ],
    [
      "a run that the manager does not name",
      report("web.1", "HELD", { runs: [run(TaskState.RUNNING, { run: 2 })] }),
      "leases[1].runs[0].life",
    ],
    [
      "run 0",
      report("web.1", "HELD", { runs: [run(TaskState.RUNNING, { life: 1, run: 0 })] }),
      "leases[1].runs[0].run",
    ],
    [
      "no status",
      report("web.1", "HELD", { runs: [{ life: 1, run: 1, status: undefined }] }),
      "leases[1].runs[0].status",
    ],
    ["a digest of another form", report("web.1", "HELD", { imageDigest: "latest" }), "leases[1].image_digest"],
    ["an endless text", report("web.1", "HELD", { settled: "x".repeat(70_000) }), "leases[1]"],
  ])("with %s is refused as a whole", async (_, bad, field) => {
    await using h = await filled();
    const worker = await h.worker("a");
    const good = report("web.1", "HELD", { runs: [run(TaskState.RUNNING)] });
    await expect(worker.report(good, bad)).rejects.toMatchObject({
      failure: { code: "API_INVALID", violations: [{ field }] },
    });
    expect(states(h)).toEqual([TaskState.ASSIGNED]);
  });

  test("of more leases than the limit of a request is refused", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const many = Array.from({ length: 1_001 }, () => report("web.1", "HELD"));
    await expect(worker.report(...many)).rejects.toMatchObject({ failure: { violations: [{ field: "leases" }] } });
  });

  test("has its texts cut before they are stored", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const end = { taskId: "t", message: "x".repeat(9_000), code: "y".repeat(900) };
    const counts = record({ bootId: "z".repeat(500), lastEnd: end as never });
    await worker.report(report("web.1", "SETTLED", { settled: "s".repeat(9_000), record: counts }));
    const { settled } = slotOf(h);
    const { record: stored } = leaseOf(h);
    expect([
      settled.length,
      stored?.bootId.length,
      stored?.lastEnd?.message.length,
      stored?.lastEnd?.code.length,
    ]).toEqual([1_000, 100, 1_000, 100]);
  });

  test("that can't be stored is answered with the error, so that the node sends it again", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const runs = report("web.1", "HELD", { runs: [run(TaskState.RUNNING)] });
    h.proposer.failNext("outcome-unknown-lost");
    await expect(worker.report(runs)).rejects.toMatchObject({ code: "STORE_OUTCOME_UNKNOWN" });
    await worker.report(runs);
    expect(states(h)).toEqual([TaskState.RUNNING]);
  });

  test("of a replaced session is not stored, even if it was sent before", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const release = h.proposer.hold();
    // Another command is being written, so the report waits.
    const other = h.store.update((tx) => deploy(tx, "db", { vip: "10.96.0.11" }));
    await Promise.resolve();
    const reported = worker.report(report("web.1", "RELEASED")).catch((error: unknown) => error);
    const again = h.session(a);
    await h.clock.advanceAsync(10);
    release();
    await other;
    expect(ApiError.is(await reported, "API_ABORTED")).toBe(true);
    await again.next(1);
    expect(leaseOf(h).state).toBe(LeaseState.HELD);
  });
});

test("concurrent reports of many nodes share few commands", async () => {
  await using h = await harness();
  const workers: Worker[] = [];
  for (let n = 0; n < 30; n++) workers.push(await h.worker(n));
  await h.store.update((tx) => {
    deploy(tx, "web");
    for (const [n, { id }] of workers.entries()) tx.create("slots", slot("web", n + 1, [lease(id)]));
  });
  const before = h.proposer.applied.length;
  await Promise.all(
    workers.map((worker, n) =>
      worker.report(report(`web.${n + 1}`, "HELD", { runs: [run(TaskState.RUNNING)], record: record({ runs: 1 }) })),
    ),
  );
  expect(h.proposer.applied.length - before).toBeLessThanOrEqual(2);
  expect(
    h.store
      .view()
      .list("tasks")
      .every(({ status }) => status?.state === TaskState.RUNNING),
  ).toBe(true);
  expect(h.store.view().list("tasks")).toHaveLength(30);
});

test("a request of many large reports is split into commands within the log's limit", async () => {
  const made = memoryStoreOf(new FakeClock(), { maxCommandBytes: 3_500_000 });
  await using h = await harness({}, { made });
  const count = 400;
  await h.store.update((tx) => {
    deploy(tx, "web");
    for (let number = 1; number <= count; number += 1) place(tx, "web", number, a);
  });
  const worker = await h.worker("a");
  const message = "x".repeat(1_000);
  const end = RunEnd.fromPartial({ taskId: "t", message });
  const reports = Array.from({ length: count }, (_, at) =>
    report(`web.${at + 1}`, "HELD", {
      record: record({ runs: 9, lastEnd: end, firstFailure: end }),
      runs: Array.from({ length: 5 }, (_run, run_) => run(TaskState.FAILED, { life: 7, run: run_ + 1, message })),
    }),
  );
  await worker.report(...reports);
  expect(
    h.store
      .view()
      .list("tasks")
      .filter(({ life }) => life === 7),
  ).toHaveLength(5 * count);
});
