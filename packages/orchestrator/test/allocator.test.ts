import {
  Cluster,
  Node,
  PortSpec_Mode as Mode,
  PortSpec_Protocol as Protocol,
  RemovedNode,
  Service,
  type PortSpec,
} from "@warren/api";
import { systemClock } from "@warren/std";
import { memoryStore } from "@warren/store/testing";
import { describe, expect, test } from "vitest";
import { Allocator, chosenPorts } from "../src/allocator.ts";
import { nextFree } from "../src/next-free.ts";
import type { Moment } from "../src/reading.ts";

type Ports = NonNullable<Parameters<typeof Service.fromPartial>[0]["spec"]>["ports"];

/** Allocates for services in turn, each by an allocator of its own, as leaders that follow one another would. */
class Bench {
  readonly #store = memoryStore().store;
  #made = 0;

  async init(vipPool = "10.96.0.0/16"): Promise<this> {
    await this.#store.update((tx) => tx.create("clusters", Cluster.create({ meta: { id: "c" }, spec: { vipPool } })));
    return this;
  }

  async allocate(
    ports: Ports = [],
    id = `s${(this.#made += 1)}`,
  ): Promise<{ vip: string; ports: PortSpec[] } | string> {
    return this.#store.update((tx) => {
      const before = tx.get("services", id);
      const service = Service.create({ ...before, meta: before?.meta ?? { id }, spec: { name: id, ports } });
      if (before === undefined) tx.create("services", service);
      const given = new Allocator().endpoint(tx, before === undefined ? tx.get("services", id)! : service);
      if (given.kind === "short") return given.reason;
      tx.update("services", { ...(before === undefined ? tx.get("services", id)! : service), endpoint: given.value });
      return given.value;
    });
  }

  async drop(id: string): Promise<void> {
    await this.#store.update((tx) => tx.delete("services", id));
  }
}

describe("addresses", () => {
  test("no two services have one, whichever leader allocated it; a released one is allocated again; an empty pool is named", async () => {
    const bench = await new Bench().init("10.96.0.0/29");
    const vips = new Set<string>();
    for (let index = 0; index < 6; index += 1) vips.add(((await bench.allocate()) as { vip: string }).vip);
    expect([...vips]).toEqual(["10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.4", "10.96.0.5", "10.96.0.6"]);
    expect(await bench.allocate()).toBe("no address is left in the pool 10.96.0.0/29");
    await bench.drop("s3");
    expect(await bench.allocate()).toMatchObject({ vip: "10.96.0.3" });
  });

  test("one allocator goes on to unused ones before it comes back to a released one", async () => {
    const { store } = memoryStore();
    const allocator = new Allocator();
    const allocate = (id: string): Promise<string> =>
      store.update((tx) => {
        tx.create("services", Service.create({ meta: { id }, spec: { name: id } }));
        const service = tx.get("services", id)!;
        const given = allocator.endpoint(tx, service);
        if (given.kind === "short") throw new Error(given.reason);
        tx.update("services", { ...service, endpoint: given.value });
        return given.value.vip;
      });
    expect(await allocate("a")).toBe("10.96.0.1");
    await store.update((tx) => tx.delete("services", "a"));
    expect(await allocate("b")).toBe("10.96.0.2");
  });
});

describe("published ports", () => {
  test("a port that is not asked for is chosen, and stays when the spec changes beside it", async () => {
    const bench = await new Bench().init();
    const first = (await bench.allocate([{ target: 80 }, { target: 53, protocol: Protocol.UDP }])) as {
      ports: PortSpec[];
    };
    expect(first.ports).toEqual([
      { target: 80, published: chosenPorts.first, protocol: Protocol.TCP, mode: Mode.INGRESS },
      { target: 53, published: chosenPorts.first + 1, protocol: Protocol.UDP, mode: Mode.INGRESS },
    ]);
    const second = (await bench.allocate([{ target: 443, published: 443 }, { target: 80 }], "s1")) as {
      ports: PortSpec[];
    };
    expect(second.ports.map(({ published }) => published)).toEqual([443, chosenPorts.first]);
    expect(await bench.allocate([{ target: 80 }])).toMatchObject({ ports: [{ published: chosenPorts.first + 1 }] });
  });

  test("what one service publishes another can't, and its holder is named", async () => {
    const bench = await new Bench().init();
    await bench.allocate([{ target: 80, published: 8080 }]);
    expect(await bench.allocate([{ target: 80, published: 8080 }])).toBe(
      "port 8080/tcp is published by the service s1",
    );
    expect(await bench.allocate([{ target: 80, published: 8080, mode: Mode.HOST }])).toBe(
      "port 8080/tcp is published by the service s1",
    );
    expect(await bench.allocate([{ target: 80, published: 8080, protocol: Protocol.UDP }])).toMatchObject({
      ports: [{}],
    });
  });

  test("host ports of two services may be the same", async () => {
    const bench = await new Bench().init();
    await bench.allocate([{ target: 80, published: 8080, mode: Mode.HOST }]);
    expect(await bench.allocate([{ target: 80, published: 8080, mode: Mode.HOST }])).toMatchObject({ ports: [{}] });
    expect(await bench.allocate([{ target: 80, published: 8080 }])).toBe(
      "port 8080/tcp is published by the service s1",
    );
  });

  test("a chosen port is none that the same spec asks for", async () => {
    const bench = await new Bench().init();
    const { ports } = (await bench.allocate([{ target: 1 }, { target: 2, published: chosenPorts.first }])) as {
      ports: PortSpec[];
    };
    expect(ports.map(({ published }) => published)).toEqual([chosenPorts.first + 1, chosenPorts.first]);
  });

  test("a chosen port gives way when the spec asks for that very one elsewhere", async () => {
    const bench = await new Bench().init();
    await bench.allocate([{ target: 1 }]);
    const given = await bench.allocate([{ target: 1 }, { target: 2, published: chosenPorts.first }], "s1");
    expect((given as { ports: PortSpec[] }).ports.map(({ published }) => published)).toEqual([
      chosenPorts.first + 1,
      chosenPorts.first,
    ]);
  });

  test("where all are taken, the reason is that", async () => {
    const bench = await new Bench().init();
    const all = Array.from({ length: chosenPorts.last - chosenPorts.first + 1 }, (_, index) => ({ target: index + 1 }));
    await bench.allocate(all);
    expect(await bench.allocate([{ target: 80 }])).toBe("every port from 30000 to 32767 is published by some service");
  });
});

test("a task pool that holds no /24 has no subnet, and that is the reason", async () => {
  const { store } = memoryStore();
  await store.update((tx) => tx.create("clusters", Cluster.create({ spec: { taskPool: "10.77.0.0/25" } })));
  expect(new Allocator().subnet(store.view(), Node.create({ meta: { id: "n" } }), momentAt(0))).toEqual({
    kind: "short",
    reason: "the task pool 10.77.0.0/25 holds no /24",
  });
});

test("L15: the subnet of a removed node is the last to be allocated again, and not before its addresses have rested", async () => {
  const { store, clock } = { ...memoryStore(), clock: systemClock };
  await store.update((tx) => {
    tx.create("clusters", Cluster.create({ spec: { taskPool: "10.77.0.0/23" } }));
    tx.create("removedNodes", RemovedNode.fromPartial({ meta: { id: "gone" }, subnet: "10.77.0.0/24" }));
  });
  const now = clock.now();
  const subnet = (at: number): unknown =>
    new Allocator().subnet(store.view(), Node.create({ meta: { id: "n" } }), momentAt(at));
  expect(subnet(now)).toMatchObject({ value: "10.77.1.0/24" });
  await store.update((tx) => tx.create("nodes", Node.fromPartial({ meta: { id: "m" }, subnet: "10.77.1.0/24" })));
  const short = subnet(now) as { readonly inMs: number };
  expect(short).toMatchObject({ kind: "short", reason: "no subnet is left in the task pool 10.77.0.0/23" });
  expect(short.inMs).toBeGreaterThan(50_000);
  expect(subnet(now + 61_000)).toMatchObject({ value: "10.77.0.0/24" });
});

test("the search for a free place goes on from the last and begins anew at the end", () => {
  expect(nextFree(4, 3, (index) => index === 3)).toBe(0);
  expect(nextFree(4, 9, () => false)).toBe(1);
  expect(nextFree(4, 0, () => true)).toBeUndefined();
});

/** On a clock that was never set. */
function momentAt(now: number): Moment {
  return { now, steadyMs: Number.POSITIVE_INFINITY, sinceStepMs: Number.POSITIVE_INFINITY };
}
