/** What must hold once nothing happens any more: what converged is what was asked, and what is stored is what is there. */
import {
  LeaseState,
  NodeSpec_Availability as Availability,
  TaskState,
  UpdateConfig_FailureAction,
  type Service,
  type Slot,
} from "@warren/api";
import { currentLease, hasEnded, leaseKey, sameEpoch, stateOf, taskStateText } from "@warren/api/model";
import type { World } from "./world.ts";

/** What is missing; empty: nothing. */
export function missing(world: World): string[] {
  const { view } = world;
  const found: string[] = [];
  const services = new Map(view.list("services").map((service) => [service.meta?.id ?? "", service]));
  for (const slot of view.list("slots")) {
    const service = services.get(slot.serviceId);
    if (service === undefined) found.push(`slot ${slot.meta?.id} of a deleted service is still there`);
    else checkSlot(world, service, slot, found);
  }
  for (const service of services.values()) checkReplicas(world, service, found);
  checkContainers(world, found);
  for (const { meta, serviceId } of [...view.list("versions"), ...view.list("tasks")])
    if (!services.has(serviceId)) found.push(`${meta?.id} of a deleted service is still there`);
  return found;
}

function checkReplicas({ view }: World, service: Service, found: string[]): void {
  const { spec, updateStatus, versionId } = service;
  const replicas = spec?.mode?.value.replicas ?? 0;
  const slots = view.find("slots", "service", service.meta?.id ?? "").filter(({ wanted }) => wanted);
  if (slots.length !== replicas) found.push(`${spec?.name} has ${slots.length} slots, and ${replicas} are wanted`);
  if (updateStatus !== undefined && updateStatus.versionId === versionId && updateStatus.completedAt === undefined)
    if (!updateStatus.message.startsWith("paused") && !failsForEver(service))
      found.push(`${spec?.name} is still being updated`);
}

/** Each of its runs ends while it is watched, and its update is to go on whatever fails. */
function failsForEver({ spec }: Service): boolean {
  const [what, seconds] = spec?.task?.container?.args ?? [];
  const goesOn = spec?.update?.failureAction === UpdateConfig_FailureAction.CONTINUE;
  return goesOn && what === "exit" && Number(seconds) * 1_000 <= (spec?.update?.monitorMs ?? 0);
}

function checkSlot({ view }: World, service: Service, slot: Slot, found: string[]): void {
  const id = slot.meta?.id ?? "";
  const ends = service.spec?.task?.container?.args[0] === "exit";
  // A paused update leaves slots on the version before, settled ones as they are.
  const paused = service.updateStatus?.message.startsWith("paused") === true;
  const unreleased = slot.leases.filter(({ state }) => state !== LeaseState.RELEASED);
  if (!slot.wanted) return void found.push(`${id} is not wanted and still there`);
  if (slot.settled !== "") {
    if (unreleased.length > 0) found.push(`${id} is settled, and has leases`);
    if (!ends && !paused) found.push(`${id} is settled: ${slot.settled}`);
    return;
  }
  // L9: what ends again and again is tried here and there.
  if (ends) return;
  const current = currentLease(slot);
  if (unreleased.length !== 1 || current === undefined)
    return void found.push(`${id} has leases ${unreleased.map(({ state, nodeId }) => `${state}@${nodeId}`).join()}`);
  const make = (versionId: string): string => view.get("versions", versionId)?.make ?? "none";
  if (!paused && make(current.versionId) !== make(service.versionId)) found.push(`${id} is of another version`);
  if (view.get("nodes", current.nodeId)?.spec?.availability === Availability.DRAIN)
    found.push(`${id} is on a drained node`);
  const running = view.find("tasks", "slot", id).filter((task) => !hasEnded(task));
  const [only] = running;
  if (running.length !== 1 || only?.status?.state !== TaskState.RUNNING || !sameEpoch(only.epoch, current.epoch))
    found.push(`${id} has rows ${running.map((task) => taskStateText(stateOf(task))).join()}`);
}

/** Each container that runs is a row that says so, and each such row a container. */
function checkContainers({ view, edges }: World, found: string[]): void {
  const there = new Map<string, string>();
  for (const edge of edges) {
    for (const id of edge.running) {
      there.set(id, edge.name);
      const task = view.get("tasks", id);
      if (task === undefined) found.push(`container ${edge.label(id, "slot-id")} of ${edge.name} has no row`);
      else if (task.nodeId !== edge.nodeId) found.push(`container ${id} runs on ${edge.name}, and not by its row`);
      else if (hasEnded(task)) found.push(`container ${edge.label(id, "slot-id")} runs, and has ended by its row`);
    }
    const addresses = new Set<string>();
    for (const { id, address } of edge.network.attached.values()) {
      if (addresses.has(address)) found.push(`${address} is attached twice on ${edge.name}`);
      addresses.add(address);
      if (
        !view
          .list("slots")
          .some(({ meta, leases }) =>
            leases.some(
              (lease) =>
                lease.address === address &&
                edge.label(id, "epoch") !== "" &&
                leaseKey(meta?.id ?? "", lease.epoch) === `${edge.label(id, "slot-id")}/${edge.label(id, "epoch")}`,
            ),
          )
      )
        found.push(`${address} of ${edge.name} is attached, and no lease has it`);
    }
  }
  for (const task of view.list("tasks"))
    if (stateOf(task) === TaskState.RUNNING && !there.has(task.meta?.id ?? ""))
      found.push(`${task.slotId} runs by its row, and has no container`);
}

/** L9, spread: a service on equal nodes that take tasks is spread as evenly as its number allows. */
export function unevenness({ view }: World, serviceName: string): string[] {
  const [service] = view.find("services", "name", serviceName);
  const active = view.list("nodes").filter(({ spec }) => spec?.availability !== Availability.DRAIN);
  const counts = new Map(active.map(({ meta }) => [meta?.id ?? "", 0]));
  for (const slot of view.find("slots", "service", service?.meta?.id ?? "")) {
    const nodeId = currentLease(slot)?.nodeId ?? "";
    counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
  }
  const numbers = [...counts.values()];
  return Math.max(...numbers) - Math.min(...numbers) > 1 ? [`${serviceName} is spread ${numbers.join(", ")}`] : [];
}
