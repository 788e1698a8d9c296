import { Network, Node, ObjectKind, RegistryCredential, Service, Task, Version } from "@warren/api";
import { FakeClock, RecordingMetrics, seededRandom } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import { Store, StoreStateMachine, type StoreFailure, type Tables, type Transaction } from "../src/index.ts";
import { memoryStore } from "../src/testing/index.ts";

const network = (name: string, id = ""): Network => Network.create({ meta: { id }, spec: { name } });
const task = (id: string, run = 1): Task =>
  Task.create({ meta: { id }, serviceId: "web", slotId: `web.${run}`, run, nodeId: "n1" });
const failure = (work: Promise<unknown>): Promise<StoreFailure> =>
  work.then(
    () => expect.unreachable("it should have failed"),
    (error: { failure: StoreFailure }) => error.failure,
  );

describe("a transaction", () => {
  test("sets id, version and times when it is applied", async () => {
    const clock = new FakeClock();
    const { store } = memoryStore({ clock, random: seededRandom(1) });
    const id = await store.update((tx) => tx.create("networks", network("default")));
    expect(id).toMatch(/^[0-9a-z]{25}$/);
    const first = new Date(clock.now());
    expect(store.view().get("networks", id)?.meta).toEqual({ id, version: 2, createdAt: first, updatedAt: first });
    clock.advance(1_000);
    await store.update((tx) => tx.update("networks", { ...tx.resolve("networks", "default") }));
    expect(store.view().get("networks", id)?.meta).toEqual({
      id,
      version: 3,
      createdAt: first,
      updatedAt: new Date(clock.now()),
    });
  });

  test("reads its own writes, which no other reader sees before they are applied", async () => {
    const { store } = memoryStore();
    await store.update((tx) => {
      tx.create("tasks", task("a"));
      tx.create("tasks", task("b", 2));
      expect(tx.list("tasks").map(({ meta }) => meta?.id)).toEqual(["a", "b"]);
      expect(tx.find("tasks", "slot", "web.2")).toHaveLength(1);
      tx.update("tasks", { ...tx.resolve("tasks", "b"), slotId: "web.3", run: 3 });
      expect(tx.find("tasks", "slot", "web.2")).toHaveLength(0);
      tx.delete("tasks", "a");
      expect(tx.get("tasks", "a")).toBeUndefined();
      expect(store.view().list("tasks")).toEqual([]);
    });
    expect(
      store
        .view()
        .list("tasks")
        .map(({ run }) => run),
    ).toEqual([3]);
  });

  test("is applied entirely or not at all", async () => {
    const { store } = memoryStore();
    await expect(
      store.update((tx) => {
        tx.create("tasks", task("a"));
        throw new Error("changed my mind");
      }),
    ).rejects.toThrow("changed my mind");
    expect(store.view().list("tasks")).toEqual([]);
  });

  test("without writes proposes nothing, so that it succeeds on any manager", async () => {
    const { store, proposer, endTerm } = memoryStore();
    endTerm();
    const before = proposer.applied.length;
    expect(await store.update((tx) => tx.list("nodes").length)).toBe(0);
    expect(proposer.applied).toHaveLength(before);
  });

  test("that creates and deletes one object writes nothing", async () => {
    const { store, proposer } = memoryStore();
    await store.update((tx) => tx.delete("networks", tx.create("networks", network("brief"))));
    expect(proposer.applied).toHaveLength(1);
  });

  test("refuses an object that was changed since it was read", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("a")));
    const read = store.view().get("tasks", "a") as Task;
    await store.update((tx) => tx.update("tasks", { ...read, run: 2 }));
    expect(await failure(store.update((tx) => tx.update("tasks", { ...read, run: 3 })))).toEqual({
      code: "STORE_CONFLICT",
      table: "tasks",
      id: "a",
      kind: "stale",
      attempts: 1,
    });
  });

  test("refuses it also when both updates are called at once", async () => {
    const { store, proposer } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("a")));
    const read = store.view().get("tasks", "a") as Task;
    const both = [2, 3].map((run) => store.update((tx) => tx.update("tasks", { ...read, run })));
    const results = await Promise.allSettled(both);
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(store.view().get("tasks", "a")?.run).toBe(2);
    expect(proposer.applied).toHaveLength(3);
  });

  test("is rejected even if its work catches the store's error", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("a")));
    const add = store.update((tx) => tx.update("tasks", { ...(tx.get("tasks", "a") as Task), run: 10 }));
    const swallow = store.update((tx) => {
      try {
        tx.update("tasks", { ...(tx.get("tasks", "a") as Task), run: (tx.get("tasks", "a") as Task).run + 1 });
      } catch {
        return "caught"; // The first time, since the other's change is not applied yet.
      }
      return "written";
    });
    await add;
    expect(await swallow).toBe("written");
    expect(store.view().get("tasks", "a")?.run).toBe(11);
  });

  test("refuses an object that does not exist and an id that is taken", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("a")));
    for (const [work, kind] of [
      [(tx: Parameters<Parameters<Store["update"]>[0]>[0]) => tx.delete("tasks", "b"), "missing"],
      [(tx: Parameters<Parameters<Store["update"]>[0]>[0]) => tx.update("tasks", task("b")), "missing"],
      [(tx: Parameters<Parameters<Store["update"]>[0]>[0]) => tx.create("tasks", task("a")), "id-taken"],
    ] as const)
      expect(await failure(store.update(work))).toMatchObject({ code: "STORE_CONFLICT", kind });
    const again = store.update((tx) => {
      tx.delete("tasks", "a");
      tx.create("tasks", task("a"));
    });
    expect(await failure(again)).toMatchObject({ code: "STORE_CONFLICT", kind: "id-taken" });
  });

  test("can't be used after its work has returned, nor be asynchronous", async () => {
    const { store } = memoryStore();
    const leaked = await store.update((tx) => ({ tx }));
    expect(() => leaked.tx.delete("tasks", "a")).toThrow("after its work had returned");
    await expect(store.update(async (tx) => tx.create("tasks", task("a")))).rejects.toThrow("synchronous");
    expect(store.view().list("tasks")).toEqual([]);
  });

  test("that is larger than a command may be is refused, and the transactions around it are not", async () => {
    const { store, proposer } = memoryStore({}, { maxCommandBytes: 2_000 });
    const labels = { filler: "x".repeat(600) };
    const wide = (name: string): Network => Network.create({ spec: { name, labels } });
    const release = proposer.hold();
    const fits = Array.from({ length: 7 }, (_, n) => store.update((tx) => tx.create("networks", wide(`n${n}`))));
    const tooLarge = store.update((tx) => {
      for (let n = 10; n < 14; n++) tx.create("networks", wide(`n${n}`));
    });
    release();
    expect(await failure(tooLarge)).toMatchObject({ code: "STORE_TOO_LARGE", limit: 2_000 });
    await Promise.all(fits);
    expect(store.view().list("networks")).toHaveLength(7);
    expect(proposer.applied.every(({ data }) => data.length <= 2_000)).toBe(true);
  });
});

test("a dry run reads its own writes, proposes nothing, and is refused as the real one would be", async () => {
  const { store } = memoryStore();
  const before = store.view().version;
  const create = (tx: Transaction): string | undefined => {
    const id = tx.create("networks", Network.fromPartial({ spec: { name: "back" } }));
    return tx.get("networks", id)?.spec?.name;
  };
  expect(await store.update(create, { dryRun: true })).toBe("back");
  expect(store.view().version).toBe(before);
  expect(store.view().list("networks")).toEqual([]);
  await store.update(create);
  await expect(store.update(create, { dryRun: true })).rejects.toMatchObject({ failure: { code: "STORE_NAME_TAKEN" } });
});

test("a transaction with a value that no message can have is refused, and the transactions around it are not", async () => {
  const { store, proposer } = memoryStore();
  const release = proposer.hold();
  const fits = Array.from({ length: 5 }, (_, n) => store.update((tx) => tx.create("networks", network(`n${n}`))));
  const broken = store.update((tx) => {
    // A bug of a caller: the field has no sign.
    const mode = { $case: "replicated", value: { replicas: -1 } } as const;
    tx.create("services", Service.create({ spec: { name: "broken", mode } }));
  });
  release();
  await expect(broken).rejects.toThrow();
  await Promise.all(fits);
  expect(store.view().list("networks")).toHaveLength(5);
  await store.update((tx) => tx.create("networks", network("later")));
});

describe("names", () => {
  test("are unique among services, networks and registries", async () => {
    const { store } = memoryStore();
    const id = await store.update((tx) => {
      tx.create("services", Service.create({ spec: { name: "web" } }));
      tx.create("registries", RegistryCredential.create({ registry: "docker.io" }));
      return tx.create("networks", network("web"));
    });
    expect(await failure(store.update((tx) => tx.create("networks", network("web"))))).toEqual({
      code: "STORE_NAME_TAKEN",
      table: "networks",
      name: "web",
      id,
    });
    const registry = RegistryCredential.create({ registry: "docker.io" });
    expect(await failure(store.update((tx) => tx.create("registries", registry)))).toMatchObject({
      code: "STORE_NAME_TAKEN",
      name: "docker.io",
    });
  });

  test("of two that are created at once one is written, and the other rejected", async () => {
    const { store } = memoryStore();
    const results = await Promise.allSettled(
      ["a", "b"].map((id) => store.update((tx) => tx.create("networks", network("web", id)))),
    );
    expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(store.view().resolve("networks", "web").meta?.id).toBe("a");
  });

  test("are free again in the transaction that deletes their holder, and pass from one to another", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("networks", network("web", "a")));
    await store.update((tx) => {
      tx.update("networks", { ...tx.resolve("networks", "web"), spec: { name: "old", labels: {} } });
      tx.create("networks", network("web", "b"));
    });
    expect(store.view().resolve("networks", "web").meta?.id).toBe("b");
    await store.update((tx) => {
      tx.delete("networks", "b");
      tx.create("networks", network("web", "c"));
    });
    expect(
      store
        .view()
        .find("networks", "name", "web")
        .map(({ meta }) => meta?.id),
    ).toEqual(["c"]);
  });
});

describe("a reference", () => {
  const filled = async (): Promise<Store> => {
    const { store } = memoryStore();
    await store.update((tx) => {
      for (const id of ["abc1", "abc2", "xyz"]) tx.create("networks", network(`net-${id}`, id));
      tx.create("networks", network("abc", "q1"));
      for (const id of ["n1", "n2"])
        tx.create("nodes", Node.create({ meta: { id }, description: { hostname: "edge" } }));
    });
    return store;
  };

  test("is a name, else an id, else the unique beginning of one", async () => {
    const view = (await filled()).view();
    const id = (ref: string): string | undefined => view.resolve("networks", ref).meta?.id;
    expect([id("net-abc1"), id("abc2"), id("x"), id("abc")]).toEqual(["abc1", "abc2", "xyz", "q1"]);
  });

  test("that matches several or none is refused as such", async () => {
    const view = (await filled()).view();
    const fail = (work: () => unknown): unknown => {
      try {
        return work();
      } catch (error) {
        return (error as { failure: StoreFailure }).failure;
      }
    };
    expect(fail(() => view.resolve("networks", "ab"))).toMatchObject({
      code: "STORE_AMBIGUOUS",
      candidates: ["abc1", "abc2"],
    });
    expect(fail(() => view.resolve("nodes", "edge"))).toMatchObject({
      code: "STORE_AMBIGUOUS",
      candidates: ["n1", "n2"],
    });
    expect(fail(() => view.resolve("networks", "nope"))).toMatchObject({ code: "STORE_NOT_FOUND", ref: "nope" });
    expect(fail(() => view.resolve("networks", ""))).toMatchObject({ code: "STORE_NOT_FOUND" });
  });
});

test("a view does not change, and neither do its objects", async () => {
  const { store } = memoryStore();
  await store.update((tx) => tx.create("tasks", task("a")));
  const before = store.view();
  await store.update((tx) => tx.delete("tasks", "a"));
  const old = before.get("tasks", "a") as Task;
  expect([before.version, old.run]).toEqual([2, 1]);
  expect(store.view().list("tasks")).toEqual([]);
  expect(() => (old.slot = undefined)).toThrow(TypeError);
  expect(() => (before.list("tasks") as Task[]).push(old)).toThrow(TypeError);
});

test("an object that is passed to a transaction stays the caller's, and is not frozen", async () => {
  const { store } = memoryStore();
  const mine = Version.create({ meta: { id: "a" }, networks: ["net"] });
  await store.update((tx) => {
    tx.create("versions", mine);
    mine.networks.push("later");
  });
  expect(store.view().get("versions", "a")?.networks).toEqual(["net"]);
});

test("an index does not confuse a value with one that begins with it", async () => {
  const { store } = memoryStore();
  await store.update((tx) => {
    tx.create("nodes", Node.create({ meta: { id: "n1" }, description: { hostname: "edge" } }));
    tx.create("nodes", Node.create({ meta: { id: "n2" }, description: { hostname: "edgen1" } }));
  });
  expect(
    store
      .view()
      .find("nodes", "name", "edge")
      .map(({ meta }) => meta?.id),
  ).toEqual(["n1"]);
  expect(
    store
      .view()
      .find("nodes", "name", "edgen1")
      .map(({ meta }) => meta?.id),
  ).toEqual(["n2"]);
});

describe("events", () => {
  const emit = (tx: { emit: (event: never) => void }, objectId: string): void =>
    tx.emit({ kind: ObjectKind.SERVICE, objectId, objectName: objectId, action: "created", message: "made" } as never);

  test("come in the order in which they happened, with the time of their transaction", async () => {
    const clock = new FakeClock();
    const { store } = memoryStore({ clock });
    await store.update((tx) => {
      for (let n = 0; n < 12; n++) emit(tx, `o${n}`);
    });
    await store.update((tx) => emit(tx, "last"));
    const events = store.view().list("events");
    expect(events.map(({ objectId }) => objectId)).toEqual([...Array.from({ length: 12 }, (_, n) => `o${n}`), "last"]);
    expect(events[0]?.at).toEqual(new Date(clock.now()));
    expect(store.view().find("events", "object", "last")).toHaveLength(1);
  });

  test("are kept up to 10,000, and watchers receive the deletion of older ones", async () => {
    const { store } = memoryStore();
    const chunk = 2_500;
    for (let from = 0; from < 10_000; from += chunk)
      await store.update((tx) => {
        for (let n = from; n < from + chunk; n++) emit(tx, `o${n}`);
      });
    using stop = disposableAbort();
    const { changes } = store.watch({ tables: ["events"], signal: stop.signal });
    await store.update((tx) => {
      emit(tx, "a");
      emit(tx, "b");
    });
    const events = store.view().list("events");
    expect([events.length, events[0]?.objectId, events.at(-1)?.objectId]).toEqual([10_000, "o2", "b"]);
    for await (const { changes: batch } of changes) {
      expect(batch.map(({ kind, object }) => [kind, (object as Tables["events"]).objectId])).toEqual([
        ["create", "a"],
        ["create", "b"],
        ["delete", "o0"],
        ["delete", "o1"],
      ]);
      break;
    }
  });
});

describe("a conflict", () => {
  test("is retried on the new state", async () => {
    const { store, proposer } = memoryStore();
    proposer.failNext("conflict", "conflict");
    let runs = 0;
    await store.update((tx) => {
      runs += 1;
      tx.create("tasks", task("a"));
    });
    expect([runs, store.view().list("tasks").length]).toEqual([3, 1]);
  });

  test("that repeats at every attempt rejects the update, with its reason", async () => {
    const metrics = new RecordingMetrics();
    const { store, proposer } = memoryStore({ metrics }, { maxAttempts: 3 });
    proposer.failNext("conflict", "conflict", "conflict");
    expect(await failure(store.update((tx) => tx.create("tasks", task("a"))))).toEqual({
      code: "STORE_CONFLICT",
      table: "nodes",
      id: "elsewhere",
      kind: "stale",
      attempts: 3,
    });
    expect(metrics.values.get("warren_store_retries_total")).toBe(2);
    expect(metrics.values.get('warren_store_updates_total{result="STORE_CONFLICT"}')).toBe(1);
  });
});

describe("a failure of consensus", () => {
  test.each([
    ["unavailable", "STORE_UNAVAILABLE", 0],
    ["outcome-unknown-lost", "STORE_OUTCOME_UNKNOWN", 0],
    ["outcome-unknown-applied", "STORE_OUTCOME_UNKNOWN", 2],
  ] as const)("%s reaches every transaction of the command", async (fault, code, written) => {
    const { store, proposer } = memoryStore();
    proposer.failNext(fault);
    const both = ["a", "b"].map((id) => failure(store.update((tx) => tx.create("tasks", task(id)))));
    expect(await Promise.all(both)).toMatchObject([{ code }, { code }]);
    expect(store.view().list("tasks")).toHaveLength(written);
    await store.update((tx) => tx.create("tasks", task("c")));
  });

  test("STORE_NOT_LEADER rejects an update, and the store goes on when it leads again", async () => {
    const { store, endTerm, beginTerm } = memoryStore();
    endTerm();
    const refused = await failure(store.update((tx) => tx.create("tasks", task("a"))));
    expect(refused).toEqual({ code: "STORE_NOT_LEADER", leader: undefined });
    await beginTerm();
    await store.update((tx) => tx.create("tasks", task("a")));
  });
});

describe("concurrent updates", () => {
  test("that come while a command is committed share the next one, and none is lost", async () => {
    const { store, proposer } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("counter", 0)));
    const release = proposer.hold();
    const increments = Array.from({ length: 50 }, (_, n) =>
      store.update((tx) => {
        tx.create("networks", network(`n${n}`));
        return tx.list("networks").length;
      }),
    );
    release();
    expect((await Promise.all(increments)).sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, n) => n + 1));
    expect(proposer.applied.length).toBeLessThanOrEqual(4);
  });

  test("on one object are applied one by one", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("counter", 0)));
    const seen = await Promise.all(
      Array.from({ length: 20 }, () =>
        store.update((tx) => {
          const read = tx.get("tasks", "counter") as Task;
          tx.update("tasks", { ...read, run: read.run + 1 });
          return read.run;
        }),
      ),
    );
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, n) => n));
    expect(store.view().get("tasks", "counter")?.run).toBe(20);
  });

  test("that are deferred to the next command run before those that were called later", async () => {
    const { store } = memoryStore({}, { maxUpdatesPerCommand: 2 });
    await store.update((tx) => tx.create("tasks", task("shared", 0)));
    const order: string[] = [];
    const on = (name: string, id: string): Promise<unknown> =>
      store
        .update((tx) => {
          const read = tx.get("tasks", id);
          if (read === undefined) tx.create("tasks", task(id));
          else tx.update("tasks", { ...read, run: read.run + 1 });
        })
        .then(() => order.push(name));
    await Promise.all([on("a", "shared"), on("b, which waits", "shared"), on("c", "other"), on("d", "shared")]);
    expect(order).toEqual(["a", "c", "b, which waits", "d"]);
  });

  test("that each create an object if there is none create one", async () => {
    const { store } = memoryStore();
    const ensure = (): Promise<void> =>
      store.update((tx) => {
        if (tx.list("tasks").length === 0) tx.create("tasks", task(""));
      });
    await Promise.all([ensure(), ensure(), ensure()]);
    expect(store.view().list("tasks")).toHaveLength(1);
  });
});

describe("a watch", () => {
  test("yields the state and each later transaction, with objects as they were before", async () => {
    const { store } = memoryStore();
    await store.update((tx) => tx.create("tasks", task("a")));
    using stop = disposableAbort();
    const { view, changes } = store.watch({ tables: ["tasks"], signal: stop.signal });
    await store.update((tx) => tx.create("networks", network("unwatched")));
    await store.update((tx) => tx.update("tasks", { ...(tx.get("tasks", "a") as Task), run: 2 }));
    await store.update((tx) => tx.delete("tasks", "a"));
    expect(view.get("tasks", "a")?.run).toBe(1);
    const seen: unknown[] = [];
    for await (const { version, changes: batch } of changes) {
      for (const { table, kind, object, before } of batch)
        seen.push([version, table, kind, (object as Task).run, (before as Task | undefined)?.run]);
      if (seen.length === 2) break;
    }
    expect(seen).toEqual([
      [4, "tasks", "update", 2, 1],
      [5, "tasks", "delete", 2, 2],
    ]);
  });

  test("that is not read is ended with STORE_WATCH_LAGGED", async () => {
    const metrics = new RecordingMetrics();
    const { store } = memoryStore({ metrics });
    using stop = disposableAbort();
    const { changes } = store.watch({ limit: 2, signal: stop.signal });
    for (let n = 0; n < 3; n++) await store.update((tx) => tx.create("networks", network(`n${n}`)));
    expect(metrics.values.get("warren_store_watchers")).toBe(0);
    const read = (async () => {
      for await (const batch of changes) expect.unreachable(String(batch.version));
    })();
    expect(await failure(read)).toEqual({ code: "STORE_WATCH_LAGGED", limit: 2 });
  });

  test("ends with its signal, and when its reader leaves", async () => {
    const metrics = new RecordingMetrics();
    const { store } = memoryStore({ metrics });
    const stop = new AbortController();
    const { changes } = store.watch({ signal: stop.signal });
    const ended = (async () => {
      for await (const batch of changes) expect.unreachable(String(batch.version));
      return "ended";
    })();
    stop.abort();
    expect(await ended).toBe("ended");
    using other = disposableAbort();
    const left = store.watch({ signal: other.signal });
    await store.update((tx) => tx.create("networks", network("a")));
    for await (const { version } of left.changes) {
      expect(version).toBe(store.view().version);
      break;
    }
    expect(metrics.values.get("warren_store_watchers")).toBe(0);
    const late = store.watch({ signal: AbortSignal.abort() });
    for await (const batch of late.changes) expect.unreachable(String(batch.version));
  });
});

test("options out of range are refused", () => {
  const { machine, proposer } = memoryStore();
  const clock = new FakeClock();
  const make = (): Store => new Store({ clock, random: seededRandom(1), machine, proposer }, { maxAttempts: 0 });
  expect(make).toThrow(RangeError);
});

test("the machine counts what it holds", async () => {
  const metrics = new RecordingMetrics();
  const machine = new StoreStateMachine({ metrics });
  expect(machine.view().version).toBe(0);
  const { store } = memoryStore({ metrics });
  await store.update((tx) => tx.create("tasks", task("a")));
  expect(metrics.values.get('warren_store_objects{table="tasks"}')).toBe(1);
  expect(metrics.values.get('warren_store_commands_total{result="applied"}')).toBe(2);
  expect(metrics.observations.get("warren_store_updates_per_command")).toEqual([1]);
});

function disposableAbort(): AbortController & Disposable {
  const controller = new AbortController();
  return Object.assign(controller, { [Symbol.dispose]: () => controller.abort() });
}
