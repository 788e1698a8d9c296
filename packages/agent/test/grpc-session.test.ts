import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AssignedService,
  LeaseState,
  RestartPolicy_Condition as Condition,
  TaskState,
  Version,
  type AssignedLease,
} from "@warren/api";
import { firstRun, leaseKey, taskIdOf } from "@warren/api/model";
import { connect } from "@warren/api/client";
import { FakeMachine, FakeRuntime } from "@warren/runtime/testing";
import { silentLogger, systemClock, systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { expect, test } from "vitest";
import { grpcSession, openLevelState, startAgent } from "../src/index.ts";
import { FakeManager, FakeNetwork } from "../src/testing/index.ts";
import { serveManager } from "./fakes/serve-manager.ts";

const image = "registry.example/web:1";
const epoch = { reign: 7, index: 1 };
const lease: AssignedLease = {
  slotId: "svc.1",
  epoch,
  versionId: "v",
  state: LeaseState.OFFERED,
  address: "10.77.1.2",
  after: undefined,
  initialRecord: undefined,
  offeredLife: 0,
};

test("over gRPC on a socket a task runs, its log can be read, and a manager that was away is reconnected", async () => {
  await using resources = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), "warren-agent-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const socketPath = join(folder, "manager.sock");
  const manager = new FakeManager();
  const serve = () => serveManager(manager, socketPath);
  let server = await serve();
  resources.defer(() => server.close());
  const machine = new FakeMachine();
  machine.publish(image);
  const client = connect({ socket: socketPath });
  resources.use(client);
  const state = await openLevelState(join(folder, "state"));
  resources.defer(() => state.close());
  const agent = await startAgent(
    {
      runtime: new FakeRuntime(machine),
      network: new FakeNetwork().connect(),
      session: grpcSession(client.dispatcher),
      state,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    },
    { dataDir: folder, hostname: "edge-1", version: "1" },
  );
  resources.use(agent);
  await until("it is connected", () => agent.connected);
  const id = taskIdOf(lease.slotId, epoch, firstRun);
  manager.assign("version", "v", Version.fromPartial({ meta: { id: "v" }, task: { container: { image } } }));
  const service = AssignedService.fromPartial({ id: "svc", restart: { condition: Condition.NONE } });
  manager.assign("service", "svc", service);
  manager.lease(lease);
  await until("it is prepared", () => manager.statuses.get(id)?.state === TaskState.READY);
  manager.setState(leaseKey(lease.slotId, epoch), LeaseState.HELD);
  await until("it runs", () => manager.statuses.get(id)?.state === TaskState.RUNNING);
  machine.write(id, "stdout", "hello\n");
  const value = { taskIds: [id], follow: true, since: undefined };
  manager.relay({ relayId: "r1", what: { $case: "logs", value } });
  const relay = await until("its log is open", () => manager.relays.get("r1"));
  await until("its log is sent", () => relay.up.some(({ message }) => message?.$case === "logs"));
  relay.down.push({ message: { $case: "end", value: true } });
  await relay.ended;

  await server.close();
  await until("it is cut off", () => !agent.connected);
  machine.exit(id, 3);
  server = await serve();
  const status = await until("its end is reported", () => {
    const last = manager.statuses.get(id);
    return last?.state === TaskState.FAILED && last;
  });
  expect(status.container?.exitCode).toBe(3);
  expect(manager.sessions).toBeGreaterThan(1);
}, 30_000);
