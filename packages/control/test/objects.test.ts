import {
  ApiError,
  LeaseState,
  NodeSpec_Availability,
  NodeStatus_State,
  TaskState,
  type Node,
  type RegistryCredential,
  type Service,
  type Slot,
} from "@warren/api";
import { checkClusterSpec } from "@warren/api/spec";
import { createCluster } from "@warren/control";
import { describe, expect, it } from "vitest";
import { addNode, addTask, control, failure, faults, web } from "./fixture.ts";

describe("a cluster", () => {
  it("is missed by every call but init, which makes it with its default network, once", async () => {
    const { client } = await control({ empty: true });
    for (const call of [client.clusters.get({}), client.services.list({}), client.services.create({ spec: web() })]) {
      expect(await failure(call)).toMatchObject({
        code: "API_UNAVAILABLE",
        remedy: "make one with: warren cluster init",
      });
    }
    expect(await faults(client.clusters.init({ spec: { taskPool: "10.0.0.0/30" } }))).toEqual(["spec.task_pool"]);
    const cluster = await client.clusters.init({ spec: { taskPool: "10.50.0.0/16" } });
    expect(cluster.spec).toEqual({ taskPool: "10.50.0.0/16", vipPool: "10.96.0.0/16", taskHistory: 5 });
    const { networks } = await client.networks.list({});
    expect(networks.map(({ spec }) => spec?.name)).toEqual(["default"]);
    expect((await failure(client.clusters.init({}))).code).toBe("API_ALREADY_EXISTS");
  });

  it("is made by one of two inits at once", async () => {
    const { client, proposer, store } = await control({ empty: true });
    const release = proposer.hold();
    const both = [client.clusters.init({}), failure(client.clusters.init({}))] as const;
    expect((await both[1]).code).toBe("API_ABORTED");
    release();
    await both[0];
    expect(store.view().list("clusters")).toHaveLength(1);
    await expect(createCluster(store, checkClusterSpec(undefined))).rejects.toMatchObject({
      code: "API_ALREADY_EXISTS",
    });
  });

  it("can be tried again where init failed", async () => {
    const { client, proposer } = await control({ empty: true });
    proposer.failNext("unavailable");
    expect((await failure(client.clusters.init({}))).code).toBe("API_UNAVAILABLE");
    await client.clusters.init({});
  });

  it("is told with what it has", async () => {
    const world = await control();
    await addNode(world, "a");
    await addNode(world, "b", NodeStatus_State.DOWN);
    await world.client.services.create({ spec: web() });
    await addTask(world, { serviceId: "s", status: { state: TaskState.RUNNING } });
    await addTask(world, { serviceId: "s", slot: 2, status: { state: TaskState.FAILED } });
    expect(await world.client.clusters.get({})).toMatchObject({
      version: "1.2.3",
      nodes: 2,
      nodesReady: 1,
      services: 1,
      tasksRunning: 1,
      cluster: { spec: { taskHistory: 5 } },
    });
  });
});

describe("nodes", () => {
  it("are found by hostname and id and listed by hostname", async () => {
    const world = await control();
    const b = await addNode(world, "b");
    const a = await addNode(world, "a");
    expect((await world.client.nodes.get({ ref: "b" })).meta?.id).toBe(b);
    expect((await world.client.nodes.get({ ref: a })).meta?.id).toBe(a);
    const { nodes } = await world.client.nodes.list({});
    expect(nodes.map(({ description }) => description?.hostname)).toEqual(["a", "b"]);
    expect((await failure(world.client.nodes.get({ ref: "no-such" }))).code).toBe("API_NOT_FOUND");
  });

  it("two of one hostname are both listed, and ambiguous by name", async () => {
    const world = await control();
    await addNode(world, "a");
    await addNode(world, "a");
    const first = await world.client.nodes.list({ page: { size: 1 } });
    const second = await world.client.nodes.list({ page: { size: 1, token: first.nextPageToken } });
    expect(second.nodes[0]?.meta?.id).not.toBe(first.nodes[0]?.meta?.id);
    expect((await failure(world.client.nodes.get({ ref: "a" }))).code).toBe("API_AMBIGUOUS");
  });

  it("are drained and labelled, with an event, at the version that was read", async () => {
    const world = await control();
    await addNode(world, "a");
    const { client } = world;
    const before = await client.nodes.get({ ref: "a" });
    const spec = { labels: { zone: "n" }, availability: NodeSpec_Availability.DRAIN };
    const drained = await client.nodes.update({ ref: "a", specVersion: before.specVersion, spec });
    expect(drained.spec).toEqual(spec);
    const again = await client.nodes.update({ ref: "a", spec });
    expect(again.meta?.version).toBe(drained.meta?.version);
    expect((await failure(client.nodes.update({ ref: "a", specVersion: before.specVersion, spec }))).code).toBe(
      "API_ABORTED",
    );
    await client.nodes.update({ ref: "a", spec: { ...spec, labels: {} } });
    const { events } = await client.events.list({ ref: "a" });
    expect(events.map(({ action }) => action)).toEqual(["drained", "updated"]);
    expect(await faults(client.nodes.update({ ref: "a" }))).toEqual(["spec"]);
  });

  it("are removed only when they are down, and their ids are remembered (L15)", async () => {
    const world = await control();
    await addNode(world, "up");
    await addNode(world, "down", NodeStatus_State.DOWN);
    expect((await failure(world.client.nodes.remove({ ref: "up" }))).failure).toMatchObject({
      violations: [{ type: "NODE_NOT_DOWN", subject: "node/up" }],
    });
    const [{ meta: { id = "" } = {} } = {}] = world.store.view().find("nodes", "name", "down");
    await world.store.update((tx) => tx.update("nodes", { ...tx.resolve("nodes", id), subnet: "10.77.4.0/24" }));
    await world.client.nodes.remove({ ref: "down" });
    expect(world.store.view().list("removedNodes")).toMatchObject([
      { meta: { id }, hostname: "down", subnet: "10.77.4.0/24" },
    ]);
    expect((await world.client.nodes.list({})).nodes.map((node: Node) => node.description?.hostname)).toEqual(["up"]);
  });
});

describe("networks", () => {
  it("have unique names, and are deleted once nothing is on them", async () => {
    const world = await control();
    const { client, store } = world;
    const blue = await client.networks.create({ spec: { name: "blue" } });
    expect((await failure(client.networks.create({ spec: { name: "blue" } }))).code).toBe("API_ALREADY_EXISTS");
    expect(await faults(client.networks.create({ spec: { name: "no name" } }))).toEqual(["spec.name"]);
    expect((await client.networks.get({ ref: blue.meta?.id ?? "" })).spec?.name).toBe("blue");

    const service = await client.services.create({ spec: web({ task: { networks: [{ network: "blue" }] } }) });
    expect((await failure(client.networks.delete({ ref: "blue" }))).failure).toMatchObject({
      violations: [{ type: "NETWORK_IN_USE", subject: "service/web" }],
    });
    const { meta, versionId } = service;
    const serviceId = meta?.id ?? "";
    await addTask(world, { serviceId, versionId, nodeId: "n", status: { state: TaskState.RUNNING } });
    await client.services.update({ ref: "web", spec: web() });
    expect((await failure(client.networks.delete({ ref: "blue" }))).failure).toMatchObject({
      violations: [{ type: "NETWORK_IN_USE", subject: `slot/${serviceId}.1` }],
    });
    await store.update((tx) => {
      const slot = tx.get("slots", `${serviceId}.1`) as Slot;
      tx.update("slots", { ...slot, leases: slot.leases.map((lease) => ({ ...lease, state: LeaseState.RELEASED })) });
      const found = tx.get("services", serviceId) as Service;
      tx.update("services", { ...found, completedVersionIds: [versionId] });
    });
    await client.networks.delete({ ref: "blue" });
    // What the service would return to is gone now, and told so.
    expect(await faults(client.services.rollback({ ref: "web" }))).toEqual(["spec.task.networks[0].network"]);
  });

  it("the default one stays", async () => {
    const { client } = await control();
    expect((await failure(client.networks.delete({ ref: "default" }))).failure).toMatchObject({
      violations: [{ type: "DEFAULT_NETWORK" }],
    });
  });
});

describe("registries", () => {
  it("are logged in at, again, and out of; the password never comes back", async () => {
    const { client, store } = await control();
    const auth = { username: "ann", password: "s3cret" };
    const first = await client.registries.login({ registry: "registry.example:5000", auth });
    expect(first.auth).toEqual({ username: "ann", password: "" });
    const same = await client.registries.login({ registry: "registry.example:5000", auth });
    expect(same.meta?.version).toBe(first.meta?.version);
    const stored = () =>
      store
        .view()
        .list("registries")
        .map((each) => each.auth?.password);
    await client.registries.login({ registry: "registry.example:5000", auth: { username: "ann", password: "" } });
    expect(stored()).toEqual(["s3cret"]);
    await client.registries.login({ registry: "registry.example:5000", auth: { username: "ann", password: "new" } });
    expect(stored()).toEqual(["new"]);
    const { registries } = await client.registries.list({});
    expect(registries.map(({ registry, auth: given }) => [registry, given])).toEqual([
      ["registry.example:5000", { username: "ann", password: "" }],
    ]);
    expect(await faults(client.registries.login({ registry: "https://x", auth }))).toEqual(["registry"]);
    expect(await faults(client.registries.login({ registry: "x" }))).toEqual(["auth"]);
    await client.registries.logout({ registry: "registry.example:5000" });
    expect((await failure(client.registries.logout({ registry: "registry.example:5000" }))).code).toBe("API_NOT_FOUND");
  });

  it("are found under each of their names: Docker's, and in capitals", async () => {
    const { client } = await control();
    const first = await client.registries.login({
      registry: "index.docker.io",
      auth: { username: "ann", password: "s3cret" },
    });
    expect(first.registry).toBe("docker.io");
    // Without a password the stored one stays.
    await client.registries.login({ registry: "registry-1.docker.io", auth: { username: "ann", password: "" } });
    expect((await client.registries.list({})).registries.map(({ auth }) => auth?.username)).toEqual(["ann"]);
    await client.registries.logout({ registry: "Docker.io" });
    expect((await client.registries.list({})).registries).toEqual([]);
  });

  it("are asked whether they accept a login: a refused one is not stored, one that could not be checked says so", async () => {
    const world = await control();
    const { client, relay } = world;
    const login = (): Promise<RegistryCredential> =>
      client.registries.login({ registry: "r.example", auth: { username: "ann", password: "p" } });
    expect((await login()).check).toEqual({
      accepted: false,
      text: "r.example could not be asked whether it accepts the login: no node is ready",
    });
    await client.registries.logout({ registry: "r.example" });
    const nodeId = await addNode(world, "edge-1");
    relay.logins.set(nodeId, async ({ auth }) => {
      if (auth?.password !== "p") throw new ApiError({ code: "API_DENIED" }, "401");
      return true;
    });
    expect((await login()).check).toEqual({ accepted: true, text: "r.example accepted the login" });
    relay.logins.set(nodeId, async ({ auth }) => {
      if (auth?.password !== "p") throw new ApiError({ code: "API_DENIED" }, "401");
      return false;
    });
    expect((await login()).check?.text).toBe("r.example asks for no login, so this one could not be checked");
    const wrong = client.registries.login({ registry: "r.example", auth: { username: "ann", password: "q" } });
    expect(await failure(wrong)).toMatchObject({ code: "API_DENIED", message: expect.stringContaining("not stored") });
    relay.logins.set(nodeId, async () => {
      throw new ApiError({ code: "API_UNAVAILABLE" }, "no route");
    });
    expect((await login()).check?.text).toContain("edge-1: no route");
  });

  it("keep a password that another login stored while one without a password was checked", async () => {
    const world = await control();
    const { client, relay, store } = world;
    const login = (password: string): Promise<unknown> =>
      client.registries.login({ registry: "r.example", auth: { username: "ann", password } });
    await login("first");
    const nodeId = await addNode(world, "edge-1");
    relay.logins.set(nodeId, async ({ auth }) => {
      if (auth?.password === "first") await login("second");
      return true;
    });
    await login("");
    expect(
      store
        .view()
        .list("registries")
        .map(({ auth }) => auth?.password),
    ).toEqual(["second"]);
  });

  it("a login ends the back-off of slots that could not pull from that registry, and of no others", async () => {
    const world = await control();
    const retryAt = new Date(Date.now() + 60_000);
    const waiting = async (name: string, image: string, code: string): Promise<void> => {
      const { meta } = await world.client.services.create({ spec: web({ name }, { image }) });
      const serviceId = meta?.id ?? "";
      const status = { state: TaskState.REJECTED, code };
      await addTask(world, { serviceId, serviceName: name, slotFields: { retryAt, retryWaitMs: 60_000 }, status });
    };
    await waiting("private", "r.example/app:1", "RUNTIME_REGISTRY_UNAUTHORIZED");
    await waiting("hidden", "r.example/app:2", "RUNTIME_IMAGE_NOT_FOUND");
    await waiting("elsewhere", "other.example/app:1", "RUNTIME_REGISTRY_UNAUTHORIZED");
    await waiting("broken", "r.example/app:3", "RUNTIME_DISK_FULL");
    await world.client.registries.login({ registry: "r.example", auth: { username: "ann", password: "p" } });
    const slots = world.store.view().list("slots");
    const still = slots.filter((slot) => slot.retryAt !== undefined).map(({ serviceName }) => serviceName);
    expect(still.toSorted()).toEqual(["broken", "elsewhere"]);
    for (const { retryAt: at, retryWaitMs } of slots) expect(retryWaitMs).toBe(at === undefined ? 0 : 60_000);
  });
});
