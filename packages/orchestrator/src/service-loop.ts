/**
 * Services become slots, and slots get leases: replicas, rollouts, moves off nodes, endpoints, and the end of all of it.
 * One key is one service, so that whatever befalls a slot is decided in one place and written in one transaction.
 */
import type { Node, Service, ServiceEndpoint, Task } from "@warren/api";
import { idOf, serviceOfSlot, stateOf } from "@warren/api/model";
import type { Logger, Random } from "@warren/std";
import type { StoreChange, Transaction, View } from "@warren/store";
import { hasAll, taskHistory, type Allocation, type Allocator } from "./allocator.ts";
import type { ClockSteps } from "./clock-steps.ts";
import type { Reconciler, Step } from "./control-loop.ts";
import type { ResolvedOptions } from "./options.ts";
import { roleOf } from "./scheduling-input.ts";
import { planService } from "./service-plan.ts";

export function serviceReconciler(
  {
    clockSteps,
    random,
    allocator,
    log,
  }: { readonly clockSteps: ClockSteps; readonly random: Random; readonly allocator: Allocator; readonly log: Logger },
  options: ResolvedOptions,
): Reconciler {
  return {
    name: "services",
    tables: ["services", "deletedServices", "slots", "tasks", "nodes", "managers", "clusters"],
    keys: allServices,
    touched: touchedServices,
    plan(tx: Transaction, serviceId: string, budget: number): Step {
      const service = tx.get("services", serviceId);
      const endpoint: Allocation<ServiceEndpoint> =
        service === undefined ? { kind: "short", reason: "the service is gone" } : allocator.endpoint(tx, service);
      if (endpoint.kind === "short" && service !== undefined)
        log.warn("a service lacks an address or a port", { service: service.spec?.name, reason: endpoint.reason });
      return planService({
        serviceId,
        service,
        addressRests: tx.get("deletedServices", serviceId) !== undefined,
        versions: tx.find("versions", "service", serviceId),
        slots: tx.find("slots", "service", serviceId),
        tasks: tx.find("tasks", "service", serviceId),
        nodeOf: (nodeId) => tx.get("nodes", nodeId),
        roleOf: (nodeId) => roleOf(tx, nodeId),
        endpoint,
        history: taskHistory(tx),
        downGraceMs: options.downGraceMs,
        budget,
        at: clockSteps.moment(),
        epoch: tx.epoch,
        random,
      });
    },
  };
}

/** Those that are gone but have slots or versions, too. */
function allServices(view: View): Set<string> {
  const ids = new Set(view.list("services").map(idOf));
  for (const service of view.list("deletedServices")) ids.add(idOf(service));
  for (const { serviceId } of view.list("slots")) ids.add(serviceId);
  for (const { serviceId } of view.list("versions")) ids.add(serviceId);
  return ids;
}

function touchedServices(change: StoreChange, view: View): Iterable<string> {
  switch (change.table) {
    case "tasks":
      return concerns(change.before, change.object, change.kind) ? [change.object.serviceId] : [];
    case "slots":
      return [change.object.serviceId];
    case "deletedServices":
      // An address that rested is free.
      return change.kind === "delete" ? servicesThatWait(view) : [idOf(change.object)];
    case "services":
      // What one gave back, others may have waited for.
      return gaveBack(change.before, change.object, change.kind)
        ? [idOf(change.object), ...servicesThatWait(view)]
        : [idOf(change.object)];
    case "nodes":
      return matters(change.before, change.object, change.kind) ? servicesOn(view, idOf(change.object)) : [];
    case "managers":
      return change.kind === "update" ? [] : servicesOn(view, idOf(change.object));
    case "clusters":
      return allServices(view);
    default:
      return [];
  }
}

function servicesOn(view: View, nodeId: string): Set<string> {
  return new Set(view.find("slots", "node", nodeId).map((slot) => serviceOfSlot(idOf(slot))));
}

/** Whether a task's change may ask for something: not each message on how its image is pulled. */
function concerns(before: Task | undefined, after: Task, kind: StoreChange["kind"]): boolean {
  if (kind !== "update" || before === undefined) return true;
  return stateOf(before) !== stateOf(after) || before.status?.pending !== after.status?.pending;
}

/** Whether a node's change may move tasks. Descriptions change often and move nothing but by the platform. */
function matters(before: Node | undefined, after: Node, kind: StoreChange["kind"]): boolean {
  if (kind !== "update" || before === undefined) return true;
  return (
    before.status?.state !== after.status?.state ||
    JSON.stringify(before.spec) !== JSON.stringify(after.spec) ||
    JSON.stringify(before.description) !== JSON.stringify(after.description)
  );
}

/** Whether an address or a port is free now. */
function gaveBack(before: Service | undefined, after: Service, kind: StoreChange["kind"]): boolean {
  if (kind === "delete") return true;
  return before?.endpoint !== undefined && JSON.stringify(before.endpoint) !== JSON.stringify(after.endpoint);
}

const thatWait = new WeakMap<View, ReadonlySet<string>>();

/** Services that wait for an address or a port. Read once for all changes of a batch. */
function servicesThatWait(view: View): ReadonlySet<string> {
  let waiting = thatWait.get(view);
  if (waiting === undefined)
    thatWait.set(
      view,
      (waiting = new Set(
        view
          .list("services")
          .filter((each) => !hasAll(each))
          .map(idOf),
      )),
    );
  return waiting;
}
