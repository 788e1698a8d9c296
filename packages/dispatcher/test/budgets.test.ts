/** Bytes of assignments on the wire, of the encoded messages. */
import {
  AssignmentKind,
  AssignmentsMessage,
  AssignmentsMessage_Type,
  AssignmentsRequest,
  LeaseState,
  TaskState,
  type SlotKey,
} from "@warren/api";
import { assignmentDigest, leaseKey, slotIdOf } from "@warren/api/model";
import { newId } from "@warren/std";
import { FakeClock, seededRandom } from "@warren/std/testing";
import { memoryManagers } from "@warren/store/testing";
import { expect, test } from "vitest";

import { createCluster } from "../src/testing/index.ts";
import {
  changeLease,
  deploy,
  harness,
  lease,
  memoryStoreOf,
  nodeId,
  place,
  report,
  run,
  slot,
  type Harness,
  type Reading,
} from "./harness.ts";

const random = seededRandom(3);
const bytesOf = (message: AssignmentsMessage): number => AssignmentsMessage.encode(message).finish().length;

async function quiet(h: Harness): Promise<void> {
  for (let n = 0; n < 10; n++) await h.clock.advanceAsync(100);
}

/** Ids have full length, as `newId` makes them. */
async function cluster(): Promise<Harness> {
  const made = memoryStoreOf();
  await createCluster(made.store, { counter: 1, id: newId(random) });
  return harness({}, { made });
}

test.each<[string, (node: string) => SlotKey["key"]]>([
  ["a replicated service", () => ({ $case: "number", value: 999_999 })],
  ["a global service", (node) => ({ $case: "nodeId", value: node })],
])(
  "a task's life of %s costs two backend messages of 150 bytes to a node that needs it, and none to others",
  async (_, keyOn) => {
    await using h = await cluster();
    const [web, near, far] = [newId(random), newId(random), newId(random)];
    const [n1, n2] = [newId(random), newId(random)];
    await h.store.update((tx) => {
      deploy(tx, web, { networks: [n1] });
      deploy(tx, near, { networks: [n1], vip: "10.96.0.11" });
      deploy(tx, far, { networks: [n2], vip: "10.96.0.12" });
      place(tx, near, 1, nodeId("b"), { state: TaskState.RUNNING });
      place(tx, far, 1, nodeId("c"), { state: TaskState.RUNNING });
    });
    const [owner, neighbour, stranger] = await Promise.all(["a", "b", "c", "d"].map((name) => h.worker(name)));
    const streams = await Promise.all(
      [owner!, neighbour!, stranger!, await h.worker("d")].map(async (worker) => {
        const stream = worker.assignments();
        await stream.next(1);
        return stream;
      }),
    );
    const key = keyOn(owner!.id);
    const id = slotIdOf(web, { key });
    const epoch = await h.store.update((tx) => {
      const made = slot(web, 1, [
        lease(owner!.id, { state: LeaseState.OFFERED, epoch: tx.epoch, versionId: `v-${web}` }),
      ]);
      tx.create("slots", { ...made, meta: { ...made.meta!, id }, key: { key } });
      return tx.epoch;
    });
    await quiet(h);
    const reports = async (state: Parameters<typeof report>[1], ...states: TaskState[]): Promise<void> => {
      for (const each of states) {
        await owner!.report(report(id, state, { epoch, runs: [run(each)] }));
        await quiet(h);
      }
    };
    await reports("OFFERED", TaskState.ACCEPTED, TaskState.PREPARING, TaskState.READY);
    await h.store.update((tx) => changeLease(tx, id, { state: LeaseState.HELD, wasHeld: true }));
    await reports("HELD", TaskState.STARTING, TaskState.RUNNING);
    // Its health changes.
    for (const message of ["healthy", "still healthy"])
      await owner!.report(report(id, "HELD", { epoch, runs: [run(TaskState.RUNNING, { message })] }));
    await h.store.update((tx) => changeLease(tx, id, { state: LeaseState.RELEASING }));
    await quiet(h);
    await reports("RELEASING", TaskState.SHUTDOWN);
    await reports("RELEASED", TaskState.SHUTDOWN);
    const isAbout = (message: AssignmentsMessage): boolean =>
      message.changes.some(({ kind, key: named }) => kind === AssignmentKind.BACKEND && named === leaseKey(id, epoch));
    const backendMessages = (stream: Reading<AssignmentsMessage>): AssignmentsMessage[] =>
      stream.values.slice(1).filter(isAbout);
    const [own, needed, ...others] = streams.map(backendMessages);
    expect(own).toHaveLength(2);
    expect(needed).toHaveLength(2);
    for (const message of needed!) {
      expect(message.changes).toHaveLength(1);
      expect(bytesOf(message)).toBeLessThanOrEqual(150);
    }
    // A node that does not need the task gets no message.
    expect(others).toEqual([[], []]);
    expect(streams.slice(2).map(({ values }) => values.length)).toEqual([1, 1]);
  },
);

test.each([
  ["one service", 1],
  ["50 services", 50],
])("50 unchanged leases of %s cost under 2 kB, both ways together, at another manager", async (_, count) => {
  const clock = new FakeClock();
  const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) });
  await using before = await harness({}, { made: { ...first!, clock } });
  const ids = Array.from({ length: count }, () => newId(random));
  await before.store.update((tx) => {
    for (const [n, id] of ids.entries()) deploy(tx, id, { vip: `10.96.1.${n + 1}` });
    for (let n = 0; n < 50; n++)
      place(tx, ids[n % count]!, n + 1, nodeId("a"), { state: TaskState.RUNNING, epoch: tx.epoch });
  });
  const complete = await (await before.worker("a")).assignments().next(1);
  expect(complete.changes).toHaveLength(100 + 3 * count);
  const digests = complete.changes.map(({ kind, key, object }) => assignmentDigest(kind, key, object!).toString("hex"));
  const held = Buffer.from(digests.toSorted().join(""), "hex");

  await second!.beginTerm();
  await using after = await harness({}, { made: { ...second!, clock } });
  const worker = await after.worker("a", { lastApplied: complete.point! });
  const message = await worker.assignments(held).next(1);
  expect(message).toMatchObject({ type: AssignmentsMessage_Type.COMPLETE, changes: [], dropped: Buffer.alloc(0) });
  const request = AssignmentsRequest.encode({ nodeId: worker.id, sessionId: worker.sessionId, held }).finish().length;
  expect(request + bytesOf(message)).toBeLessThan(2_000);
  // A changed lease costs its object and its digest.
  const [slotId] = after.store
    .view()
    .list("slots")
    .map(({ meta }) => meta!.id);
  await after.store.update((tx) => changeLease(tx, slotId!, { state: LeaseState.RELEASING }));
  const changed = await worker.assignments(held).next(1);
  const { epoch } = after.store.view().resolve("slots", slotId!).leases[0]!;
  expect(changed.changes.map(({ key }) => key)).toEqual([leaseKey(slotId!, epoch)]);
  expect(changed.dropped).toHaveLength(2 * 7); // The lease as it was, and its backend.
});
