/** The contract of a worker's `Session`, on a real dispatcher: over gRPC, and over the simulation's link. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { grpcSession } from "@warren/agent";
import { sessionContract, type ManagerUnderTest, type SessionUnderTest } from "@warren/agent/testing";
import {
  DispatcherDefinition,
  ExecOpen,
  Lease,
  LeaseReport,
  LeaseReport_State,
  LeaseState,
  Service,
  Slot,
  Task,
  TaskState,
  Version,
} from "@warren/api";
import { connect } from "@warren/api/client";
import { firstRun, numberedSlot, slotIdOf, taskIdOf } from "@warren/api/model";
import { bind, startServer } from "@warren/api/server";
import type { Dispatcher } from "@warren/dispatcher";
import { memoryDispatcher, type MemoryDispatcher } from "@warren/dispatcher/testing";
import { systemClock, systemRandom } from "@warren/std";
import { describe, test } from "vitest";
import { Link } from "./simulation/link.ts";

const nodeId = `n${"1".padStart(24, "0")}`;
const other = `n${"2".padStart(24, "0")}`;
const epoch = { reign: 1, index: 1 };

/** A service whose slots are placed as they are asked for. */
function managed({ store, dispatcher, endTerm }: MemoryDispatcher, deposed: () => Promise<void>): ManagerUnderTest {
  let slots = 0;
  const place = async (on: string): Promise<LeaseReport> => {
    const key = numberedSlot((slots += 1));
    const slotId = slotIdOf("web", key);
    const address = `10.77.1.${slots + 1}`;
    await store.update((tx) => {
      if (tx.get("services", "web") === undefined) {
        const task = { container: { image: "nginx" } };
        const meta = { id: "web" };
        tx.create("versions", Version.fromPartial({ meta: { id: "v" }, serviceId: "web", number: 1, task, level: 1 }));
        tx.create(
          "services",
          Service.fromPartial({ meta, spec: { name: "web", task }, versionId: "v", specVersion: 1 }),
        );
      }
      const lease = Lease.fromPartial({
        epoch,
        versionId: "v",
        state: LeaseState.HELD,
        nodeId: on,
        address,
        wasHeld: true,
      });
      const meta = { id: slotId };
      tx.create(
        "slots",
        Slot.fromPartial({ meta, serviceId: "web", serviceName: "web", key, wanted: true, leases: [lease] }),
      );
      const run = {
        serviceId: "web",
        serviceName: "web",
        slotId,
        slot: key,
        epoch,
        ...firstRun,
        nodeId: on,
        versionId: "v",
      };
      const status = { state: TaskState.ASSIGNED };
      tx.create("tasks", Task.fromPartial({ meta: { id: taskIdOf(slotId, epoch, firstRun) }, ...run, status }));
    });
    const runs = [{ ...firstRun, status: { state: TaskState.RUNNING } }];
    return LeaseReport.fromPartial({ slotId, epoch, state: LeaseReport_State.HELD, versionId: "v", address, runs });
  };
  return {
    nodeId,
    change: async () => void (await place(nodeId)),
    own: () => place(nodeId),
    foreign: () => place(other),
    isStored: ({ slotId }) =>
      store.view().get("tasks", taskIdOf(slotId, epoch, firstRun))?.status?.state === TaskState.RUNNING,
    exec: (input, signal) =>
      dispatcher.relay.exec(nodeId, ExecOpen.create({ ref: "t1", command: ["sh"] }), input, signal),
    async depose() {
      endTerm();
      await deposed();
    },
  };
}

type Way = Pick<SessionUnderTest, "session" | "disconnect">;

async function overGrpc(dispatcher: Dispatcher, resources: AsyncDisposableStack): Promise<Way> {
  const folder = await mkdtemp(join(tmpdir(), "warren-session-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const socketPath = join(folder, "manager.sock");
  const services = [bind(DispatcherDefinition, dispatcher.handlers)];
  const server = await startServer({ services, localNodeId: () => nodeId }, { socketPath });
  resources.defer(() => server.close());
  const client = resources.use(connect({ socket: socketPath }));
  return { session: grpcSession(client.dispatcher), disconnect: () => server.close() };
}

async function overLink(dispatcher: Dispatcher): Promise<Way> {
  const nothing = (): void => undefined;
  const link = new Link(systemClock, systemRandom, () => dispatcher, nothing);
  return { session: link.session(), disconnect: async () => link.cut(false) };
}

describe.each(sessionContract)("a session with a dispatcher $title", ({ run }) => {
  test.each([
    ["over gRPC", overGrpc],
    ["over the simulation's link", overLink],
  ] as const)("%s", async (_, open) => {
    await using resources = new AsyncDisposableStack();
    const made = resources.use(await memoryDispatcher());
    const end = made.lead();
    await run({ ...(await open(made.dispatcher, resources)), manager: managed(made, end) });
  });
});
