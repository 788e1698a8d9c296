import {
  NodeSpec_Availability as Availability,
  TaskState,
  UpdateConfig_FailureAction as Action,
  UpdateConfig_Order as Order,
} from "@warren/api";
import { StoreError } from "@warren/store";
import type { ProposerFault } from "@warren/store/testing";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { SimulatedCluster } from "./simulated-cluster.ts";

type Operation =
  | {
      readonly do: "create";
      readonly service: string;
      readonly replicas: number;
      readonly order: Order;
      readonly action: Action;
    }
  | { readonly do: "scale"; readonly service: string; readonly replicas: number }
  | { readonly do: "update"; readonly service: string; readonly image: string }
  | { readonly do: "delete"; readonly service: string }
  | { readonly do: "end"; readonly service: string; readonly slot: number; readonly state: TaskState }
  | { readonly do: "drain" | "activate" | "down" | "up"; readonly node: string }
  | { readonly do: "behave"; readonly image: string; readonly how: "run" | "crash" | "reject" | "complete" | "stall" }
  | { readonly do: "steps"; readonly count: number }
  | { readonly do: "advance"; readonly ms: number }
  | { readonly do: "restart" }
  | { readonly do: "fault"; readonly fault: ProposerFault };

const nodes = ["edge-1", "edge-2"] as const;
const service = fc.constantFrom("web", "api", "db");
const image = fc.constantFrom("app:1", "app:2", "app:3");
const node = fc.constantFrom(...nodes);
const replicas = fc.integer({ min: 0, max: 5 });

const always: fc.Arbitrary<Operation>[] = [
  fc.record({
    do: fc.constant("create" as const),
    service,
    replicas,
    order: fc.constantFrom(Order.STOP_FIRST, Order.START_FIRST),
    action: fc.constantFrom(Action.PAUSE, Action.CONTINUE, Action.ROLLBACK),
  }),
  fc.record({ do: fc.constant("scale" as const), service, replicas }),
  fc.record({ do: fc.constant("update" as const), service, image }),
  fc.record({ do: fc.constant("delete" as const), service }),
  fc.record({
    do: fc.constant("end" as const),
    service,
    slot: fc.integer({ min: 1, max: 5 }),
    state: fc.constantFrom(TaskState.FAILED, TaskState.COMPLETE, TaskState.REJECTED),
  }),
  fc.record({ do: fc.constantFrom("drain" as const, "activate" as const), node }),
  fc.record({ do: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant("advance" as const), ms: fc.constantFrom(1, 1_000, 5_000, 40_000) }),
];
const troubles: fc.Arbitrary<Operation>[] = [
  fc.record({ do: fc.constantFrom("down" as const, "up" as const), node }),
  fc.record({
    do: fc.constant("behave" as const),
    image,
    how: fc.constantFrom("run", "crash", "reject", "complete", "stall"),
  }),
  fc.record({ do: fc.constant("restart" as const) }),
  fc.record({
    do: fc.constant("fault" as const),
    fault: fc.constantFrom("conflict", "unavailable", "outcome-unknown-applied", "outcome-unknown-lost"),
  }),
];

async function perform(world: SimulatedCluster, operation: Operation): Promise<void> {
  const known = "service" in operation && world.view.get("services", operation.service) !== undefined;
  switch (operation.do) {
    case "create": {
      const { service, replicas, order, action } = operation;
      if (known) return;
      const update = { order, failureAction: action, parallelism: replicas % 3 };
      const ports = [{ target: 80 }, { target: 81, published: service.length * 1_000 }];
      return void (await world.create(service, replicas, { update, ports: service === "web" ? ports : [] }, false));
    }
    case "scale":
      return known ? world.scale(operation.service, operation.replicas, false) : undefined;
    case "update":
      return known ? world.setImage(operation.service, operation.image, false) : undefined;
    case "delete":
      return known ? world.delete(operation.service, false) : undefined;
    case "end": {
      const task = world.running(operation.service).find(({ slot }) => slot === operation.slot);
      return task === undefined ? undefined : world.end(task, operation.state, 1, false);
    }
    case "drain":
      return world.setAvailability(operation.node, Availability.DRAIN, false);
    case "activate":
      return world.setAvailability(operation.node, Availability.ACTIVE, false);
    case "down":
      return world.down(operation.node, false);
    case "up":
      return world.up(operation.node, false);
    case "behave":
      return void world.behaviours.set(operation.image, operation.how);
    case "steps":
      for (let step = 0; step < operation.count; step += 1) {
        await world.quiet();
        await world.step();
      }
      return;
    case "advance":
      return world.advance(operation.ms);
    case "restart":
      return world.restart();
    case "fault":
      return world.proposer.failNext(operation.fault);
  }
}

/** False if the store did not take it, or took it and could not say so. */
async function taken(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!StoreError.is(error)) throw error;
    return false;
  }
}

/** Every node is well, every image runs, and enough time passes for all that was waited for. */
async function calm(world: SimulatedCluster): Promise<void> {
  world.behaviours.clear();
  for (const each of nodes) {
    while (!(await taken(() => world.up(each, false))));
    while (!(await taken(() => world.setAvailability(each, Availability.ACTIVE, false))));
  }
  await world.advance(900_000);
}

function checkEnd(world: SimulatedCluster): void {
  const services = world.view.list("services");
  for (const { meta, spec, specVersion, deleting, updateStatus } of services) {
    expect(deleting).toBe(false);
    const up = world.running(meta!.id);
    expect(up).toHaveLength(spec!.mode!.value.replicas);
    expect(new Set(up.map(({ slot }) => slot)).size).toBe(up.length);
    // A paused update leaves some on the spec before; all else is as asked for.
    if (updateStatus?.specVersion !== specVersion || !updateStatus.message.startsWith("paused"))
      for (const task of up) expect(task.spec!.container!.image).toBe(spec!.task!.container!.image);
    for (const task of world.tasks(meta!.id)) {
      if (task.desiredState <= TaskState.RUNNING) expect(task.status!.state).toBe(TaskState.RUNNING);
      else expect(task.status!.state).toBeGreaterThanOrEqual(TaskState.COMPLETE);
    }
    for (const slot of Map.groupBy(world.tasks(meta!.id), ({ slot }) => slot).values())
      expect(slot.length).toBeLessThanOrEqual(6);
  }
  const ids = new Set(services.map(({ meta }) => meta!.id));
  expect(world.view.list("tasks").filter(({ serviceId }) => !ids.has(serviceId))).toEqual([]);
  const vips = services.map(({ endpoint }) => endpoint!.vip);
  expect(new Set(vips).size).toBe(services.length);
  const ports = services.flatMap(({ endpoint }) => endpoint!.ports.map(({ published }) => published));
  expect(new Set(ports).size).toBe(ports.length);
}

/** No slot runs two tasks where each old one stops first; a node that was down may bring back what was replaced. */
function watchSlots(world: SimulatedCluster, everDown: ReadonlySet<string>): void {
  world.onStep = (view) => {
    const up = view
      .list("tasks")
      .filter(({ status }) => status!.state === TaskState.STARTING || status!.state === TaskState.RUNNING);
    for (const [slot, tasks] of Map.groupBy(up, ({ serviceId, slot }) => `${serviceId}.${slot}`)) {
      const [first] = tasks;
      const startFirst = view.get("services", first!.serviceId)?.spec!.update?.order === Order.START_FIRST;
      if (tasks.some(({ nodeId }) => everDown.has(nodeId))) continue;
      const wanted = tasks.filter(({ desiredState }) => desiredState <= TaskState.RUNNING);
      if (startFirst ? wanted.length > 2 : tasks.length > 1) throw new Error(`${slot} runs ${tasks.length} tasks`);
    }
  };
}

test(
  "whatever is asked for, fails and dies on the way, the end is what was asked for",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...always, ...troubles), { maxLength: 40, size: "max" }),
        fc.constantFrom(1, 2, 7, Number.POSITIVE_INFINITY),
        fc.nat(),
        async (operations, writesOfALife, seed) => {
          const world = await SimulatedCluster.start(nodes.length, { seed });
          world.writesOfALife = writesOfALife;
          await world.restart();
          const everDown = new Set<string>();
          watchSlots(world, everDown);
          for (const operation of operations) {
            if (operation.do === "down") everDown.add(operation.node);
            await taken(() => perform(world, operation));
          }
          await calm(world);
          checkEnd(world);
          await world.stopLeading();
        },
      ),
      { numRuns: 150 },
    );
  },
);

test(
  "a manager that dies after each transaction leads to the same end as one that lives",
  { timeout: 120_000 },
  async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(...always), { maxLength: 25, size: "max" }),
        fc.nat(),
        async (operations, seed) => {
          const ends = [];
          for (const writesOfALife of [Number.POSITIVE_INFINITY, 1]) {
            const world = await SimulatedCluster.start(nodes.length, { seed });
            world.writesOfALife = writesOfALife;
            await world.restart();
            for (const operation of operations) {
              await perform(world, operation);
              await world.settle();
            }
            await calm(world);
            checkEnd(world);
            ends.push(
              world.view.list("services").map(({ meta, spec, specVersion, updateStatus, endpoint }) => ({
                id: meta!.id,
                spec,
                specVersion,
                update: updateStatus?.state,
                ports: endpoint!.ports.length,
                // Which slots those are depends on where tasks were put, which is chance between equal nodes.
                running: world
                  .running(meta!.id)
                  .map((task) => task.spec!.container!.image)
                  .toSorted(),
              })),
            );
            await world.stopLeading();
          }
          expect(ends[1]).toEqual(ends[0]);
        },
      ),
      { numRuns: 60 },
    );
  },
);
