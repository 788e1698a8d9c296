/** What befalls a cluster, at random, and what must hold all the while and in the end. */
import {
  LeaseState,
  NodeSpec_Availability as Availability,
  TaskState,
  UpdateConfig_FailureAction as Action,
  PortSpec_Mode,
  PortSpec_Protocol,
  UpdateConfig_Order as Order,
  type Service,
  type ServiceSpec,
} from "@warren/api";
import { slotNumber, stateOf } from "@warren/api/model";
import { StoreError } from "@warren/store";
import type { ProposerFault } from "@warren/store/testing";
import * as fc from "fast-check";
import { expect } from "vitest";
import { rollbackTarget } from "../src/plan.ts";
import { SimulatedCluster } from "./simulated-cluster.ts";

export type Operation =
  | {
      readonly do: "create";
      readonly service: string;
      readonly replicas: number;
      readonly order: Order;
      readonly action: Action;
    }
  | { readonly do: "scale"; readonly service: string; readonly replicas: number }
  | { readonly do: "update"; readonly service: string; readonly image: string }
  | { readonly do: "place"; readonly service: string; readonly most: number }
  | { readonly do: "constrain"; readonly service: string; readonly zone: Zone | "any" }
  | { readonly do: "publish on nodes"; readonly service: string; readonly isOn: boolean }
  | { readonly do: "edit"; readonly service: string; readonly order: Order; readonly action: Action }
  | { readonly do: "roll back" | "delete"; readonly service: string }
  | { readonly do: "relabel"; readonly node: string; readonly zone: Zone }
  | { readonly do: "hang" | "let go"; readonly node: string }
  | { readonly do: "set clock"; readonly byMs: number }
  | { readonly do: "end"; readonly service: string; readonly slot: number; readonly how: "fail" | "complete" }
  | { readonly do: "drain" | "activate" | "off" | "cut" | "up" | "reboot" | "new worker"; readonly node: string }
  | { readonly do: "behave"; readonly image: string; readonly how: "run" | "crash" | "reject" | "complete" | "stall" }
  | { readonly do: "steps"; readonly count: number }
  | { readonly do: "advance"; readonly ms: number }
  | { readonly do: "restart" }
  | { readonly do: "fault"; readonly fault: ProposerFault };

type Zone = "north" | "south";

export const nodes = ["edge-1", "edge-2"] as const;
const zone = fc.constantFrom<Zone[]>("north", "south");
const order = fc.constantFrom(Order.STOP_FIRST, Order.START_FIRST);
const action = fc.constantFrom(Action.PAUSE, Action.CONTINUE, Action.ROLLBACK);
const service = fc.constantFrom("web", "api", "db");
const image = fc.constantFrom("app:1", "app:2", "app:3");
const node = fc.constantFrom(...nodes);
const replicas = fc.integer({ min: 0, max: 5 });

export const always: fc.Arbitrary<Operation>[] = [
  fc.record({
    do: fc.constant("create" as const),
    service,
    replicas,
    order,
    action,
  }),
  fc.record({ do: fc.constant("constrain" as const), service, zone: fc.oneof(zone, fc.constant("any" as const)) }),
  fc.record({ do: fc.constant("publish on nodes" as const), service, isOn: fc.boolean() }),
  fc.record({ do: fc.constant("edit" as const), service, order, action }),
  fc.record({ do: fc.constant("roll back" as const), service }),
  fc.record({ do: fc.constant("relabel" as const), node, zone }),
  fc.record({ do: fc.constant("scale" as const), service, replicas }),
  fc.record({ do: fc.constant("update" as const), service, image }),
  fc.record({ do: fc.constant("delete" as const), service }),
  fc.record({
    do: fc.constant("end" as const),
    service,
    slot: fc.integer({ min: 1, max: 5 }),
    how: fc.constantFrom("fail" as const, "complete" as const),
  }),
  fc.record({ do: fc.constant("place" as const), service, most: fc.integer({ min: 0, max: 2 }) }),
  fc.record({ do: fc.constantFrom("drain" as const, "activate" as const, "new worker" as const), node }),
  fc.record({ do: fc.constant("steps" as const), count: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant("advance" as const), ms: fc.constantFrom(1, 1_000, 5_000, 40_000) }),
];
const troubles: fc.Arbitrary<Operation>[] = [
  fc.record({ do: fc.constantFrom("off" as const, "cut" as const, "up" as const, "reboot" as const), node }),
  fc.record({
    do: fc.constant("behave" as const),
    image,
    how: fc.constantFrom("run", "crash", "reject", "complete", "stall"),
  }),
  fc.record({ do: fc.constant("restart" as const) }),
  fc.record({ do: fc.constantFrom("hang" as const, "let go" as const), node }),
  fc.record({ do: fc.constant("set clock" as const), byMs: fc.constantFrom(3_600_000, -3_600_000, 20_000, -20_000) }),
  fc.record({
    do: fc.constant("fault" as const),
    fault: fc.constantFrom("conflict", "unavailable", "outcome-unknown-applied", "outcome-unknown-lost"),
  }),
];

export async function perform(world: SimulatedCluster, operation: Operation): Promise<void> {
  const id = "service" in operation ? world.named(operation.service) : "";
  const known = world.view.get("services", id) !== undefined;
  switch (operation.do) {
    case "create": {
      const { service, replicas, order, action } = operation;
      if (known) return;
      const update = { order, failureAction: action, parallelism: replicas % 3 };
      const ports = [{ target: 80 }, { target: 81, published: service.length * 1_000 }];
      return void (await world.create(service, replicas, { update, ports: service === "web" ? ports : [] }, false));
    }
    case "scale":
      return known ? world.scale(id, operation.replicas, false) : undefined;
    case "update":
      return known ? world.setImage(id, operation.image, false) : undefined;
    case "delete":
      return known ? world.delete(id, false) : undefined;
    case "end": {
      const task = world.running(id).find(({ slot }) => slotNumber(slot) === operation.slot);
      const isThere =
        task !== undefined && world.node(task.nodeId).running.some(({ run }) => run.taskId === task.meta!.id);
      if (task === undefined || !isThere) return;
      return world.end(task, operation.how === "fail" ? {} : { exitCode: 0, complete: true }, false);
    }
    case "place":
      if (!known) return;
      return world.update(
        id,
        (spec) => void (spec.task!.placement = { constraints: [], maxReplicasPerNode: operation.most }),
        false,
      );
    case "constrain": {
      const { zone: where } = operation;
      if (!known) return;
      return world.update(
        id,
        ({ task }) => {
          const constraints = where === "any" ? [] : [`node.labels.zone == ${where}`];
          task!.placement = { maxReplicasPerNode: task!.placement?.maxReplicasPerNode ?? 0, constraints };
        },
        false,
      );
    }
    case "publish on nodes":
      if (!known) return;
      return world.update(
        id,
        (spec) => {
          const others = spec.ports.filter(({ mode }) => mode !== PortSpec_Mode.HOST);
          const own = {
            target: 90,
            published: 9_000 + operation.service.charCodeAt(0),
            protocol: PortSpec_Protocol.TCP,
            mode: PortSpec_Mode.HOST,
          };
          spec.ports = operation.isOn ? [...others, own] : others;
        },
        false,
      );
    case "edit":
      if (!known) return;
      return world.update(
        id,
        (spec) => {
          spec.update = { ...spec.update!, order: operation.order, failureAction: operation.action };
          spec.labels = { ...spec.labels, edited: "yes" };
        },
        false,
      );
    case "roll back": {
      const target = known ? rollbackTarget(world.service(id)) : undefined;
      return target === undefined || world.view.get("versions", target) === undefined
        ? undefined
        : world.rollback(id, false);
    }
    case "relabel":
      return world.changeNode(
        operation.node,
        ({ spec }) => ({ spec: { availability: spec?.availability ?? 0, labels: { zone: operation.zone } } }),
        false,
      );
    case "hang":
      for (const { run } of world.node(operation.node).running) world.stubborn.add(run.taskId);
      return;
    case "let go":
      return world.stubborn.clear();
    case "set clock":
      return world.clock.jump(operation.byMs);
    case "drain":
      return world.setAvailability(operation.node, Availability.DRAIN, false);
    case "activate":
      return world.setAvailability(operation.node, Availability.ACTIVE, false);
    case "off":
      return world.down(operation.node, false);
    case "cut":
      return world.down(operation.node, false, { off: false });
    case "reboot":
      return world.node(operation.node).reboot();
    case "new worker":
      return world.node(operation.node).restartWorker();
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
      return world.manager.proposer.failNext(operation.fault);
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
export async function calm(world: SimulatedCluster): Promise<void> {
  world.behaviours.clear();
  world.stubborn.clear();
  for (const [at, each] of nodes.entries()) {
    const zone = at === 0 ? "north" : "south";
    const labels = { spec: { labels: { zone }, availability: Availability.ACTIVE } };
    while (!(await taken(() => world.changeNode(each, () => labels, false))));
    while (!(await taken(() => world.up(each, false))));
    while (!(await taken(() => world.setAvailability(each, Availability.ACTIVE, false))));
  }
  await world.advance(900_000);
}

/**
 * L5: a task that has nowhere to go stays where it is, and as it is, however many a node may have. Which tasks and how
 * many those are is chance: one that was about to leave, and stays after all, may find another in its place.
 */
export function isCrowded(service: Service): boolean {
  const { spec } = service;
  const { replicas } = spec!.mode!.value;
  // A port of the node is one task's, the old one's or the new one's.
  const isStuck = takesPort(spec!) && spec!.update?.order === Order.START_FIRST;
  return replicas > room(service) || (isStuck && replicas >= room(service) && replicas > 0);
}

/** How many tasks of a service its nodes take, once all is calm. */
function room({ spec }: Service): number {
  const { constraints = [], maxReplicasPerNode = 0 } = spec!.task!.placement ?? {};
  const each = Math.min(
    maxReplicasPerNode || Number.POSITIVE_INFINITY,
    takesPort(spec!) ? 1 : Number.POSITIVE_INFINITY,
  );
  return each * (constraints.length === 0 ? nodes.length : 1);
}

function takesPort({ ports }: ServiceSpec): boolean {
  return ports.some(({ mode }) => mode === PortSpec_Mode.HOST);
}

export function checkEnd(world: SimulatedCluster): void {
  const services = world.view.list("services");
  for (const service of services) {
    const { meta, spec, versionId, updateStatus } = service;
    const up = world.running(meta!.id);
    const { replicas } = spec!.mode!.value;
    const paused = updateStatus?.versionId === versionId && updateStatus.message.startsWith("paused");
    const crowded = isCrowded(service);
    expect(up.length).toBeGreaterThanOrEqual(crowded ? Math.min(replicas, room(service)) : replicas);
    expect(up.length).toBeLessThanOrEqual(replicas);
    expect(new Set(up.map(({ slotId }) => slotId)).size).toBe(up.length);
    // A paused update leaves some on the version before; all else is as asked for.
    if (!paused && !crowded) for (const task of up) expect(world.image(task)).toBe(spec!.task!.container!.image);
    for (const slot of world.slots(meta!.id)) {
      expect(slot.wanted).toBe(true);
      const held = slot.leases.filter(({ state }) => state !== LeaseState.RELEASED);
      if (!crowded) expect(held.length).toBe(1);
      expect(world.tasks(meta!.id).filter(({ slotId }) => slotId === slot.meta!.id).length).toBeLessThanOrEqual(11);
    }
  }
  const ids = new Set(services.map(({ meta }) => meta!.id));
  for (const table of ["slots", "tasks", "versions"] as const)
    expect(world.view.list(table).filter(({ serviceId }) => !ids.has(serviceId))).toEqual([]);
  // What really runs is what is stored.
  const running = world.view.list("tasks").filter((task) => stateOf(task) === TaskState.RUNNING);
  expect([...world.nodes.values()].flatMap((each) => each.running.map(({ run }) => run.taskId)).toSorted()).toEqual(
    running.map(({ meta }) => meta!.id).toSorted(),
  );
  const vips = services.map(({ endpoint }) => endpoint!.vip);
  expect(new Set(vips).size).toBe(services.length);
  const ports = services.flatMap(({ endpoint }) => endpoint!.ports.map(({ published }) => published));
  expect(new Set(ports).size).toBe(ports.length);
}

/**
 * L1: at most one current and one incoming lease. L2: no stop-first slot runs two containers, where no node was ever
 * given up. L8: no two leases that may have a container have one address.
 */
function watchSlots(world: SimulatedCluster, everDown: ReadonlySet<string>): void {
  const everStartFirst = new Set<string>();
  world.onStep = () => {
    const { view } = world;
    for (const { meta, spec } of view.list("services"))
      if (spec?.update?.order === Order.START_FIRST) everStartFirst.add(meta!.id);
    const addresses = new Map<string, string>();
    for (const slot of view.list("slots")) {
      if (slot.leases.filter(({ state }) => state <= LeaseState.HELD).length > 2)
        throw new Error(`${slot.meta!.id} has more than two standing leases`);
      for (const lease of slot.leases) {
        if (lease.address === "" || lease.state === LeaseState.RELEASED) continue;
        const other = addresses.get(lease.address);
        if (other !== undefined) throw new Error(`${lease.address} is ${slot.meta!.id}'s and ${other}'s`);
        addresses.set(lease.address, slot.meta!.id);
      }
    }
    // Whatever is given up elsewhere: a node itself never runs two of a stop-first slot.
    const up = [...world.nodes.values()].flatMap((each) => each.running.map((lease) => ({ nodeId: each.id, lease })));
    for (const [slotId, leases] of Map.groupBy(up, ({ lease }) => lease.slotId)) {
      const order = view.get("services", leases[0]!.lease.serviceId)?.spec!.update?.order;
      if (order === Order.START_FIRST || order === undefined) continue;
      const onNode = new Set(leases.map(({ nodeId }) => nodeId));
      if (onNode.size < leases.length && !everStartFirst.has(leases[0]!.lease.serviceId))
        throw new Error(`${slotId} runs ${leases.length} containers on ${[...onNode].join()}`);
      if (
        leases.length > 1 &&
        !everStartFirst.has(leases[0]!.lease.serviceId) &&
        !leases.some(({ nodeId }) => everDown.has(nodeId))
      )
        throw new Error(`${slotId} runs ${leases.length} containers: ${leases.map(({ nodeId }) => nodeId).join()}`);
    }
  };
}

export interface HistoryOptions {
  /** Of each history. */
  readonly mostOperations: number;
  readonly histories: number;
}

/** Histories with cut links, reboots and managers that die: what must hold does throughout, and the end is what was asked for. */
export async function checkHistories({ mostOperations, histories }: HistoryOptions): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(...always, ...troubles), { maxLength: mostOperations, size: "max" }),
      fc.constantFrom(1, 2, 7, Number.POSITIVE_INFINITY),
      fc.nat(),
      async (operations, writesOfALife, seed) => {
        const world = await SimulatedCluster.start(nodes.length, { seed });
        world.writesOfALife = writesOfALife;
        await world.restart();
        const everDown = new Set<string>();
        watchSlots(world, everDown);
        for (const operation of operations) {
          if (["off", "cut", "hang"].includes(operation.do) && "node" in operation) everDown.add(operation.node);
          await taken(() => perform(world, operation));
        }
        await calm(world);
        checkEnd(world);
        await world.stopLeading();
      },
    ),
    { numRuns: histories },
  );
}
