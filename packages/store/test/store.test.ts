import { Network, Task, TaskState } from "@warren/api";
import { expect, test } from "vitest";

import { memoryStore } from "../src/testing/index.ts";

test("smoke", async () => {
  const { store } = memoryStore();
  const id = await store.update((tx) => tx.create("networks", Network.create({ spec: { name: "default" } })));
  expect(store.view().resolve("networks", "default").meta).toMatchObject({ id, version: 1 });
  await store.update((tx) => {
    tx.create("tasks", Task.create({ serviceId: "s", slot: 1, desiredState: TaskState.RUNNING }));
    tx.emit({ kind: 3, objectId: "s", objectName: "web", action: "created", message: "hello" });
  });
  expect(store.view().find("tasks", "slot", "s/1")).toHaveLength(1);
  expect(store.view().list("events")).toHaveLength(1);
});
