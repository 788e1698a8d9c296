/**
 * Services become tasks: replicas, restarts, rollouts, moves off nodes, endpoints, and the end of all of it. One key is
 * one service, so that whatever befalls a slot is decided in one place and written in one transaction.
 */
import { TaskState, type Node, type Service, type ServiceEndpoint, type Task } from "@warren/api";
import type { Clock, Logger, Random } from "@warren/std";
import type { StoreChange, View } from "@warren/store";
import { hasAll, taskHistory, type Allocation, type Allocator } from "./allocator.ts";
import type { Reconciler, Step } from "./control-loop.ts";
import type { ResolvedOptions } from "./options.ts";
import { planService } from "./service-plan.ts";
import { idOf, stateOf } from "./task.ts";

/** Of the network that is made with the cluster. */
const defaultNetwork = "default";

export function serviceReconciler(
  {
    clock,
    random,
    allocator,
    log,
  }: { readonly clock: Clock; readonly random: Random; readonly allocator: Allocator; readonly log: Logger },
  options: ResolvedOptions,
): Reconciler {
  return {
    name: "services",
    tables: ["services", "tasks", "nodes", "networks", "clusters"],
    keys: allServices,
    touched: touchedServices,
    plan(view: View, serviceId: string, budget: number): Step {
      const service = view.get("services", serviceId);
      const endpoint: Allocation<ServiceEndpoint> =
        service === undefined || service.deleting
          ? { kind: "short", reason: "the service goes" }
          : allocator.endpoint(view, service);
      if (endpoint.kind === "short" && service?.deleting === false)
        log.warn("a service lacks an address or a port", { service: service.spec?.name, reason: endpoint.reason });
      return planService({
        serviceId,
        service,
        tasks: view.find("tasks", "service", serviceId),
        nodeOf: (nodeId) => view.get("nodes", nodeId),
        endpoint,
        networks: networksOf(view, service),
        history: taskHistory(view),
        downGraceMs: options.downGraceMs,
        budget,
        now: clock.now(),
        random,
      });
    },
  };
}

/** Those that are gone but have tasks, too. */
function allServices(view: View): Set<string> {
  const ids = new Set(view.list("services").map(idOf));
  for (const { serviceId } of view.list("tasks")) ids.add(serviceId);
  return ids;
}

function touchedServices(change: StoreChange, view: View): Iterable<string> {
  switch (change.table) {
    case "tasks":
      return concerns(change.before, change.object, change.kind) ? [change.object.serviceId] : [];
    case "services":
      // What one gave back, others may have waited for.
      return gaveBack(change.before, change.object, change.kind)
        ? [idOf(change.object), ...servicesThatWait(view)]
        : [idOf(change.object)];
    case "nodes":
      return matters(change.before, change.object, change.kind)
        ? new Set(view.find("tasks", "node", idOf(change.object)).map(({ serviceId }) => serviceId))
        : [];
    case "networks":
      return change.kind === "create" ? servicesThatWait(view) : [];
    case "clusters":
      return allServices(view);
    default:
      return [];
  }
}

/** Whether a task's change may ask for something: not each word on how its image is pulled. */
function concerns(before: Task | undefined, after: Task, kind: StoreChange["kind"]): boolean {
  if (kind !== "update" || before === undefined) return true;
  return (
    stateOf(before) !== stateOf(after) ||
    before.desiredState !== after.desiredState ||
    before.nodeId !== after.nodeId ||
    before.specVersion !== after.specVersion ||
    before.status?.pending !== after.status?.pending
  );
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

/** Services with tasks that wait for an address, a port or a network. Read once for all changes of a batch. */
function servicesThatWait(view: View): ReadonlySet<string> {
  let waiting = thatWait.get(view);
  if (waiting === undefined) thatWait.set(view, (waiting = findThatWait(view)));
  return waiting;
}

function findThatWait(view: View): Set<string> {
  const waiting = new Set<string>();
  for (const service of view.list("services")) {
    const tasks = view.find("tasks", "service", idOf(service));
    if (!hasAll(service) || tasks.some((task) => stateOf(task) === TaskState.NEW)) waiting.add(idOf(service));
  }
  return waiting;
}

/** Ids, as its tasks carry them. */
function networksOf(view: View, service: Service | undefined): readonly string[] | { readonly missing: string } {
  const named = service?.spec?.task?.networks ?? [];
  if (named.length > 0) {
    const missing = named.find(({ network }) => view.get("networks", network) === undefined);
    return missing === undefined
      ? named.map(({ network }) => network)
      : { missing: `there is no network ${missing.network}` };
  }
  const [found] = view.find("networks", "name", defaultNetwork);
  return found === undefined ? { missing: `there is no network ${defaultNetwork}` } : [idOf(found)];
}
