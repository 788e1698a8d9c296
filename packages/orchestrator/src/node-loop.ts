/**
 * Nodes get their task subnet; what a node held that was removed is released by the managers. One key is one node.
 */
import { LeaseState, NodeStatus_State, ObjectKind, TaskState, type Node, type Slot, type Task } from "@warren/api";
import { hasEnded, idOf, isUnreleased, slotName } from "@warren/api/model";
import type { Logger } from "@warren/std";
import type { StoreChange, Transaction, View } from "@warren/store";
import type { Allocation, Allocator } from "./allocator.ts";
import type { ClockSteps } from "./clock-steps.ts";
import type { Reconciler, Step } from "./control-loop.ts";

export function nodeReconciler({
  clockSteps,
  allocator,
  log,
}: {
  readonly clockSteps: ClockSteps;
  readonly allocator: Allocator;
  readonly log: Logger;
}): Reconciler {
  return {
    name: "nodes",
    tables: ["nodes", "slots", "clusters"],
    keys: allNodes,
    touched: touchedNodes,
    plan(tx: Transaction, nodeId: string, budget: number): Step {
      const at = clockSteps.moment();
      const node = tx.get("nodes", nodeId);
      if (node === undefined) return planRemoved(tx, nodeId, budget, at.now);
      const subnet = allocator.subnet(tx, node, at);
      if (subnet.kind === "short") log.warn("a node gets no tasks", { node: nodeId, reason: subnet.reason });
      return planPresent(node, subnet);
    },
  };
}

function planPresent(node: Node, subnet: Allocation<string>): Step {
  const allocated = subnet.kind === "allocated" && subnet.changed ? { ...node, subnet: subnet.value } : undefined;
  return {
    size: allocated === undefined ? 0 : 1,
    wakeInMs: subnet.kind === "short" ? subnet.inMs : undefined,
    again: false,
    writeTo(tx: Transaction): void {
      if (allocated !== undefined) tx.update("nodes", allocated);
    },
  };
}

/** L15, L17: what a removed node owed is released, and its tasks are lost. */
function planRemoved(view: View, nodeId: string, budget: number, now: number): Step {
  const why = `the node ${nodeId} was removed from the cluster`;
  const slots = view.find("slots", "node", nodeId);
  const some = slots.slice(0, budget);
  const freed = new Set(some.map(idOf));
  const tasks = view.find("tasks", "node", nodeId).filter((task) => !hasEnded(task) && freed.has(task.slotId));
  return {
    // Each task and its event.
    size: some.length + tasks.length * 2,
    again: some.length < slots.length,
    writeTo(tx: Transaction): void {
      for (const slot of some) tx.update("slots", withoutNode(slot, nodeId, now));
      for (const task of tasks) {
        tx.update("tasks", orphaned(task, why, now));
        tx.emit({
          kind: ObjectKind.TASK,
          objectId: idOf(task),
          objectName: slotName(task),
          action: "lost",
          message: `was lost with its node: ${why}`,
        });
      }
    },
  };
}

function withoutNode(slot: Slot, nodeId: string, now: number): Slot {
  const leases = slot.leases.map((lease) =>
    lease.nodeId === nodeId && isUnreleased(lease)
      ? { ...lease, state: LeaseState.RELEASED, since: new Date(now) }
      : lease,
  );
  return { ...slot, leases };
}

function orphaned(task: Task, why: string, now: number): Task {
  return {
    ...task,
    status: {
      state: TaskState.ORPHANED,
      at: new Date(now),
      message: why,
      code: "NODE_GONE",
      container: task.status?.container,
      pending: undefined,
    },
  };
}

/** Those that were removed but have leases, too. */
function allNodes(view: View): Set<string> {
  const ids = new Set(view.list("nodes").map(idOf));
  for (const slot of view.list("slots"))
    for (const lease of slot.leases) if (isUnreleased(lease)) ids.add(lease.nodeId);
  return ids;
}

function touchedNodes(change: StoreChange, view: View): Iterable<string> {
  switch (change.table) {
    case "clusters":
      return allNodes(view);
    case "slots":
      // A lease was offered to a node that was removed meanwhile.
      return change.object.leases
        .filter((lease) => isUnreleased(lease) && view.get("nodes", lease.nodeId) === undefined)
        .map(({ nodeId }) => nodeId);
    case "nodes": {
      const own = [idOf(change.object)];
      if (change.kind !== "delete") return change.kind === "create" || moved(change.before, change.object) ? own : [];
      return [...own, ...view.list("nodes").flatMap((node) => (node.subnet === "" ? [idOf(node)] : []))];
    }
    default:
      return [];
  }
}

function moved(before: Node | undefined, after: Node): boolean {
  const state = (node: Node | undefined): NodeStatus_State => node?.status?.state ?? NodeStatus_State.UNSPECIFIED;
  return state(before) !== state(after) || after.subnet === "";
}
