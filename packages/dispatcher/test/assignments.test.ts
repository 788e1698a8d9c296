import {
  ApiError,
  AssignmentsMessage_Type,
  LeaseState,
  NodeStatus_State,
  PortSpec_Mode,
  RegistryCredential,
  RestartPolicy_Condition,
  Service,
  TaskSpec,
  TaskState,
  Version,
  type AssignmentsMessage,
  type Service as ServiceObject,
} from "@warren/api";
import { decodeAssigned, type AssignedKind, type AssignedObjects } from "@warren/api/model";
import { until } from "@warren/std/testing";
import { describe, expect, test } from "vitest";

import {
  changeLease,
  context,
  deploy,
  epoch,
  failureOf,
  harness,
  lagging,
  lease,
  names,
  nodeId,
  place,
  Reading,
  report,
  run,
  setTask,
  slot,
  version,
  type Harness,
} from "./harness.ts";

const [a, b, c] = [nodeId("a"), nodeId("b"), nodeId("c")];

const login = (registry: string): RegistryCredential =>
  RegistryCredential.create({ meta: { id: registry }, registry, auth: { username: "u", password: registry } });

/** `web.1` assigned to node a, `web.2` running on node b. */
async function filled(options: Parameters<typeof harness>[0] = {}): Promise<Harness> {
  const h = await harness(options);
  await h.store.update((tx) => {
    deploy(tx, "web");
    place(tx, "web", 1, a);
    place(tx, "web", 2, b, { state: TaskState.RUNNING, address: "10.77.2.2" });
  });
  return h;
}

/** The object of a kind in a message. */
function objectOf<K extends AssignedKind>(message: AssignmentsMessage, kind: K, key: string): AssignedObjects[K] {
  const at = names(message).split(" ").indexOf(`${kind}:${key}`);
  expect(at, `${kind}:${key} is in ${names(message)}`).toBeGreaterThanOrEqual(0);
  return decodeAssigned(kind, message.changes[at]!.object!);
}

/** The message after `work`. */
async function seen(
  h: Harness,
  stream: Reading<AssignmentsMessage>,
  work: Promise<unknown>,
): Promise<AssignmentsMessage> {
  const count = stream.values.length + 1;
  await work;
  await h.clock.advanceAsync(1_000);
  return stream.next(count);
}

/** The messages after the first `before`, once all pending changes were sent. */
async function settled(h: Harness, stream: Reading<AssignmentsMessage>, before: number): Promise<string> {
  for (let n = 0; n < 5; n++) await h.clock.advanceAsync(200);
  return stream.values.slice(before).map(names).join(" | ");
}

function changeService(h: Harness, id: string, change: (service: ServiceObject) => ServiceObject): Promise<void> {
  return h.store.update((tx) => tx.update("services", change(tx.resolve("services", id))));
}

describe("the first message", () => {
  test("L12: has all of the node's objects: its leases, what they need, and the services on their networks", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      for (const registry of ["docker.io", "registry.example:5000", "unused.example"])
        tx.create("registries", login(registry));
      deploy(tx, "app", { vip: "10.96.0.11", image: "registry.example:5000/app:1" });
      tx.create(
        "slots",
        slot("app", 1, [
          lease(a, { versionId: "v-app", state: LeaseState.RELEASED, wasHeld: true }),
          lease(a, { versionId: "v-app", epoch: epoch(2), state: LeaseState.RELEASING }),
          lease(b, { versionId: "v-app", epoch: epoch(3), state: LeaseState.HELD }),
          lease("", { versionId: "v-app", epoch: epoch(4), state: LeaseState.WANTED, address: "" }),
        ]),
      );
      deploy(tx, "elsewhere", { vip: "10.96.0.12", networks: ["other"] });
      tx.create("services", Service.create({ meta: { id: "unaddressed" }, spec: { name: "unaddressed" } }));
    });
    const worker = await h.worker("a");
    const message = await worker.assignments().next(1);
    expect(message).toMatchObject({
      type: AssignmentsMessage_Type.COMPLETE,
      appliesTo: "",
      resultsIn: "1",
      dropped: Buffer.alloc(0),
      point: h.store.point(),
    });
    expect(names(message).split(" ").toSorted()).toEqual([
      "backend:web.2/7-1",
      "endpoint:app",
      "endpoint:web",
      "lease:app.1/7-2",
      "lease:web.1/7-1",
      "registry:docker.io",
      "registry:registry.example:5000",
      "service:app",
      "service:web",
      "version:v-app",
      "version:v-web",
    ]);
    expect(objectOf(message, "endpoint", "web")).toMatchObject({
      serviceId: "web",
      name: "web",
      vip: "10.96.0.10",
      ports: [],
      networks: [{ id: "net", aliases: [] }],
    });
    expect(objectOf(message, "backend", "web.2/7-1")).toMatchObject({
      address: 0x0a_4d_02_02,
      nodeId: b,
      weight: 100,
    });
    expect(objectOf(message, "lease", "web.1/7-1")).toMatchObject({
      slotId: "web.1",
      epoch: epoch(1),
      versionId: "v-web",
      state: LeaseState.HELD,
      address: "10.77.1.2",
    });
    expect(objectOf(message, "service", "web")).toMatchObject({ id: "web", name: "web", labels: { tier: "front" } });
    expect(objectOf(message, "version", "v-web")).toMatchObject({ networks: ["net"], number: 1 });
  });

  test("has an object before those that need it", async () => {
    await using h = await filled();
    await h.store.update((tx) => tx.create("registries", login("docker.io")));
    const order = names(await (await h.worker("a")).assignments().next(1)).replaceAll(/:[^ ]+/g, "");
    const place = (kind: string): number => order.split(" ").indexOf(kind);
    for (const kind of ["version", "registry", "service"]) expect(place(kind)).toBeLessThan(place("endpoint"));
    expect(place("endpoint")).toBeLessThan(place("backend"));
    expect(place("backend")).toBeLessThan(place("lease"));
  });

  test("is refused for a node without a session", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    worker.session.leave();
    await worker.session.ended;
    expect(await worker.assignments().ended).toMatchObject({ failure: { code: "API_NOT_FOUND" } });
  });

  test("of a second stream in the session ends the first stream", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const first = worker.assignments();
    await first.next(1);
    const second = worker.assignments();
    await second.next(1);
    expect(await first.ended).toMatchObject({ failure: { code: "API_ABORTED" } });
    await h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASING }));
    expect(names(await second.next(2))).toBe("lease:web.1/7-1");
  });
});

describe("later messages", () => {
  test("each name their predecessor, and carry a later point", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    for (const [count, number] of [
      [2, 5],
      [3, 6],
    ] as const) {
      await h.store.update((tx) => place(tx, "web", number, a));
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
    const versions = stream.values.map(({ point }) => point!.version);
    expect(versions.toSorted((x, y) => x - y)).toEqual(versions);
    expect(new Set(versions).size).toBe(3);
  });

  test("name new, changed and released leases of this node, and of no other", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    expect(
      names(
        await seen(
          h,
          stream,
          h.store.update((tx) => place(tx, "web", 4, a)),
        ),
      ),
    ).toBe("lease:web.4/7-1");
    const release = h.store.update((tx) => changeLease(tx, "web.4", { state: LeaseState.RELEASING }));
    expect(objectOf(await seen(h, stream, release), "lease", "web.4/7-1").state).toBe(LeaseState.RELEASING);
    const released = h.store.update((tx) => changeLease(tx, "web.4", { state: LeaseState.RELEASED }));
    expect(names(await seen(h, stream, released))).toBe("-lease:web.4/7-1");
    await h.store.update((tx) => place(tx, "web", 5, b));
    await h.store.update((tx) =>
      tx.create("slots", slot("web", 6, [lease("", { state: LeaseState.WANTED, address: "" })])),
    );
    const offer = h.store.update((tx) =>
      changeLease(tx, "web.6", { state: LeaseState.OFFERED, nodeId: a, address: "10.77.1.9" }),
    );
    expect(names(await seen(h, stream, offer))).toBe("lease:web.6/7-1");
  });

  test("do not repeat the node's own reports, except for the backend that follows from them", async () => {
    await using h = await filled();
    const worker = await h.worker("a");
    const stream = worker.assignments();
    await stream.next(1);
    for (const state of [TaskState.ACCEPTED, TaskState.PREPARING, TaskState.STARTING, TaskState.RUNNING])
      await worker.report(report("web.1", "HELD", { runs: [run(state)] }));
    expect(await settled(h, stream, 1)).toBe("backend:web.1/7-1");
    await worker.report(report("web.1", "HELD", { runs: [run(TaskState.FAILED)] }));
    expect(await settled(h, stream, 2)).toBe("-backend:web.1/7-1");
  });

  test("have a login before the lease that needs it, a new password, and the removal after the last such lease", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await h.store.update((tx) => {
      deploy(tx, "app", { vip: "10.96.0.11", image: "registry.example/app" });
      place(tx, "app", 1, a);
      tx.create("registries", login("registry.example"));
    });
    const first = names(await stream.next(2)).split(" ");
    expect(first.indexOf("registry:registry.example")).toBeGreaterThanOrEqual(0);
    expect(first.indexOf("registry:registry.example")).toBeLessThan(first.indexOf("lease:app.1/7-1"));
    const auth = { username: "u", password: "new" };
    const changed = h.store.update((tx) =>
      tx.update("registries", { ...tx.resolve("registries", "registry.example"), auth }),
    );
    const message = await seen(h, stream, changed);
    expect(names(message)).toBe("registry:registry.example");
    expect(objectOf(message, "registry", "registry.example").auth).toMatchObject(auth);
    const gone = h.store.update((tx) => changeLease(tx, "app.1", { state: LeaseState.RELEASED }));
    const last = names(await seen(h, stream, gone)).split(" ");
    expect(last[0]).toBe("-lease:app.1/7-1");
    expect(last.toSorted()).toEqual([
      "-lease:app.1/7-1",
      "-registry:registry.example",
      "-service:app",
      "-version:v-app",
    ]);
  });

  test("have the login of the registry that a version names, if it is not its image's", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      tx.create("registries", login("mirror.example"));
      const task = TaskSpec.create({ container: { image: "nginx" }, registryLogin: "mirror.example" });
      tx.create("versions", version("app", { task }));
      tx.create("slots", slot("app", 1, [lease(a, { versionId: "v-app" })]));
    });
    expect(names(await (await h.worker("a")).assignments().next(1))).toContain("registry:mirror.example");
  });

  test("have the login of the image's registry by its canonical name, as the worker looks it up", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      tx.create("registries", login("ghcr.example"));
      tx.create(
        "versions",
        version("app", { task: TaskSpec.create({ container: { image: "GHCR.example/team/app" } }) }),
      );
      tx.create("slots", slot("app", 1, [lease(a, { versionId: "v-app" })]));
    });
    expect(names(await (await h.worker("a")).assignments().next(1))).toContain("registry:ghcr.example");
  });

  test("have a changed restart policy without a new lease, and an image digest with its version", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const restart = { condition: RestartPolicy_Condition.ON_FAILURE, delayMs: 10, maxAttempts: 3, windowMs: 0 };
    const changed = changeService(h, "web", (service) => ({
      ...service,
      spec: { ...service.spec!, task: { ...service.spec!.task!, restart } },
    }));
    const message = await seen(h, stream, changed);
    expect(names(message)).toBe("service:web");
    expect(objectOf(message, "service", "web").restart).toMatchObject(restart);
    const imageDigest = `sha256:${"1".repeat(64)}`;
    const known = h.store.update((tx) => tx.update("versions", { ...tx.resolve("versions", "v-web"), imageDigest }));
    const next = await seen(h, stream, known);
    expect(names(next)).toBe("version:v-web");
    expect(objectOf(next, "version", "v-web").imageDigest).toBe(imageDigest);
  });

  test("keep a deleted service's name, without restarts, until its last lease on the node is released", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const message = await seen(
      h,
      stream,
      h.store.update((tx) => tx.delete("services", "web")),
    );
    expect(names(message).split(" ").toSorted()).toEqual(["-backend:web.2/7-1", "-endpoint:web", "service:web"]);
    expect(objectOf(message, "service", "web")).toMatchObject({
      name: "web",
      restart: { condition: RestartPolicy_Condition.NONE },
    });
    const gone = h.store.update((tx) => changeLease(tx, "web.1", { state: LeaseState.RELEASED }));
    expect(
      names(await seen(h, stream, gone))
        .split(" ")
        .toSorted(),
    ).toEqual(["-lease:web.1/7-1", "-service:web", "-version:v-web"]);
  });

  test("have the endpoints of a network with the node's first lease there, and their removal with its last", async () => {
    await using h = await filled();
    const stream = (await h.worker("c")).assignments();
    expect(names(await stream.next(1))).toBe("");
    const first = await seen(
      h,
      stream,
      h.store.update((tx) => place(tx, "web", 3, c)),
    );
    expect(names(first).split(" ").toSorted()).toEqual([
      "backend:web.2/7-1",
      "endpoint:web",
      "lease:web.3/7-1",
      "service:web",
      "version:v-web",
    ]);
    expect(
      names(
        await seen(
          h,
          stream,
          h.store.update((tx) => place(tx, "web", 4, c)),
        ),
      ),
    ).toBe("lease:web.4/7-1");
    await seen(
      h,
      stream,
      h.store.update((tx) => changeLease(tx, "web.3", { state: LeaseState.RELEASED })),
    );
    const last = h.store.update((tx) => changeLease(tx, "web.4", { state: LeaseState.RELEASED }));
    expect(names(await seen(h, stream, last))).toBe(
      "-backend:web.2/7-1 -lease:web.4/7-1 -endpoint:web -version:v-web -service:web",
    );
  });

  test("have services with ingress ports on every node, and those with host ports on the nodes of their tasks only", async () => {
    await using h = await filled();
    const stream = (await h.worker("c")).assignments();
    await stream.next(1);
    const publish = (mode: PortSpec_Mode): Promise<void> =>
      changeService(h, "web", (service) => ({
        ...service,
        endpoint: { ...service.endpoint!, ports: [{ target: 80, published: 8080, protocol: 1, mode }] },
      }));
    expect(names(await seen(h, stream, publish(PortSpec_Mode.INGRESS)))).toBe("endpoint:web backend:web.2/7-1");
    expect(names(await seen(h, stream, publish(PortSpec_Mode.HOST)))).toBe("-backend:web.2/7-1 -endpoint:web");
  });

  test("follow a service to another network", async () => {
    await using h = await filled();
    await h.store.update((tx) => {
      deploy(tx, "other", { vip: "10.96.0.12", networks: ["n2"] });
      place(tx, "other", 1, c);
    });
    const stream = (await h.worker("c")).assignments();
    await stream.next(1);
    await h.store.update((tx) =>
      tx.create("versions", Version.create({ meta: { id: "v2" }, serviceId: "web", number: 2, networks: ["n2"] })),
    );
    const moved = changeService(h, "web", (service) => ({ ...service, versionId: "v2" }));
    const message = await seen(h, stream, moved);
    expect(names(message)).toBe("endpoint:web backend:web.2/7-1");
    expect(objectOf(message, "endpoint", "web").networks).toMatchObject([{ id: "n2" }]);
  });
});

describe("backends", () => {
  test("are held leases whose tasks run, on nodes that are not down", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    const of = async (work: Promise<unknown>): Promise<string> => names(await seen(h, stream, work));
    const lost = h.store.update((tx) => {
      const message = { id: b, version: 0, createdAt: undefined, updatedAt: undefined };
      tx.create("nodes", { meta: message, status: { state: NodeStatus_State.DOWN } } as never);
    });
    expect(await of(lost)).toBe("-backend:web.2/7-1");
    const back = h.store.update((tx) => {
      const node = tx.resolve("nodes", b);
      tx.update("nodes", { ...node, status: { ...node.status!, state: NodeStatus_State.READY } });
    });
    expect(await of(back)).toBe("backend:web.2/7-1");
    const ended = h.store.update((tx) => setTask(tx, "web.2", TaskState.FAILED));
    expect(await of(ended)).toBe("-backend:web.2/7-1");
    const started = h.store.update((tx) => setTask(tx, "web.2", TaskState.RUNNING));
    expect(await of(started)).toBe("backend:web.2/7-1");
    const released = h.store.update((tx) => changeLease(tx, "web.2", { state: LeaseState.RELEASING }));
    expect(await of(released)).toBe("-backend:web.2/7-1");
    const takenBack = h.store.update((tx) => changeLease(tx, "web.2", { state: LeaseState.HELD }));
    expect(await of(takenBack)).toBe("backend:web.2/7-1");
  });

  test("L8: are removed before their lease is to stop, on its own node and at once on the others", async () => {
    await using h = await filled();
    const [onA, onB] = [(await h.worker("a")).assignments(), (await h.worker("b")).assignments()];
    await Promise.all([onA.next(1), onB.next(1)]);
    await h.store.update((tx) => {
      changeLease(tx, "web.2", { state: LeaseState.RELEASING });
      place(tx, "web", 3, b);
    });
    expect(names(await onB.next(2))).toBe("-backend:web.2/7-1 lease:web.2/7-1 lease:web.3/7-1");
    expect(names(await onA.next(2))).toBe("-backend:web.2/7-1");
    expect(h.clock.monotonic()).toBe(0);
  });
});

describe("batches", () => {
  test("the first change of an idle stream is sent at once", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await h.store.update((tx) => place(tx, "web", 3, b, { state: TaskState.RUNNING }));
    expect(names(await stream.next(2))).toBe("backend:web.3/7-1");
    expect(h.clock.monotonic()).toBe(0);
  });

  test("later changes that are not urgent wait 100 ms", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    for (const number of [3, 4, 5]) {
      await h.store.update((tx) => place(tx, "web", number, b, { state: TaskState.RUNNING }));
      if (number === 3) await stream.next(2);
    }
    await h.clock.advanceAsync(99);
    expect(stream.values).toHaveLength(2);
    await h.clock.advanceAsync(1);
    expect(names(await stream.next(3))).toBe("backend:web.4/7-1 backend:web.5/7-1");
    expect(stream.values).toHaveLength(3);
  });

  test("a lease, or a backend's removal, waits 10 ms at most, and the other changes are sent with it", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await h.store.update((tx) => place(tx, "web", 3, b, { state: TaskState.RUNNING }));
    await stream.next(2);
    await h.store.update((tx) => deploy(tx, "db", { vip: "10.96.0.11" }));
    await h.clock.advanceAsync(5);
    expect(stream.values).toHaveLength(2);
    await h.store.update((tx) => changeLease(tx, "web.2", { state: LeaseState.RELEASING }));
    await h.clock.advanceAsync(5);
    expect(names(await stream.next(3))).toBe("-backend:web.2/7-1 endpoint:db");
    await h.store.update((tx) => place(tx, "web", 4, a));
    await h.clock.advanceAsync(10);
    expect(names(await stream.next(4))).toBe("lease:web.4/7-1");
  });

  test("have at most 100 changes; the rest follows at once", async () => {
    await using h = await filled();
    const stream = (await h.worker("a")).assignments();
    await stream.next(1);
    await h.store.update((tx) => {
      for (let n = 10; n < 260; n++) tx.create("slots", slot("web", n, [lease(a)]));
    });
    await stream.next(4);
    expect(stream.values.slice(1).map(({ changes }) => changes.length)).toEqual([100, 100, 50]);
    expect(h.clock.monotonic()).toBe(0);
  });

  test("for a worker that does not read have each object once, in its last state", async () => {
    await using h = await filled();
    const { sessionId } = await h.worker("a");
    const call = context(new AbortController().signal, a);
    const request = { nodeId: a, sessionId, held: Buffer.alloc(0) };
    const stream = h.dispatcher.handlers.assignments(request, call)[Symbol.asyncIterator]();
    await stream.next();
    for (let n = 0; n < 300; n++)
      await h.store.update((tx) => setTask(tx, "web.2", n % 2 === 0 ? TaskState.FAILED : TaskState.RUNNING));
    await h.store.update((tx) => place(tx, "web", 9, a));
    await h.store.update((tx) => tx.delete("slots", "web.9"));
    await h.clock.advanceAsync(200);
    const { value } = await stream.next();
    expect(names(value as AssignmentsMessage)).toBe("backend:web.2/7-1");
  });
});

test("a dispatcher that falls behind the state resyncs, and loses no change", async () => {
  await using h = await harness({}, { storeOf: (store) => lagging(store, () => true) });
  const stream = (await h.worker("a")).assignments();
  await stream.next(1);
  await h.store.update((tx) => {
    deploy(tx, "web");
    place(tx, "web", 1, a);
  });
  expect(names(await stream.next(2))).toBe("version:v-web service:web endpoint:web lease:web.1/7-1");
  expect(h.log.records.map(({ event }) => event)).toContain("fell behind the changes of the state; resyncs all of it");
});

test("an unknown session is refused as API_NOT_FOUND", async () => {
  await using h = await filled();
  const { handlers } = h.dispatcher;
  const call = context(new AbortController().signal, a);
  const refused = await failureOf(async () => handlers.heartbeat({ nodeId: a, sessionId: "none" }, call));
  expect(ApiError.is(refused, "API_NOT_FOUND")).toBe(true);
});
