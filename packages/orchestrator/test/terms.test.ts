/**
 * Two managers on one log, the state machine of the second held back: it has been elected, and has not applied what the
 * first one wrote. The real loops and allocator run on both.
 */
import { Cluster, Network, Node, NodeSpec_Availability, NodeStatus_State, Service, Version } from "@warren/api";
import { FakeClock, seededRandom } from "@warren/std/testing";
import { memoryManagers, type MemoryStore } from "@warren/store/testing";
import { describe, expect, test } from "vitest";
import { Allocator } from "../src/allocator.ts";
import { startOrchestrator, type Orchestrator } from "../src/index.ts";

const clock = new FakeClock();

async function managers(): Promise<[MemoryStore, MemoryStore]> {
  const [first, second] = memoryManagers(2, { clock, random: seededRandom(1) }) as [MemoryStore, MemoryStore];
  await first.store.update((tx) => {
    tx.create(
      "clusters",
      Cluster.create({ meta: { id: "c" }, spec: { taskPool: "10.77.0.0/23", vipPool: "10.96.0.0/29" } }),
    );
    tx.create("networks", Network.create({ meta: { id: "net" }, spec: { name: "default" } }));
  });
  return [first, second];
}

function lead({ store }: MemoryStore): Orchestrator {
  return startOrchestrator({ store, clock, random: seededRandom(2) }, { debounceMs: 0 });
}

async function addService({ store }: MemoryStore, id: string): Promise<void> {
  await store.update((tx) => {
    const ports = [{ target: 80 }];
    const mode = { $case: "replicated" as const, value: { replicas: 1 } };
    const spec = { name: id, mode, ports, task: { container: { image: "app:1" } } };
    tx.create(
      "services",
      Service.create({ meta: { id }, spec, versionId: `${id}-v1`, recentVersionIds: [`${id}-v1`] }),
    );
    const task = spec.task;
    tx.create(
      "versions",
      Version.create({ meta: { id: `${id}-v1` }, serviceId: id, number: 1, task, level: 1, make: id }),
    );
  });
}

async function addNode({ store }: MemoryStore, id: string): Promise<void> {
  await store.update((tx) =>
    tx.create(
      "nodes",
      Node.create({
        meta: { id },
        spec: { availability: NodeSpec_Availability.ACTIVE },
        description: {
          hostname: id,
          os: "linux",
          architecture: "amd64",
          cpuNanos: 4e9,
          memoryBytes: 2 ** 33,
          level: 1,
        },
        status: { state: NodeStatus_State.READY },
      }),
    ),
  );
}

async function quiet(): Promise<void> {
  for (let turn = 0; turn < 40; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** Every address, port and subnet that is allocated, where none may be twice. */
function allocated({ store }: MemoryStore): string[] {
  const view = store.view();
  return [
    ...view
      .list("services")
      .flatMap(({ endpoint }) => [
        ...(endpoint === undefined ? [] : [endpoint.vip]),
        ...(endpoint?.ports ?? []).map(({ published }) => `port ${published}`),
      ]),
    ...view.list("nodes").flatMap(({ subnet }) => (subnet === "" ? [] : [subnet])),
    ...view.list("slots").flatMap(({ leases }) => leases.flatMap(({ address }) => (address === "" ? [] : [address]))),
  ];
}

describe("a second leader whose state lacks what the first one wrote", () => {
  test("writes nothing until it has applied an entry of its own term, and then allocates nothing twice", async () => {
    const [first, second] = await managers();
    const early = lead(first);
    await addNode(first, "edge-1");
    await addService(first, "web");
    await quiet();

    const letGo = second.proposer.holdBack();
    await addNode(first, "edge-2");
    await addService(first, "api");
    await quiet();
    // The second is elected; its first command stands behind all that it has not applied.
    const begun = second.beginTerm();
    expect(() => lead(second)).toThrow("start the orchestrator once the store has begun one");
    letGo();
    await begun;
    const late = lead(second);
    await addService(second, "db");
    await quiet();
    await early.ended;

    const all = allocated(second);
    expect(all.filter((each) => each.startsWith("10.96."))).toHaveLength(3);
    expect(new Set(all).size).toBe(all.length);
    await late.close();
  });

  test("what a deposed leader computed on an old state never takes effect behind what it has not seen", async () => {
    const [first, second] = await managers();
    await addService(first, "web");
    await addService(first, "api");
    const allocate = async ({ store }: MemoryStore, allocator: Allocator, id: string, seen: string[]): Promise<void> =>
      store.update((tx) => {
        const service = tx.get("services", id)!;
        const endpoint = allocator.endpoint(tx, service);
        if (endpoint.kind === "short") throw new Error(endpoint.reason);
        seen.push(endpoint.value.vip);
        tx.update("services", { ...service, endpoint: endpoint.value });
      });
    // The first one's command waits outside the log while the second takes over and allocates.
    const [old, next]: [string[], string[]] = [[], []];
    const release = first.proposer.hold();
    const refused = allocate(first, new Allocator(), "web", old);
    await quiet();
    await second.beginTerm();
    await allocate(second, new Allocator(), "api", next);
    expect(next).toEqual(old);
    release();
    await expect(refused).rejects.toMatchObject({ code: "STORE_NOT_LEADER" });
    const vips = second.store
      .view()
      .list("services")
      .map(({ endpoint }) => endpoint?.vip);
    expect(vips.filter((vip) => vip !== undefined)).toEqual(next);
  });

  test("leader, follower and leader again before its loops noticed: the loops of the old term write nothing", async () => {
    const [first, second] = await managers();
    const old = lead(first);
    await quiet();
    await second.beginTerm();
    await addService(second, "web");
    await addNode(second, "edge-1");
    await first.beginTerm();
    await quiet();
    await old.ended;
    expect(allocated(first)).toEqual([]);
    const next = lead(first);
    await quiet();
    const all = allocated(first);
    expect(all).toHaveLength(4);
    expect(new Set(all).size).toBe(4);
    await next.close();
  });
});
