import { Cluster, Meta, Node, RemovedNode } from "@warren/api";
import { level } from "@warren/api/model";
import { AsyncQueue } from "@warren/std";
import { RecordingLogger, until } from "@warren/std/testing";
import type { ChangeBatch, View } from "@warren/store";
import { memoryStore } from "@warren/store/testing";
import { expect, test } from "vitest";

import { followActiveLevel, introduce, keepIntroduced } from "../src/levels.ts";

const meta = (id: string): Meta => Meta.create({ id });

test("Raft writes at the active level of the cluster, from when it is applied here, and of no other", async () => {
  let cluster: Cluster | undefined;
  const changes = new AsyncQueue<ChangeBatch>(10);
  const view = (): View => ({ cluster }) as View;
  const set: number[] = [];
  const becomes = (active: number): void => {
    cluster = Cluster.create({ level: active });
    changes.push({ version: active, changes: [] });
  };
  const store = {
    view,
    watch: ({ signal }: { readonly signal: AbortSignal }) => {
      signal.addEventListener("abort", () => changes.close());
      return { view: view(), changes };
    },
  };
  const node = { setActiveLevel: async (active: number) => void set.push(active) };
  {
    await using _following = followActiveLevel(store, node, new RecordingLogger());
    becomes(level);
    await until("it writes at the cluster's level", () => set.at(-1) === level);
    becomes(level + 1);
    await until("it follows", () => set.at(-1) === level + 1);
  }
  expect(new Set(set)).toEqual(new Set([level, level + 1]));
});

test("a manager stands under its machine's node id from when that is a node, and once only", async () => {
  const { store } = memoryStore();
  let nodeId: string | undefined;
  const introduction = { managerId: "own", nodeId: () => nodeId, version: "1" };
  const managers = (): unknown =>
    store
      .view()
      .list("managers")
      .map((each) => each.meta?.id);
  await introduce(store, introduction);
  expect(managers()).toEqual(["own"]);
  {
    await using _kept = keepIntroduced(store, introduction, () => expect.unreachable());
    nodeId = "n1";
    await store.update((tx) => tx.create("nodes", Node.create({ meta: meta("n1") })));
    await until("it stands under its node's id", () => store.view().get("managers", "n1") !== undefined);
    expect(managers()).toEqual(["n1"]);
  }
  // Its machine became another node, and the one before was removed.
  await store.update((tx) => {
    tx.delete("nodes", "n1");
    tx.create("removedNodes", RemovedNode.create({ meta: meta("n1") }));
  });
  nodeId = "n2";
  await introduce(store, introduction);
  expect(managers()).toEqual(["n2"]);
});

test("a manager that can't be introduced under its node's id passes the failure on, so that the term's work starts again", async () => {
  const { store, proposer } = memoryStore();
  let nodeId: string | undefined;
  const introduction = { managerId: "own", nodeId: () => nodeId, version: "1" };
  await introduce(store, introduction);
  const failures: unknown[] = [];
  await using _kept = keepIntroduced(store, introduction, (error) => failures.push(error));
  nodeId = "n1";
  await store.update((tx) => {
    tx.create("nodes", Node.create({ meta: meta("n1") }));
    queueMicrotask(() => proposer.failNext("unavailable")); // Of what is proposed after this.
  });
  await until("it has failed", () => failures.length > 0);
  expect(failures).toMatchObject([{ code: "STORE_UNAVAILABLE" }]);
});
