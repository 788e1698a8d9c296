/** The contracts of the seams, on the fakes and on implementations that need only a folder. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "@warren/api/client";
import { describe, test } from "vitest";
import { grpcSession } from "../src/index.ts";
import { FakeManager, FakeNetwork, sessionContract, taskNetworkContract } from "../src/testing/index.ts";
import { managed } from "./fakes/managed.ts";
import { serveManager } from "./fakes/serve-manager.ts";

describe.each(sessionContract)("a session $title", ({ run }) => {
  test("in memory", async () => {
    const manager = new FakeManager();
    await run({ manager: managed(manager), session: manager.connect(), disconnect: async () => manager.disconnect() });
  });

  test("over gRPC", async () => {
    await using resources = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), "warren-session-"));
    resources.defer(() => rm(folder, { recursive: true }));
    const manager = new FakeManager();
    const socketPath = join(folder, "manager.sock");
    const server = await serveManager(manager, socketPath);
    resources.defer(() => server.close());
    const client = resources.use(connect({ socket: socketPath }));
    await run({
      manager: managed(manager),
      session: grpcSession(client.dispatcher),
      disconnect: () => server.close(),
    });
  });
});

test.each(taskNetworkContract)("a network in memory $title", async ({ run }) => {
  const network = new FakeNetwork();
  let namespaces = 0;
  await run({
    settings: { nodeSubnet: "10.77.1.0/24", taskPool: "10.77.0.0/16", vipPool: "10.96.0.0/16" },
    connect: () => Promise.resolve(network.connect()),
    namespace: () => Promise.resolve(`/run/netns/${(namespaces += 1)}`),
    attached: () => Promise.resolve([...network.attached.keys()].toSorted()),
  });
});
