/** What a worker and an operator have of managers that do not lead: all that the leader has, by forwarded calls. */
import {
  AssignmentsMessage,
  AssignmentsRequest,
  CreateServiceRequest,
  HeartbeatRequest,
  HeartbeatResponse,
  RelayDown,
  RelayUp,
  Service,
  SessionMessage,
  SessionRequest,
} from "@warren/api";
import { type Identity } from "@warren/api/server";
import { checkClusterSpec } from "@warren/api/spec";
import { createCluster } from "@warren/control";
import { expect, test } from "vitest";

import { bytesOf, Group } from "./raft-group.ts";

const nodeId = "n1".padEnd(25, "0");
const worker: Identity = { name: nodeId, roles: ["worker"], nodeId };
const description = { hostname: "edge", os: "linux", architecture: "amd64", cpuNanos: 2e9, level: 1, minLevel: 1 };
const digest = `sha256:${"7".repeat(64)}`;

test("a worker's session, assignments and relays, and a user's call that needs them, pass by managers that do not lead", async () => {
  const group = await Group.start();
  const leader = await group.until("one leads", () => group.leader());
  await group.settled(createCluster(leader.store, checkClusterSpec(undefined), { id: "c" }));
  const [first, second] = group.managers.filter((each) => each !== leader);
  await group.until("all know of the cluster", () => group.managers.every(({ store }) => store.view().cluster));

  const request = bytesOf(SessionRequest, { nodeId, description });
  const opened = first!.call("Dispatcher/Session", request, SessionMessage, { caller: worker });
  const session = opened[Symbol.asyncIterator]();
  const hello = await group.settled(session.next());
  const { sessionId } = hello.value as SessionMessage;
  expect(leader.store.view().get("nodes", nodeId)?.description?.hostname).toBe("edge");
  const who = { nodeId, sessionId };
  const beat = second!.call("Dispatcher/Heartbeat", bytesOf(HeartbeatRequest, who), HeartbeatResponse, {
    caller: worker,
  });
  expect((await group.settled(Array.fromAsync(beat)))[0]?.periodMs).toBeGreaterThan(0);
  const assigned = second!.call("Dispatcher/Assignments", bytesOf(AssignmentsRequest, who), AssignmentsMessage, {
    caller: worker,
  });
  const stream = assigned[Symbol.asyncIterator]();
  expect((await group.settled(stream.next())).value).toMatchObject({ changes: [] });

  // The leader asks the node, by its session, what the image is; the node opens a relay, by another manager.
  const spec = { name: "web", task: { container: { image: "nginx:1" } } };
  const created = Array.fromAsync(second!.call("Services/Create", bytesOf(CreateServiceRequest, { spec }), Service));
  const asked = (async () => {
    for (;;) {
      const { value, done } = await session.next();
      if (done === true) return expect.unreachable("the session goes on");
      if (value.relay !== undefined) return value.relay;
    }
  })();
  const relay = await group.settled(asked);
  expect(relay.what).toMatchObject({ $case: "image", value: { image: "nginx:1" } });
  const up = (async function* () {
    yield bytesOf(RelayUp, { message: { $case: "open", value: { ...who, relayId: relay.relayId } } });
    yield bytesOf(RelayUp, { message: { $case: "image", value: { digest } } });
    yield bytesOf(RelayUp, { message: { $case: "done", value: true } });
  })();
  const served = Array.fromAsync(second!.call("Dispatcher/Relay", up, RelayDown, { caller: worker }));
  const [service] = await group.settled(created);
  await group.settled(served);
  expect(leader.store.view().get("versions", service!.versionId)?.imageDigest).toBe(digest);
  for (const each of [session, stream]) await group.settled(Promise.resolve(each.return?.()));
});

test("a forwarded call has its caller's identity: a worker speaks for no other node, by any manager", async () => {
  const group = await Group.start();
  const leader = await group.until("one leads", () => group.leader());
  await group.settled(createCluster(leader.store, checkClusterSpec(undefined), { id: "c" }));
  const [first] = group.managers.filter((each) => each !== leader);
  const other = bytesOf(SessionRequest, { nodeId: "n2".padEnd(25, "0"), description });
  const refused = Array.fromAsync(first!.call("Dispatcher/Session", other, SessionMessage, { caller: worker }));
  await expect(group.settled(refused)).rejects.toMatchObject({ code: "API_DENIED" });
  expect(leader.store.view().list("nodes")).toEqual([]);
});
