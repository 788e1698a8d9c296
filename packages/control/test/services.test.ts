import {
  ObjectKind,
  PortSpec_Mode,
  PortSpec_Protocol,
  LeaseState,
  NodeStatus_State,
  Service,
  TaskState,
  UpdateConfig_Order,
  UpdateStatus,
  UpdateStatus_State,
  Version,
  type ServiceSpec,
} from "@warren/api";
import { numberedSlot } from "@warren/api/model";
import { describe, expect, it } from "vitest";
import { addNode, addTask, control, failure, faults, web, type TestTask } from "./fixture.ts";

const spec = (service: Service): ServiceSpec => service.spec as ServiceSpec;

describe("update with order start-first", () => {
  const host = { target: 80, published: 8_080, mode: PortSpec_Mode.HOST };

  it("is refused where the first new task could never be placed, with what to do; one that replaces nothing is not", async () => {
    const fixture = await control();
    const { client } = fixture;
    await addNode(fixture, "edge-1");
    await client.services.create({ spec: web({ ports: [host] }) });
    const startFirst = { order: UpdateConfig_Order.START_FIRST };
    await client.services.update({ ref: "web", spec: web({ ports: [host], update: startFirst }) });
    const other = web({ ports: [host], update: startFirst }, { image: "other" });
    const error = await failure(client.services.update({ ref: "web", spec: other }));
    expect(error.code).toBe("API_PRECONDITION");
    expect(error.message).toContain("port 8080 of the host is one task's on each node");
    expect(error.remedy).toBe("update with order stop-first, publish the port with mode ingress, or add a node");
    await addNode(fixture, "edge-2");
    await client.services.update({ ref: "web", spec: other });
  });
});

describe("create", () => {
  it("stores the completed spec on the default network, with an event, and says what is awaited", async () => {
    const { client, store } = await control();
    const service = await client.services.create({ spec: web() });
    expect(service).toMatchObject({ specVersion: 1, lastVersionNumber: 1, summary: { desired: 1, running: 0 } });
    expect(service.summary?.waiting).toBe("its tasks are not made yet");
    expect(spec(service).task?.container?.stopGraceMs).toBe(10_000);
    const [network] = store.view().find("networks", "name", "default");
    expect(spec(service).task?.networks).toEqual([{ network: network?.meta?.id, aliases: [] }]);
    const { events } = await client.events.list({ ref: "web" });
    expect(events).toMatchObject([{ kind: ObjectKind.SERVICE, action: "created", objectId: service.meta?.id }]);
  });

  it("names every field that is wrong and stores nothing", async () => {
    const { client, store } = await control();
    const before = store.view().version;
    expect(await faults(client.services.create({}))).toEqual(["spec"]);
    expect(await faults(client.services.create({ spec: web({ name: "" }, { image: "" }) }))).toEqual([
      "spec.name",
      "spec.task.container.image",
    ]);
    const constraints = ["node.role == worker", "node.role ~ x", "?", "node.colour == red", "node.labels.zone == a"];
    expect(await faults(client.services.create({ spec: web({ task: { placement: { constraints } } }) }))).toEqual([
      "spec.task.placement.constraints[1]",
      "spec.task.placement.constraints[2]",
      "spec.task.placement.constraints[3]",
    ]);
    expect(store.view().version).toBe(before);
  });

  it("tells which network there is none of, and which there are", async () => {
    const { client } = await control();
    await client.networks.create({ spec: { name: "blue" } });
    const networks = [{ network: "blue" }, { network: "green" }];
    const error = await failure(client.services.create({ spec: web({ task: { networks } }) }));
    expect(error.failure).toMatchObject({ violations: [{ field: "spec.task.networks[1].network" }] });
    expect(error.message).toContain("blue, default");
  });

  it("takes a network by name or id, but not twice", async () => {
    const { client } = await control();
    const { meta } = await client.networks.create({ spec: { name: "blue" } });
    const networks = [{ network: "blue" }, { network: meta?.id ?? "" }];
    expect(await faults(client.services.create({ spec: web({ task: { networks } }) }))).toEqual([
      "spec.task.networks[1].network",
    ]);
  });

  it("refuses a name that is taken, of two at once too", async () => {
    const { client } = await control();
    const made = await Promise.allSettled([1, 2].map(() => client.services.create({ spec: web() })));
    expect(made.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    const error = await failure(client.services.create({ spec: web() }));
    expect(error.failure).toEqual({ code: "API_ALREADY_EXISTS", kind: "service", name: "web" });
  });

  it("tells which service holds a port, for ingress and host ports", async () => {
    const { client, store } = await control();
    const ports = (published: number, mode: PortSpec_Mode = PortSpec_Mode.INGRESS) => [{ target: 80, published, mode }];
    await client.services.create({ spec: web({ ports: ports(80) }) });
    await client.services.create({ spec: web({ name: "host", ports: ports(81, PortSpec_Mode.HOST) }) });
    const error = await failure(
      client.services.create({ spec: web({ name: "b", ports: ports(80, PortSpec_Mode.HOST) }) }),
    );
    expect(error.failure).toMatchObject({
      code: "API_PRECONDITION",
      violations: [{ type: "PORT_IN_USE", subject: "service/web" }],
    });
    expect(error.message).toContain("80/tcp");
    expect((await failure(client.services.create({ spec: web({ name: "b", ports: ports(81) }) }))).code).toBe(
      "API_PRECONDITION",
    );
    await client.services.create({ spec: web({ name: "b", ports: ports(81, PortSpec_Mode.HOST) }) });
    await client.services.create({ spec: web({ name: "c", ports: [{ target: 80, published: 80, protocol: 2 }] }) });
    // One that was chosen for a service is held too.
    await client.services.create({ spec: web({ name: "any", ports: ports(0) }) });
    await store.update((tx) => {
      const [any] = tx.find("services", "name", "any") as [Service];
      const endpoint = { vip: "10.96.0.9", ports: [{ target: 80, published: 30_000, protocol: 1, mode: 1 } as const] };
      tx.update("services", { ...any, endpoint });
    });
    expect(
      (await failure(client.services.create({ spec: web({ name: "d", ports: ports(30_000) }) }))).message,
    ).toContain('"any"');
  });

  it("that is cut off before it is proposed is not done", async () => {
    const { client, proposer, store } = await control();
    const release = proposer.hold();
    const first = client.services.create({ spec: web({ name: "first" }) });
    const abort = new AbortController();
    const second = failure(client.services.create({ spec: web({ name: "second" }) }, { signal: abort.signal }));
    // Something else of this connection is answered, so the second has arrived and waits behind the first.
    await client.services.list({});
    abort.abort();
    expect((await second).code).toBe("API_CANCELLED");
    await client.services.list({});
    release();
    await first;
    await client.services.create({ spec: web({ name: "third" }) });
    const names = store
      .view()
      .list("services")
      .map((service) => spec(service).name);
    expect(names.sort()).toEqual(["first", "third"]);
  });

  it.each([
    ["unavailable", "API_UNAVAILABLE"],
    ["outcome-unknown-lost", "API_OUTCOME_UNKNOWN"],
  ] as const)("tells the store's %s as %s", async (fault, code) => {
    const { client, proposer } = await control();
    proposer.failNext(fault);
    expect((await failure(client.services.create({ spec: web() }))).code).toBe(code);
  });

  it("is UNAVAILABLE where this manager does not lead, and retried over a conflict", async () => {
    const world = await control();
    const { client, proposer } = world;
    world.endTerm();
    const error = await failure(client.services.create({ spec: web() }));
    expect(error).toMatchObject({ code: "API_UNAVAILABLE", reason: "STORE_NOT_LEADER" });
    await world.beginTerm();
    proposer.failNext("conflict");
    await client.services.create({ spec: web() });
  });
});

describe("get and list", () => {
  it("finds by name, id and the beginning of an id, and says what to do else", async () => {
    const { client } = await control();
    const { meta } = await client.services.create({ spec: web() });
    for (const ref of ["web", meta?.id ?? "", meta?.id.slice(0, 8) ?? ""])
      expect((await client.services.get({ ref })).meta?.id).toBe(meta?.id);
    const error = await failure(client.services.get({ ref: "we-b" }));
    expect(error).toMatchObject({
      failure: { code: "API_NOT_FOUND", kind: "service", ref: "we-b" },
      remedy: "see what there is with: warren service list",
    });
    expect(await faults(client.services.get({ ref: "" }))).toEqual(["ref"]);
    expect(await faults(client.services.get({ ref: "x".repeat(300) }))).toEqual(["ref"]);
  });

  it("tells the candidates of an ambiguous prefix", async () => {
    const { client, store } = await control();
    for (const id of ["abc1", "abc2"]) {
      await store.update((tx) =>
        tx.create("services", {
          ...structuredClone(serviceOf(id)),
          meta: { id, version: 0, createdAt: undefined, updatedAt: undefined },
        }),
      );
    }
    expect((await failure(client.services.get({ ref: "abc" }))).failure).toEqual({
      code: "API_AMBIGUOUS",
      kind: "service",
      ref: "abc",
      candidates: ["abc1", "abc2"],
    });
  });

  it("pages by name, with tokens that outlive changes", async () => {
    const { client } = await control();
    for (const name of ["e", "b", "d", "a", "c"]) await client.services.create({ spec: web({ name }) });
    const first = await client.services.list({ page: { size: 2 } });
    expect(first.services.map((each) => spec(each).name)).toEqual(["a", "b"]);
    await client.services.create({ spec: web({ name: "aa" }) });
    await client.services.create({ spec: web({ name: "bb" }) });
    const second = await client.services.list({ page: { size: 3, token: first.nextPageToken } });
    expect(second.services.map((each) => spec(each).name)).toEqual(["bb", "c", "d"]);
    const last = await client.services.list({ page: { size: 3, token: second.nextPageToken } });
    expect(last.services.map((each) => spec(each).name)).toEqual(["e"]);
    expect(last.nextPageToken).toBe("");
    expect(await faults(client.services.list({ page: { token: "nonsense" } }))).toEqual(["page.token"]);
    expect(await faults(client.networks.list({ page: { token: first.nextPageToken } }))).toEqual(["page.token"]);
    expect(await faults(client.services.list({ page: { size: 1_001 } }))).toEqual(["page.size"]);
  });

  it("ends a page early when its objects are large, and loses none", { timeout: 30_000 }, async () => {
    const { client } = await control();
    const args = Array.from({ length: 2 }, () => "x".repeat(100_000));
    for (let i = 0; i < 25; i += 1) await client.services.create({ spec: web({ name: `s${i}` }, { args }) });
    const names: string[] = [];
    let pages = 0;
    let token = "";
    do {
      const answer = await client.services.list({ page: { size: 1_000, token } });
      names.push(...answer.services.map((each) => spec(each).name));
      token = answer.nextPageToken;
      pages += 1;
    } while (token !== "");
    expect(new Set(names).size).toBe(25);
    expect(pages).toBeGreaterThan(1);
  });

  it("filters by the beginning of names and by labels", async () => {
    const { client } = await control();
    await client.services.create({ spec: web({ name: "web", labels: { tier: "front" } }) });
    await client.services.create({ spec: web({ name: "worker", labels: { tier: "back" } }) });
    await client.services.create({ spec: web({ name: "db" }) });
    const names = async (request: Parameters<typeof client.services.list>[0]): Promise<string[]> =>
      (await client.services.list(request)).services.map((each) => spec(each).name);
    expect(await names({ names: ["w"] })).toEqual(["web", "worker"]);
    expect(await names({ names: ["db", "web"] })).toEqual(["db", "web"]);
    expect(await names({ labels: { tier: "" } })).toEqual(["web", "worker"]);
    expect(await names({ labels: { tier: "back" } })).toEqual(["worker"]);
    expect(await faults(client.services.list({ names: Array.from({ length: 101 }, () => "w") }))).toEqual(["names"]);
  });
});

describe("restart", () => {
  it("is a new version of the same spec and the same image, whose containers are others", async () => {
    const world = await control();
    const { client, store, relay } = world;
    const nodeId = await addNode(world, "a");
    let asked = 0;
    relay.resolutions.set(nodeId, async () => ((asked += 1), { digest: `sha256:${"a".repeat(64)}`, localReason: "" }));
    const created = await client.services.create({ spec: web({ labels: { a: "b" } }) });
    const restarted = await client.services.restart({ ref: "web" });
    expect(restarted).toMatchObject({ specVersion: 2, lastVersionNumber: 2 });
    const [before, after] = [created, restarted].map(({ versionId }) => store.view().get("versions", versionId)!);
    expect(after!.imageDigest).toBe(before!.imageDigest);
    expect(after!.make).not.toBe(before!.make);
    expect({ ...after!.task, forceUpdate: 0 }).toEqual(before!.task);
    expect(spec(restarted)).toEqual({ ...spec(created), task: after!.task });
    expect(asked).toBe(1);
    const { events } = await client.events.list({ ref: "web" });
    expect(events.map(({ action }) => action)).toContain("restarted");
    expect((await failure(client.services.restart({ ref: "nix" }))).code).toBe("API_NOT_FOUND");
  });
});

describe("history", () => {
  it("has the versions that a rollback may name, the newest first, ten at most, and what runs of each", async () => {
    const world = await control();
    const { client } = world;
    const { meta } = await client.services.create({ spec: web() });
    const first = (await client.services.get({ ref: "web" })).versionId;
    await client.services.update({ ref: "web", spec: web({}, { image: "nginx:2" }) });
    await addTask(world, { serviceId: meta!.id, versionId: first, status: { state: TaskState.RUNNING } });
    const { versions } = await client.services.history({ ref: "web" });
    expect(versions).toMatchObject([
      { version: { number: 2, task: { container: { image: "nginx:2" } } }, wanted: true, completed: false, running: 0 },
      {
        version: { number: 1, task: { container: { image: "nginx:1" } } },
        wanted: false,
        completed: false,
        running: 1,
      },
    ]);
    for (let i = 3; i <= 12; i += 1) await client.services.restart({ ref: "web" });
    const kept = (await client.services.history({ ref: "web" })).versions.map(({ version }) => version!.number);
    expect(kept).toEqual([12, 11, 10, 9, 8, 7, 6, 5, 4, 3]);
    expect((await failure(client.services.rollback({ ref: "web", versionNumber: 2 }))).code).toBe("API_PRECONDITION");
    expect(await client.services.rollback({ ref: "web", versionNumber: 3 })).toMatchObject({ lastVersionNumber: 12 });
  });
});

describe("the plan of an update", () => {
  it("says which tasks are replaced, and changes nothing", async () => {
    const world = await control();
    const { client, store } = world;
    const { meta } = await client.services.create({
      spec: web({ mode: { $case: "replicated", value: { replicas: 2 } } }),
    });
    for (const slot of [1, 2])
      await addTask(world, { serviceId: meta!.id, slot, status: { state: TaskState.RUNNING } });
    const before = store.view().version;
    const other = web({ mode: { $case: "replicated", value: { replicas: 3 } } }, { image: "nginx:2" });
    const plan = await client.services.planUpdate({ ref: "web", spec: other });
    expect(plan).toMatchObject({ versionNumber: 2, kept: 0, batches: 2, leastMs: 10_000, removed: [], moved: [] });

    expect([plan.replaced.length, plan.added.length]).toEqual([2, 1]);
    const same = await client.services.planUpdate({
      ref: "web",
      spec: spec(await client.services.get({ ref: "web" })),
    });
    expect(same).toMatchObject({ versionNumber: 1, kept: 2, batches: 0, replaced: [] });
    expect(store.view().version).toBe(before);
  });

  it("is refused as the update would be", async () => {
    const { client } = await control();
    const { specVersion } = await client.services.create({ spec: web() });
    const stale = client.services.planUpdate({ ref: "web", specVersion: specVersion + 1, spec: web() });
    expect((await failure(stale)).code).toBe("API_ABORTED");
    expect(await faults(client.services.planUpdate({ ref: "web", spec: web({}, { image: "" }) }))).toEqual([
      "spec.task.container.image",
    ]);
  });
});

describe("update", () => {
  it("replaces the spec, and makes a version only where tasks are made from something else", async () => {
    const { client, store } = await control();
    const created = await client.services.create({ spec: web() });
    const relabelled = await client.services.update({
      ref: "web",
      specVersion: created.specVersion,
      spec: { ...spec(created), labels: { a: "b" } },
    });
    expect(relabelled).toMatchObject({ specVersion: 2, spec: { labels: { a: "b" } }, versionId: created.versionId });
    const changed = await client.services.update({ ref: "web", spec: web({}, { image: "nginx:2" }) });
    expect(changed).toMatchObject({ specVersion: 3, lastVersionNumber: 2 });
    expect(changed.recentVersionIds).toEqual([changed.versionId, created.versionId]);
    const version = store.view().get("versions", changed.versionId);
    expect(version).toMatchObject({
      number: 2,
      serviceId: created.meta?.id,
      task: { container: { image: "nginx:2" } },
    });
  });

  it("of placement or restart policy alone makes a version whose containers would be the same", async () => {
    const { client, store } = await control();
    const first = await client.services.create({ spec: web() });
    const make = (service: Service): string | undefined => store.view().get("versions", service.versionId)?.make;
    const placed = await client.services.update({
      ref: "web",
      spec: web({ task: { placement: { constraints: ["node.labels.zone == a"] }, restart: { maxAttempts: 3 } } }),
    });
    expect(placed.versionId).not.toBe(first.versionId);
    expect(make(placed)).toBe(make(first));
    const other = await client.services.update({ ref: "web", spec: web({ task: { forceUpdate: 1 } }) });
    expect(make(other)).not.toBe(make(first));
  });

  it("settles what the image's tag means at create and when it is asked to, and at no other time", async () => {
    const world = await control();
    const { client, store, relay } = world;
    const nodeId = await addNode(world, "a");
    let digest = `sha256:${"a".repeat(64)}`;
    let asked = 0;
    relay.resolutions.set(nodeId, async ({ image }) => {
      expect(image).toBe("nginx:1");
      asked += 1;
      return { digest, localReason: "" };
    });
    const digestOf = (service: Service): string | undefined =>
      store.view().get("versions", service.versionId)?.imageDigest;
    const created = await client.services.create({ spec: web() });
    expect(digestOf(created)).toBe(digest);
    const first = digest;
    digest = `sha256:${"b".repeat(64)}`;
    const relabelled = await client.services.update({ ref: "web", spec: web({ labels: { a: "b" } }) });
    const scaled = await client.services.scale({ ref: "web", replicas: 4 });
    expect([digestOf(relabelled), digestOf(scaled), asked]).toEqual([first, first, 1]);
    const looked = await client.services.update({ ref: "web", spec: web({ labels: { a: "b" } }), resolveImage: true });
    expect([digestOf(looked), looked.lastVersionNumber, asked]).toEqual([digest, 2, 2]);
    const { events } = await client.events.list({ ref: "web" });
    expect(events.at(-1)?.message).toContain(`image ${digest} in place of ${first}`);
  });

  it("logs that a digest is a node's, where the registry did not say", async () => {
    const world = await control();
    const nodeId = await addNode(world, "a");
    const digest = `sha256:${"a".repeat(64)}`;
    world.relay.resolutions.set(nodeId, () => Promise.resolve({ digest, localReason: "the registry is away" }));
    await world.client.services.create({ spec: web() });
    const said = world.log.records.find(({ event }) => event.includes("copy on a node"));
    expect(said?.fields).toMatchObject({ node: "a", image: "nginx:1", digest, why: "the registry is away" });
  });

  it("is taken where no node can say what the tag means: the first that runs it settles that", async () => {
    const world = await control();
    await addNode(world, "a");
    const created = await world.client.services.create({ spec: web() });
    expect(world.store.view().get("versions", created.versionId)?.imageDigest).toBe("");
  });

  it("with the same spec changes nothing, in whatever order its maps are", async () => {
    const { client } = await control();
    const created = await client.services.create({ spec: web({}, { env: { A: "1", B: "2" } }) });
    const same = await client.services.update({ ref: "web", spec: web({}, { env: { B: "2", A: "1" } }) });
    expect(same.meta?.version).toBe(created.meta?.version);
    expect(same.versionId).toBe(created.versionId);
  });

  it("of what was changed meanwhile is ABORTED, with both versions", async () => {
    const { client } = await control();
    const created = await client.services.create({ spec: web() });
    const now = await client.services.scale({ ref: "web", replicas: 2 });
    const error = await failure(
      client.services.update({ ref: "web", specVersion: created.specVersion, spec: web({}, { image: "nginx:2" }) }),
    );
    expect(error.code).toBe("API_ABORTED");
    expect(error.message).toContain(`at version ${now.specVersion}`);
  });

  it("can't rename", async () => {
    const { client } = await control();
    await client.services.create({ spec: web() });
    expect(await faults(client.services.update({ ref: "web", spec: web({ name: "www" }) }))).toEqual(["spec.name"]);
  });

  it("names a stored login, never a password", async () => {
    const { client } = await control();
    const own = (registryLogin: string) => web({ task: { registryLogin } });
    expect(await faults(client.services.create({ spec: own("registry.example") }))).toEqual([
      "spec.task.registry_login",
    ]);
    await client.registries.login({ registry: "registry.example", auth: { username: "ann", password: "s3cret" } });
    const created = await client.services.create({ spec: own("registry.example") });
    expect(created.spec?.task?.registryLogin).toBe("registry.example");
    expect(JSON.stringify(created)).not.toContain("s3cret");
  });

  it("refers to its login: of log and snapshot, only the login's own command and object have the password", async () => {
    const { client, proposer, machine } = await control();
    const password = "s3cret-of-ann";
    const logins = (parts: readonly Uint8Array[]): number =>
      parts.reduce((sum, part) => sum + Buffer.from(part).toString("latin1").split(password).length - 1, 0);
    await client.registries.login({ registry: "registry.example", auth: { username: "ann", password } });
    const spec = (labels: Record<string, string>) => web({ labels, task: { registryLogin: "registry.example" } });
    await client.services.create({ spec: spec({}) });
    // Versions are kept for rollbacks, and each change leaves an event.
    for (const n of ["1", "2"]) await client.services.update({ ref: "web", spec: spec({ n }) });
    await client.services.rollback({ ref: "web", versionNumber: 1 });
    await client.services.delete({ ref: "web" });
    expect(logins(proposer.applied.map(({ data }) => data))).toBe(1);
    expect(logins(await Array.fromAsync(machine.snapshot()))).toBe(1);
    await client.registries.logout({ registry: "registry.example" });
    expect(logins(await Array.fromAsync(machine.snapshot()))).toBe(0);
  });

  it("keeps its own ports and may not take those of others", async () => {
    const { client } = await control();
    const ports = (published: number) => [{ target: 80, published }];
    await client.services.create({ spec: web({ ports: ports(80) }) });
    await client.services.create({ spec: web({ name: "b", ports: ports(81) }) });
    await client.services.update({ ref: "web", spec: web({ ports: ports(80), labels: { x: "" } }) });
    expect((await failure(client.services.update({ ref: "web", spec: web({ ports: ports(81) }) }))).code).toBe(
      "API_PRECONDITION",
    );
  });
});

describe("scale, rollback, delete", () => {
  it("scales without a version, up, down, to zero and no further", async () => {
    const { client } = await control();
    await client.services.create({ spec: web() });
    const first = await client.services.get({ ref: "web" });
    for (const replicas of [3, 3, 0]) {
      const { summary, versionId } = await client.services.scale({ ref: "web", replicas });
      expect(summary?.desired).toBe(replicas);
      expect(versionId).toBe(first.versionId);
    }
    expect(await faults(client.services.scale({ ref: "web", replicas: 10_001 }))).toEqual(["replicas"]);
  });

  it("returns to the last version that completed, which a scaling since then outlives", async () => {
    const { client, store } = await control();
    const first = await client.services.create({ spec: web() });
    expect((await failure(client.services.rollback({ ref: "web" }))).failure).toMatchObject({
      violations: [{ type: "NO_VERSION" }],
    });
    await store.update((tx) => {
      const [found] = tx.find("services", "name", "web") as [Service];
      tx.update("services", { ...found, completedVersionIds: [found.versionId] });
    });
    await client.services.update({ ref: "web", spec: web({}, { image: "nginx:2" }) });
    // Edits since then are not what a rollback returns to.
    await client.services.update({ ref: "web", spec: web({ labels: { a: "b" } }, { image: "nginx:2" }) });
    await client.services.scale({ ref: "web", replicas: 5 });
    const back = await client.services.rollback({ ref: "web" });
    expect(back).toMatchObject({
      versionId: first.versionId,
      spec: { labels: { a: "b" }, task: { container: { image: "nginx:1" } }, mode: { value: { replicas: 5 } } },
      updateStatus: { state: UpdateStatus_State.ROLLING_BACK, versionId: first.versionId, rollback: true },
    });
    expect((await failure(client.services.rollback({ ref: "web" }))).code).toBe("API_PRECONDITION");
  });

  it("returns to a version by its number, and lists those that there are", async () => {
    const { client } = await control();
    for (const image of ["nginx:1", "nginx:2", "nginx:3"]) {
      if (image === "nginx:1") await client.services.create({ spec: web({}, { image }) });
      else await client.services.update({ ref: "web", spec: web({}, { image }) });
      if (image === "nginx:2")
        expect(await failure(client.services.rollback({ ref: "web", versionNumber: 9 }))).toMatchObject({
          remedy: "it keeps version 1 as well: warren service rollback web --to 1",
        });
    }
    const error = await failure(client.services.rollback({ ref: "web", versionNumber: 9 }));
    expect(error.message).toContain("keeps no version 9");
    expect(error).toMatchObject({ remedy: "it keeps versions 2, 1: warren service rollback web --to N" });
    const back = await client.services.rollback({ ref: "web", versionNumber: 2 });
    expect(back.spec?.task?.container?.image).toBe("nginx:2");
  });

  it("deletes a service at once: its name and ports are free, its slots wait for their nodes", async () => {
    const world = await control();
    const { client, store } = world;
    const ports = [{ target: 80, published: 80 }];
    const held = [
      { target: 80, published: 80, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.INGRESS },
      { target: 53, published: 53, protocol: PortSpec_Protocol.UDP, mode: PortSpec_Mode.HOST },
    ];
    const made = await client.services.create({ spec: web({ ports }) });
    await store.update((tx) => {
      const [found] = tx.find("services", "name", "web") as [Service];
      tx.update("services", { ...found, endpoint: { vip: "10.96.0.7", ports: held } });
    });
    const serviceId = made.meta?.id ?? "";
    await addTask(world, { serviceId, nodeId: "n", status: { state: TaskState.RUNNING } });
    expect(await client.services.delete({ ref: "web" })).toEqual({ id: serviceId });
    expect((await failure(client.services.get({ ref: "web" }))).code).toBe("API_NOT_FOUND");
    expect(store.view().find("slots", "service", serviceId)).toHaveLength(1);
    expect(store.view().get("deletedServices", serviceId)).toMatchObject({ name: "web", vip: "10.96.0.7" });
    const again = await client.services.create({ spec: web({ ports }) });
    expect(again.meta?.id).not.toBe(serviceId);
    expect((await failure(client.services.delete({ ref: "no-such" }))).code).toBe("API_NOT_FOUND");
  });
});

describe("the summary", () => {
  it("counts what runs and tells why the first slot that does not waits", async () => {
    const world = await control();
    const { meta } = await world.client.services.create({
      spec: web({ mode: { $case: "replicated", value: { replicas: 2 } } }),
    });
    const serviceId = meta?.id ?? "";
    await addTask(world, { serviceId, slot: 1, status: { state: TaskState.RUNNING } });
    await addTask(world, {
      serviceId,
      slot: 2,
      run: 1,
      status: { state: TaskState.FAILED, message: "boom" },
    });
    await addTask(world, {
      serviceId,
      slot: 2,
      run: 2,
      status: {
        state: TaskState.PENDING,
        pending: { nodes: 3, refusals: [{ filter: "resources", nodes: 3, text: "lack 1 GiB of memory" }] },
      },
    });
    const { summary } = await world.client.services.get({ ref: "web" });
    expect(summary).toEqual({
      desired: 2,
      running: 1,
      updated: 1,
      waiting: "slot 2: none of 3 nodes can take it (3: lack 1 GiB of memory)",
      settled: 0,
      completed: 0,
      status: "waits: resources",
      runningImages: ["nginx:1"],
    });
  });
});

describe("the status in a few words", () => {
  type World = Awaited<ReturnType<typeof control>>;
  const running = { state: TaskState.RUNNING };
  const two = { mode: { $case: "replicated" as const, value: { replicas: 2 } } };
  const settled = { settled: "its restart condition is none" };
  const put = (world: World, serviceId: string, rest: Omit<TestTask, "serviceId">): Promise<string> =>
    addTask(world, { serviceId, ...rest });
  const update = async (
    { store }: World,
    id: string,
    state: UpdateStatus_State,
    fields: Parameters<typeof UpdateStatus.fromPartial>[0] = {},
  ): Promise<void> => {
    await store.update((tx) => {
      const service = tx.get("services", id) as Service;
      const updateStatus = UpdateStatus.fromPartial({ ...fields, state, versionId: service.versionId });
      tx.update("services", { ...service, updateStatus });
    });
  };
  const refused = (filter: string, text: string): TestTask["status"] => ({
    state: TaskState.PENDING,
    pending: { nodes: 1, refusals: [{ filter, nodes: 1, text }] },
  });

  it.for<[string, (world: World, id: string) => Promise<unknown>]>([
    ["starting 0/2", () => Promise.resolve()],
    ["starting 1/2", (world, id) => put(world, id, { status: running })],
    [
      "running",
      async (world, id) => {
        for (const slot of [1, 2]) await put(world, id, { slot, status: running });
      },
    ],
    [
      "rolled back",
      async (world, id) => {
        for (const slot of [1, 2]) await put(world, id, { slot, status: running });
        await update(world, id, UpdateStatus_State.ROLLED_BACK);
      },
    ],
    [
      "rolled back: web.2 exit code 3",
      async (world, id) => {
        for (const slot of [1, 2]) await put(world, id, { slot, status: running });
        const failed = { cause: "1 failed", failedSlot: numberedSlot(2), failedEnd: { exitCode: 3 } };
        await update(world, id, UpdateStatus_State.ROLLED_BACK, failed);
      },
    ],
    [
      "rolled back: no progress",
      async (world, id) => {
        for (const slot of [1, 2]) await put(world, id, { slot, status: running });
        await update(world, id, UpdateStatus_State.ROLLED_BACK, { cause: "no progress for 10 min" });
      },
    ],
    [
      "node down: edge-1",
      async (world, id) => {
        const [here, away] = [await addNode(world, "edge-2"), await addNode(world, "edge-1", NodeStatus_State.DOWN)];
        await put(world, id, { slot: 1, nodeId: here, status: running });
        await put(world, id, { slot: 2, nodeId: away, status: running });
        const { summary } = await world.client.services.get({ ref: "web" });
        expect(summary).toMatchObject({ running: 1, updated: 1, waiting: "slot 2: its node edge-1 is down" });
      },
    ],
    [
      "updating 1/2",
      async (world, id) => {
        const older = Version.fromPartial({ serviceId: id, number: 0, make: "older" });
        const versionId = await world.store.update((tx) => tx.create("versions", older));
        await put(world, id, { slot: 1, status: running });
        await put(world, id, { slot: 2, versionId, status: running });
        await update(world, id, UpdateStatus_State.UPDATING);
      },
    ],
    [
      "update paused",
      async (world, id) => {
        await put(world, id, { status: { state: TaskState.FAILED }, leaseFields: { record: { failures: 9 } } });
        await update(world, id, UpdateStatus_State.PAUSED);
      },
    ],
    [
      "crash-looping 12 ×",
      (world, id) => put(world, id, { status: { state: TaskState.FAILED }, leaseFields: { record: { failures: 12 } } }),
    ],
    [
      "can't start: no such image",
      (world, id) => put(world, id, { status: { state: TaskState.REJECTED, code: "RUNTIME_IMAGE_NOT_FOUND" } }),
    ],
    ["waits: memory", (world, id) => put(world, id, { status: refused("resources", "short of memory: needs 64 GiB") })],
    ["waits: constraints", (world, id) => put(world, id, { status: refused("constraints", "none") })],
    [
      "completed",
      async (world, id) => {
        for (const slot of [1, 2])
          await put(world, id, {
            slot,
            status: { state: TaskState.COMPLETE },
            lease: LeaseState.RELEASED,
            slotFields: settled,
          });
      },
    ],
    [
      "1 failed",
      async (world, id) => {
        await put(world, id, { status: running });
        await put(world, id, {
          slot: 2,
          status: { state: TaskState.FAILED },
          lease: LeaseState.RELEASED,
          slotFields: settled,
        });
      },
    ],
  ])("is %s", async ([status, arrange]) => {
    const world = await control();
    const { meta } = await world.client.services.create({ spec: web(two) });
    await arrange(world, meta?.id ?? "");
    expect((await world.client.services.get({ ref: "web" })).summary?.status).toBe(status);
  });

  it("is that it is scaled to 0, once nothing runs any more", async () => {
    const world = await control();
    const none = { mode: { $case: "replicated" as const, value: { replicas: 0 } } };
    const { meta, summary } = await world.client.services.create({ spec: web(none) });
    expect(summary?.status).toBe("scaled to 0");
    await put(world, meta?.id ?? "", { status: running, lease: LeaseState.RELEASING });
    expect((await world.client.services.get({ ref: "web" })).summary?.status).toBe("stopping");
  });

  it("a settled slot is counted, and its last task says why no other follows", async () => {
    const world = await control();
    const { meta } = await world.client.services.create({ spec: web(two) });
    const rest = { status: { state: TaskState.COMPLETE }, lease: LeaseState.RELEASED, slotFields: settled };
    const id = await put(world, meta?.id ?? "", rest);
    expect((await world.client.services.get({ ref: "web" })).summary).toMatchObject({ settled: 1, completed: 1 });
    expect((await world.client.tasks.get({ ref: id })).settled).toBe(settled.settled);
    expect((await world.client.services.explain({ ref: "web" })).summary).toContain("runs 0 of 2");
    await put(world, meta?.id ?? "", { ...rest, slot: 2 });
    expect((await world.client.services.explain({ ref: "web" })).summary).toBe(
      "service web has completed: 2 of 2 tasks ended with code 0",
    );
  });
});

function serviceOf(name: string): Service {
  return Service.fromPartial({ spec: web({ name }), specVersion: 1 });
}
