import {
  ApiError,
  AssignmentsMessage_Type,
  NodeStatus_State,
  RegistryCredential,
  Service,
  TaskState,
  type AssignmentsMessage,
  type Task,
} from "@warren/api";
import { Store } from "@warren/store";
import { memoryStore } from "@warren/store/testing";
import { until } from "@warren/std/testing";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";

import { endpointOf, isAssigned, registryInUse, registryOf } from "../src/assignment.ts";
import { failureOf, harness, nodeId, service, task, type Harness } from "./harness.ts";

const [a, b] = [nodeId("a"), nodeId("b")];

/** `task:t1 endpoint:web …`, removals as `-task:t1`. */
function names({ changes }: AssignmentsMessage): string {
  return changes
    .map(({ assignment }) => {
      switch (assignment?.$case) {
        case "task":
          return `task:${assignment.value.id}`;
        case "endpoint":
          return `endpoint:${assignment.value.serviceId}`;
        case "registry":
          return `registry:${assignment.value.registry}`;
        case "removedTask":
          return `-task:${assignment.value}`;
        case "removedEndpoint":
          return `-endpoint:${assignment.value}`;
        case "removedRegistry":
          return `-registry:${assignment.value}`;
        case undefined:
          return "?";
      }
    })
    .join(" ");
}

const running = (address: string): Task["status"] =>
  task("x", a, { status: { state: TaskState.RUNNING, container: { address } } }).status;
const login = (registry: string): RegistryCredential =>
  RegistryCredential.create({ meta: { id: registry }, registry, auth: { username: "u", password: registry } });

/** Two tasks of `web`, one on each node. */
async function filled(options: Parameters<typeof harness>[0] = {}): Promise<Harness> {
  const h = await harness(options);
  await h.store.update((tx) => {
    tx.create("services", service("web"));
    tx.create("tasks", task("t1", a));
    tx.create(
      "tasks",
      task("t2", b, { slot: 2, status: { state: TaskState.RUNNING, container: { address: "10.77.2.2" } } }),
    );
  });
  return h;
}

const change = (h: Harness, id: string, fields: Partial<Task>): Promise<void> =>
  h.store.update((tx) => tx.update("tasks", { ...tx.resolve("tasks", id), ...fields }));

describe("the first message", () => {
  test("is all that the node has: its own tasks, every service, logins that its tasks use", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      for (const registry of ["docker.io", "registry.example:5000", "unused.example"])
        tx.create("registries", login(registry));
      tx.create("tasks", task("t3", a, { spec: { container: { image: "registry.example:5000/app:1" } } }));
      tx.create("tasks", task("ended", a, { status: { state: TaskState.FAILED } }));
      tx.create("tasks", task("pending", a, { status: { state: TaskState.PENDING } }));
      tx.create("tasks", task("lost", a, { status: { state: TaskState.ORPHANED } }));
      tx.create("services", Service.create({ meta: { id: "unaddressed" }, spec: { name: "unaddressed" } }));
    });
    const worker = await h.worker("a");
    const message = await worker.assignments().next(1);
    expect(message).toMatchObject({ type: AssignmentsMessage_Type.COMPLETE, appliesTo: "", resultsIn: "1" });
    expect(names(message)).toBe(
      "registry:docker.io registry:registry.example:5000 endpoint:web task:ended task:t1 task:t3",
    );
    expect(message.changes[2]?.assignment?.value).toEqual({
      serviceId: "web",
      name: "web",
      vip: "10.96.0.10",
      ports: [],
      networks: [{ id: "net", aliases: [] }],
      backends: [{ taskId: "t2", nodeId: b, slot: 2, address: "10.77.2.2", draining: false }],
    });
    expect(message.changes[4]?.assignment?.value).toEqual({
      id: "t1",
      serviceId: "web",
      serviceName: "web",
      slot: 1,
      spec: h.store.view().get("tasks", "t1")?.spec,
      desiredState: TaskState.RUNNING,
      networks: ["net"],
      serviceLabels: { tier: "front" },
      state: TaskState.ASSIGNED,
    });
  });

  test("is refused to who has no session", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    worker.session.leave();
    await worker.session.ended;
    expect(await worker.assignments().ended).toMatchObject({ failure: { code: "API_NOT_FOUND" } });
  });

  test("of another stream in the session ends the first stream", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const first = worker.assignments();
    await first.next(1);
    const second = worker.assignments();
    await second.next(1);
    expect(await first.ended).toMatchObject({ failure: { code: "API_ABORTED" } });
    await change(h, "t1", { desiredState: TaskState.SHUTDOWN });
    expect(names(await second.next(2))).toBe("task:t1");
  });
});

describe("later messages", () => {
  test("each follow upon the one before", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    for (const [count, slot] of [
      [2, 5],
      [3, 6],
    ] as const) {
      await h.store.update((tx) => tx.create("tasks", task(`n${slot}`, a, { slot })));
      await until("it was taken", async () => {
        await h.clock.advanceAsync(10);
        return stream.values.length === count;
      });
    }
    expect(stream.values.map(({ type, appliesTo, resultsIn }) => [type, appliesTo, resultsIn])).toEqual([
      [AssignmentsMessage_Type.COMPLETE, "", "1"],
      [AssignmentsMessage_Type.INCREMENTAL, "1", "2"],
      [AssignmentsMessage_Type.INCREMENTAL, "2", "3"],
    ]);
  });

  test("tell of new, changed, given-up and forgotten tasks of this node, and of no other's", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const seen = async (work: Promise<unknown>): Promise<string> => {
      const count = stream.values.length + 1;
      await work;
      await h.clock.advanceAsync(1_000);
      return names(await stream.next(count));
    };
    expect(await seen(h.store.update((tx) => tx.create("tasks", task("t4", a))))).toBe("task:t4");
    expect(await seen(change(h, "t4", { desiredState: TaskState.SHUTDOWN }))).toBe("task:t4");
    const orphaned = { ...task("x", a).status!, state: TaskState.ORPHANED };
    expect(await seen(change(h, "t4", { status: orphaned }))).toBe("-task:t4");
    expect(await seen(h.store.update((tx) => tx.delete("tasks", "t1")))).toBe("-task:t1");
    await h.store.update((tx) => tx.create("tasks", task("t5", b)));
    await h.store.update((tx) => tx.create("tasks", task("t6", a, { status: { state: TaskState.PENDING } })));
    expect(await seen(change(h, "t6", { status: task("x", a).status! }))).toBe("task:t6");
  });

  test("do not echo what the node itself told of a task", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    for (const state of [TaskState.ACCEPTED, TaskState.PREPARING, TaskState.STARTING])
      await worker.tell(["t1", { state }]);
    await worker.tell(["t1", { state: TaskState.RUNNING, container: running("10.77.1.2")!.container }]);
    expect(names(await stream.next(2))).toBe("endpoint:web");
    await worker.tell(["t1", { state: TaskState.FAILED }]);
    await h.clock.advanceAsync(1_000);
    expect(names(await stream.next(3))).toBe("endpoint:web");
  });

  test("bring a login before the task that needs it, take it back after its last, and tell a new password", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const image = "registry.example/app";
    await h.store.update((tx) => {
      tx.create("tasks", task("t4", a, { spec: { container: { image } } }));
      tx.create("registries", login("registry.example"));
    });
    expect(names(await stream.next(2))).toBe("registry:registry.example task:t4");
    await h.store.update((tx) => {
      const credential = tx.resolve("registries", "registry.example");
      tx.update("registries", { ...credential, auth: { username: "u", password: "new" } });
    });
    await h.clock.advanceAsync(1_000);
    expect((await stream.next(3)).changes).toEqual([
      {
        assignment: {
          $case: "registry",
          value: { registry: "registry.example", auth: { username: "u", password: "new" } },
        },
      },
    ]);
    await h.store.update((tx) => {
      tx.delete("tasks", "t4");
      tx.create("tasks", task("t5", a));
    });
    await h.clock.advanceAsync(1_000);
    expect(names(await stream.next(4))).toBe("task:t5 -task:t4 -registry:registry.example");
  });

  test("tell how a service is balanced: its address, its backends, which of them drain, and its end", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const backends = async (work: Promise<unknown>): Promise<string> => {
      const count = stream.values.length + 1;
      await work;
      await h.clock.advanceAsync(1_000);
      const message = await stream.next(count);
      const endpoint = message.changes.find(({ assignment }) => assignment?.$case === "endpoint")?.assignment;
      if (endpoint?.$case !== "endpoint") return names(message);
      return endpoint.value.backends.map(({ taskId, draining }) => `${taskId}${draining ? " drains" : ""}`).join(", ");
    };
    expect(await backends(change(h, "t1", { status: running("10.77.1.2")! }))).toBe("t1, t2");
    expect(await backends(change(h, "t2", { desiredState: TaskState.SHUTDOWN }))).toBe("t1, t2 drains");
    expect(await backends(change(h, "t2", { status: { ...running("x")!, state: TaskState.SHUTDOWN } }))).toBe("t1");
    expect(await backends(change(h, "t1", { status: running("")! }))).toBe("");
    await h.store.update((tx) => {
      for (const id of ["t1", "t2"]) tx.delete("tasks", id);
      tx.delete("services", "web");
    });
    await h.clock.advanceAsync(1_000);
    expect(names(stream.values.at(-1)!)).toBe("-task:t1 -endpoint:web");
  });

  test("let the backends of a silent node drain, until it is back", async () => {
    await using h = await filled();
    const silent = await h.worker("b");
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    await h.clock.advanceAsync(10_000);
    await worker.heartbeat();
    await h.clock.advanceAsync(7_000);
    const draining = (message: AssignmentsMessage): unknown =>
      message.changes.map(
        ({ assignment }) => assignment?.$case === "endpoint" && assignment.value.backends[0]?.draining,
      );
    expect(draining(await stream.next(2))).toEqual([true]);
    expect(h.store.view().get("nodes", silent.id)?.status?.state).toBe(NodeStatus_State.DOWN);
    await h.worker("b");
    await h.clock.advanceAsync(1_000);
    expect(draining(await stream.next(3))).toEqual([false]);
  });

  test("put services without networks on the default one, when it comes, and others on theirs", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      tx.delete("networks", "net");
      const { spec, ...rest } = service("db", "10.96.0.11");
      const networks = [{ network: "n2", aliases: ["database"] }];
      tx.create("services", { ...rest, spec: { ...spec!, task: { ...task("x", a).spec!, networks } } });
    });
    const stream = (await h.worker("a")).assignments();
    const networks = (message: AssignmentsMessage): unknown =>
      Object.fromEntries(
        message.changes.map(({ assignment }) =>
          assignment?.$case === "endpoint" ? [assignment.value.serviceId, assignment.value.networks] : ["other", 1],
        ),
      );
    expect(networks(await stream.next(1))).toMatchObject({ web: [], db: [{ id: "n2", aliases: ["database"] }] });
    await h.store.update((tx) =>
      tx.create("networks", {
        meta: { id: "new", version: 0, createdAt: undefined, updatedAt: undefined },
        spec: { name: "default", labels: {} },
      }),
    );
    expect(networks(await stream.next(2))).toEqual({ web: [{ id: "new", aliases: [] }] });
  });
});

describe("batches", () => {
  test("the first change of an idle stream goes out at once, without any time passing", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await change(h, "t2", { status: running("10.77.2.3")! });
    expect(names(await stream.next(2))).toBe("endpoint:web");
    expect(h.clock.monotonic()).toBe(0);
  });

  test("what can wait is gathered for 100 ms behind it", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await change(h, "t2", { status: running("10.77.2.3")! });
    await stream.next(2);
    for (const address of ["10.77.2.4", "10.77.2.5"]) await change(h, "t2", { status: running(address)! });
    await h.clock.advanceAsync(99);
    expect(stream.values).toHaveLength(2);
    await h.clock.advanceAsync(1);
    const [only] = (await stream.next(3)).changes;
    expect(only?.assignment).toMatchObject({ value: { backends: [{ address: "10.77.2.5" }] } });
    expect(stream.values).toHaveLength(3);
  });

  test("a task or a backend that leaves waits 10 ms at most, and takes the rest along", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await change(h, "t1", { status: running("10.77.1.2")! });
    await stream.next(2);
    await h.store.update((tx) => tx.create("services", service("db", "10.96.0.11")));
    await h.clock.advanceAsync(5);
    expect(stream.values).toHaveLength(2);
    await change(h, "t2", { desiredState: TaskState.SHUTDOWN });
    await h.clock.advanceAsync(5);
    expect(names(await stream.next(3))).toBe("endpoint:db endpoint:web");
    await h.store.update((tx) => tx.create("tasks", task("t4", a)));
    await h.clock.advanceAsync(10);
    expect(names(await stream.next(4))).toBe("task:t4");
  });

  test("hold 100 changes; what is left follows at once", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await h.store.update((tx) => {
      for (let n = 0; n < 250; n++) tx.create("tasks", task(`m${n}`, a, { slot: n }));
    });
    await stream.next(4);
    expect(stream.values.slice(1).map(({ changes }) => changes.length)).toEqual([100, 100, 50]);
    expect(h.clock.monotonic()).toBe(0);
  });

  test("of a worker that does not read hold each object once, as it is in the end", async () => {
    await using h = await filled();
    const { sessionId } = await h.worker("a");
    const call = { signal: new AbortController().signal, identity: { name: "local", roles: [] }, path: "" };
    const stream = h.dispatcher.handlers.assignments({ nodeId: a, sessionId }, call)[Symbol.asyncIterator]();
    await stream.next();
    for (let n = 0; n < 300; n++) await change(h, "t2", { status: running(`10.77.2.${n % 250}`)! });
    await h.store.update((tx) => tx.create("tasks", task("brief", a)));
    await h.store.update((tx) => tx.delete("tasks", "brief"));
    await until("all was seen", () => h.store.view().get("tasks", "brief") === undefined);
    await h.clock.advanceAsync(200);
    const { value } = await stream.next();
    expect(names(value as AssignmentsMessage)).toBe("endpoint:web");
  });
});

test("a dispatcher that falls behind the state looks at all of it again, and loses nothing", async () => {
  class Lagging extends Store {
    readonly #inner: Store;
    constructor(inner: Store) {
      super({} as never);
      this.#inner = inner;
    }
    override view(): ReturnType<Store["view"]> {
      return this.#inner.view();
    }
    override update<R>(work: Parameters<Store["update"]>[0]): Promise<R> {
      return this.#inner.update(work) as Promise<R>;
    }
    override watch(options: Parameters<Store["watch"]>[0]): ReturnType<Store["watch"]> {
      return this.#inner.watch({ ...options, limit: 1 });
    }
  }
  await using h = await harness({}, { storeOf: (store) => new Lagging(store) });
  const stream = (await h.worker("a")).assignments();
  await stream.next(1);
  // Two that are applied in one turn are more than may wait.
  const elsewhere = memoryStore();
  await elsewhere.store.update((tx) => tx.create("services", service("web")));
  await elsewhere.store.update((tx) => tx.create("tasks", task("t1", a)));
  const { version } = h.store.view();
  h.machine.apply(elsewhere.proposer.applied.map(({ index, data }) => ({ index: version + index, data })));
  await until("it saw both", async () => {
    await h.clock.advanceAsync(100);
    return stream.values.slice(1).map(names).join(" ") === "endpoint:web task:t1";
  });
  expect(h.log.records.map(({ event }) => event)).toContain("fell behind the state; looks at all of it again");
});

test("a worker that folds its stream has what the state says, whatever happens", async () => {
  const step = fc.record({
    kind: fc.constantFrom("task", "state", "move", "desired", "delete", "service", "unservice", "login", "logout"),
    id: fc.constantFrom("t1", "t2", "t3", "t4"),
    on: fc.constantFrom(a, b),
    service: fc.constantFrom("web", "db"),
    state: fc.constantFrom(
      TaskState.PENDING,
      TaskState.ASSIGNED,
      TaskState.RUNNING,
      TaskState.FAILED,
      TaskState.ORPHANED,
    ),
    registry: fc.constantFrom("docker.io", "registry.example"),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(step, fc.nat(150)), { minLength: 15, maxLength: 40, size: "max" }),
      async (steps) => {
        await using h = await harness({ batchChanges: 2 });
        const stream = (await h.worker("a")).assignments();
        await stream.next(1);
        for (const [{ kind, id, on, service: of, state, registry }, waitMs] of steps) {
          await h.store.update((tx) => {
            const there = tx.get("tasks", id);
            const status = { ...running("10.77.1.2")!, state };
            const image = registry === "docker.io" ? "nginx" : `${registry}/app`;
            if (kind === "task" && there === undefined)
              tx.create("tasks", task(id, on, { serviceId: of, status, spec: { container: { image } } }));
            if (kind === "state" && there !== undefined) tx.update("tasks", { ...there, status });
            if (kind === "move" && there !== undefined) tx.update("tasks", { ...there, nodeId: on });
            if (kind === "desired" && there !== undefined)
              tx.update("tasks", { ...there, desiredState: TaskState.SHUTDOWN });
            if (kind === "delete" && there !== undefined) tx.delete("tasks", id);
            const has = tx.get("services", of) !== undefined;
            if (kind === "service" && !has) tx.create("services", service(of));
            if (kind === "unservice" && has) tx.delete("services", of);
            const [credential] = tx.find("registries", "name", registry);
            if (kind === "login" && credential === undefined) tx.create("registries", login(registry));
            if (kind === "logout" && credential !== undefined) tx.delete("registries", registry);
          });
          await h.clock.advanceAsync(waitMs);
        }
        for (let n = 0; n < 10; n++) await h.clock.advanceAsync(100);
        const view = h.store.view();
        const tasks = view.find("tasks", "node", a).filter(isAssigned);
        const expected = {
          tasks: tasks.map(({ meta, desiredState }) => [meta!.id, desiredState]),
          endpoints: view.list("services").map((each) => endpointOf(view, each)),
          registries: view
            .list("registries")
            .map(({ registry }) => registry)
            .filter((registry) => tasks.some((each) => registryInUse(each) === registry))
            .sort(),
        };
        expect(folded(stream.values)).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});

function folded(messages: readonly AssignmentsMessage[]): unknown {
  const state = new Map<string, unknown>();
  let position = "";
  for (const { appliesTo, resultsIn, changes } of messages) {
    expect(appliesTo).toBe(position);
    position = resultsIn;
    for (const { assignment } of changes) {
      if (assignment?.$case === "task")
        state.set(`task/${assignment.value.id}`, [assignment.value.id, assignment.value.desiredState]);
      if (assignment?.$case === "endpoint") state.set(`endpoint/${assignment.value.serviceId}`, assignment.value);
      if (assignment?.$case === "registry")
        state.set(`registry/${assignment.value.registry}`, assignment.value.registry);
      // What is removed was there.
      if (assignment?.$case === "removedTask") expect(state.delete(`task/${assignment.value}`)).toBe(true);
      if (assignment?.$case === "removedEndpoint") expect(state.delete(`endpoint/${assignment.value}`)).toBe(true);
      if (assignment?.$case === "removedRegistry") expect(state.delete(`registry/${assignment.value}`)).toBe(true);
    }
  }
  const of = (kind: string): unknown[] =>
    [...state.keys()]
      .filter((key) => key.startsWith(kind))
      .sort()
      .map((key) => state.get(key));
  return { tasks: of("task"), endpoints: of("endpoint"), registries: of("registry") };
}

test.each([
  ["nginx", "docker.io"],
  ["library/nginx:1.2", "docker.io"],
  ["index.docker.io/library/nginx", "docker.io"],
  ["localhost/app", "localhost"],
  ["registry.example/app@sha256:00", "registry.example"],
  ["registry:5000/a/b:tag", "registry:5000"],
])("the registry of %s is %s", (image, registry) => {
  expect(registryOf(image)).toBe(registry);
});

test("an unknown session is told as such", async () => {
  await using h = await filled();
  const { handlers } = h.dispatcher;
  const call = { signal: new AbortController().signal, identity: { name: "local", roles: [] }, path: "" };
  const refused = await failureOf(async () => handlers.heartbeat({ nodeId: a, sessionId: "none" }, call));
  expect(ApiError.is(refused, "API_NOT_FOUND")).toBe(true);
});
