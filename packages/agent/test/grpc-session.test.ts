import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TaskState } from "@warren/api";
import { connect } from "@warren/api/client";
import { FakeMachine, FakeRuntime } from "@warren/runtime/testing";
import { silentLogger, systemClock, systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { expect, test } from "vitest";
import { grpcSession, openLevelState, startAgent } from "../src/index.ts";
import { FakeManager } from "./fakes/fake-manager.ts";
import { FakeNetwork } from "./fakes/fake-network.ts";
import { serveManager } from "./fakes/serve-manager.ts";
import { image, task } from "./fakes/world.ts";

test("over gRPC on a socket: a task runs, its log comes back, and a manager that is away is found again", async () => {
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
  manager.assign(task("t1"));
  await until("it runs", () => manager.statuses.get("t1")?.state === TaskState.RUNNING);
  machine.write("t1", "stdout", "hello\n");
  const value = { taskIds: ["t1"], follow: true, since: undefined };
  manager.relay({ relayId: "r1", what: { $case: "logs", value } });
  const relay = await until("its log is open", () => manager.relays.get("r1"));
  await until("its log is told", () => relay.up.some(({ message }) => message?.$case === "logs"));
  relay.down.push({ message: { $case: "end", value: true } });
  await relay.ended;

  await server.close();
  await until("it is cut off", () => !agent.connected);
  machine.exit("t1", 3);
  server = await serve();
  const status = await until("its end is told", () => {
    const told = manager.statuses.get("t1");
    return told?.state === TaskState.FAILED && told;
  });
  expect(status.container?.exitCode).toBe(3);
  expect(manager.sessions).toBeGreaterThan(1);
});
