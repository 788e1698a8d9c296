/** What a manager answers while it is cut off from the others, which go on without it. */
import { setImmediate as turn } from "node:timers/promises";
import {
  CreateNetworkRequest,
  DeleteNetworkRequest,
  GetNetworkRequest,
  ListNetworksRequest,
  Network,
  UpdateServiceRequest,
  WatchRequest,
  WatchResponse,
  type ApiError,
} from "@warren/api";
import { checkClusterSpec } from "@warren/api/spec";
import { createCluster } from "@warren/control";
import { expect, test } from "vitest";

import { bytesOf, Group, type Manager } from "./raft-group.ts";

async function get(manager: Manager, ref: string, options = {}): Promise<string> {
  const request = bytesOf(GetNetworkRequest, { ref });
  const [network] = await Array.fromAsync(manager.call("Networks/Get", request, Network, options));
  return network?.spec?.name ?? "";
}

/**
 * A group whose first leader is cut off and does not know it, while the next has acknowledged that network `old` is gone
 * and `new` is there.
 */
async function deposed(): Promise<{ readonly group: Group; readonly old: Manager; readonly next: Manager }> {
  const group = await Group.start();
  const old = await group.until("one leads", () => group.leader());
  await group.settled(createCluster(old.store, checkClusterSpec(undefined), { id: "c" }));
  const create = (manager: Manager, name: string): Promise<unknown> =>
    group.settled(
      Array.fromAsync(manager.call("Networks/Create", bytesOf(CreateNetworkRequest, { spec: { name } }), Network)),
      group.managers.filter((each) => each === manager || each !== old),
    );
  await create(old, "old");
  group.cutOff(old);
  const others = group.managers.filter((each) => each !== old);
  const next = await group.until("another leads", () => group.leader(old), others);
  await create(next, "new");
  const gone = next.call("Networks/Delete", bytesOf(DeleteNetworkRequest, { ref: "old" }), Network);
  await group.settled(Array.fromAsync(gone), others);
  expect(old.node.leadership().isLeader).toBe(true);
  expect(old.store.view().find("networks", "name", "old")).toHaveLength(1);
  return { group, old, next };
}

const calls: readonly (readonly [string, (manager: Manager) => AsyncIterable<unknown>])[] = [
  [
    "a read of what is gone",
    (manager) => manager.call("Networks/Get", bytesOf(GetNetworkRequest, { ref: "old" }), Network),
  ],
  [
    "a read of what it does not know of",
    (manager) => manager.call("Networks/Get", bytesOf(GetNetworkRequest, { ref: "new" }), Network),
  ],
  ["a list", (manager) => manager.call("Networks/List", bytesOf(ListNetworksRequest, {}), Network)],
  ["a watch", (manager) => manager.call("Events/Watch", bytesOf(WatchRequest, {}), WatchResponse)],
  [
    "a deletion that it would refuse",
    (manager) => manager.call("Networks/Delete", bytesOf(DeleteNetworkRequest, { ref: "new" }), Network),
  ],
  [
    "a creation that it would refuse",
    (manager) => manager.call("Networks/Create", bytesOf(CreateNetworkRequest, { spec: { name: "old" } }), Network),
  ],
  [
    "an update of what it does not know of",
    (manager) =>
      manager.call(
        "Services/Update",
        bytesOf(UpdateServiceRequest, { ref: "web", spec: { name: "web", task: { container: { image: "nginx" } } } }),
        Network,
      ),
  ],
];

test.each(calls)(
  "a leader that was deposed and does not know it does not answer from its old state: %s",
  async (_, call) => {
    const { group, old } = await deposed();
    const answers = Array.fromAsync(call(old));
    const error: unknown = await group.settled(answers).then(
      (found) => found,
      (thrown: unknown) => thrown,
    );
    expect(error).toMatchObject({ code: "STORE_UNAVAILABLE" });
  },
);

test("a call that it holds when it is reached again is answered from the current state", async () => {
  const { group, old } = await deposed();
  const held = [get(old, "old"), get(old, "new")].map((each) => each.catch((error: ApiError) => error.code));
  await turn();
  group.heal();
  expect(await group.settled(Promise.all(held))).toEqual(["API_NOT_FOUND", "new"]);
});

test("it answers from its old state where the caller accepts that, and forwards once it knows", async () => {
  const { group, old, next } = await deposed();
  expect(await get(old, "old", { stale: true })).toBe("old");
  group.heal();
  await group.until("it follows", () => old.node.leadership().leader === next.node.id);
  expect(await group.settled(get(old, "new"))).toBe("new");
});
