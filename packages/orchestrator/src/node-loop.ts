/**
 * Nodes get their task subnet; tasks of nodes that are gone, or silent for very long, count as ended. One key is one
 * node.
 */
import { NodeStatus_State, ObjectKind, TaskState, type Node, type Task } from "@warren/api";
import type { Clock, Logger } from "@warren/std";
import type { EventInput, StoreChange, Transaction, View } from "@warren/store";
import type { Allocation, Allocator } from "./allocator.ts";
import type { Reconciler, Step } from "./control-loop.ts";
import type { ResolvedOptions } from "./options.ts";
import { durationText, endText } from "./restarts.ts";
import { hasEnded, idOf, isDown, isStopping, nodeName, remaining, slotName } from "./task.ts";

export function nodeReconciler(
  { clock, allocator, log }: { readonly clock: Clock; readonly allocator: Allocator; readonly log: Logger },
  options: ResolvedOptions,
): Reconciler {
  return {
    name: "nodes",
    tables: ["nodes", "tasks", "clusters"],
    keys: allNodes,
    touched: touchedNodes,
    plan(view: View, nodeId: string, budget: number): Step {
      const node = view.get("nodes", nodeId);
      const subnet = node === undefined ? undefined : allocator.subnet(view, node);
      if (subnet?.kind === "short") log.warn("a node gets no tasks", { node: nodeId, reason: subnet.reason });
      return planNode({
        nodeId,
        node,
        tasks: view.find("tasks", "node", nodeId),
        subnet,
        orphanAfterMs: options.orphanAfterMs,
        budget,
        now: clock.now(),
      });
    },
  };
}

interface NodeSituation {
  readonly nodeId: string;
  /** Undefined: it was removed. */
  readonly node: Node | undefined;
  /** All that are, or were, on it. */
  readonly tasks: readonly Task[];
  readonly subnet: Allocation<string> | undefined;
  readonly orphanAfterMs: number;
  readonly budget: number;
  readonly now: number;
}

function planNode({ nodeId, node, tasks, subnet, orphanAfterMs, budget, now }: NodeSituation): Step {
  const given =
    node !== undefined && subnet?.kind === "given" && subnet.changed ? { ...node, subnet: subnet.value } : undefined;
  const { orphans, why, wakeInMs } = orphansOf(nodeId, node, tasks, orphanAfterMs, now);
  const some = orphans.slice(0, budget);
  return {
    // Each orphan and its event.
    size: some.length * 2 + (given === undefined ? 0 : 1),
    wakeInMs,
    again: some.length < orphans.length,
    writeTo(tx: Transaction): void {
      if (given !== undefined) tx.update("nodes", given);
      for (const task of some) {
        const orphan = orphaned(task, why, now);
        tx.update("tasks", orphan);
        tx.emit(lost(orphan));
      }
    },
  };
}

interface Orphans {
  readonly orphans: readonly Task[];
  readonly why: string;
  readonly wakeInMs?: number;
}

/** Of a removed node all; of one that has been down for long those that were told to stop, since nobody waits for others. */
function orphansOf(
  nodeId: string,
  node: Node | undefined,
  tasks: readonly Task[],
  orphanAfterMs: number,
  now: number,
): Orphans {
  if (node === undefined) {
    const orphans = tasks.filter((task) => !hasEnded(task));
    return { orphans, why: `the node ${nodeId} was removed from the cluster` };
  }
  if (!isDown(node)) return { orphans: [], why: "" };
  const left = remaining(node.status?.at?.getTime() ?? now, orphanAfterMs, now);
  if (left > 0) return { orphans: [], why: "", wakeInMs: left };
  return {
    orphans: tasks.filter(isStopping),
    why: `${nodeName(node)} has been down for more than ${durationText(orphanAfterMs)}`,
  };
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

function lost(task: Task): EventInput {
  return {
    kind: ObjectKind.TASK,
    objectId: idOf(task),
    objectName: slotName(task),
    action: "lost",
    message: endText(task),
  };
}

/** Those that were removed but have tasks, too. */
function allNodes(view: View): Set<string> {
  const ids = new Set(view.list("nodes").map(idOf));
  for (const { nodeId } of view.list("tasks")) if (nodeId !== "") ids.add(nodeId);
  return ids;
}

function touchedNodes(change: StoreChange, view: View): Iterable<string> {
  if (change.table === "clusters") return allNodes(view);
  if (change.table === "tasks") return stuck(change.before, change.object, view) ? [change.object.nodeId] : [];
  if (change.table !== "nodes") return [];
  const own = [idOf(change.object)];
  if (change.kind !== "delete") return change.kind === "create" || moved(change.before, change.object) ? own : [];
  return [...own, ...view.list("nodes").flatMap((node) => (node.subnet === "" ? [idOf(node)] : []))];
}

function moved(before: Node | undefined, after: Node): boolean {
  const state = (node: Node | undefined): NodeStatus_State => node?.status?.state ?? NodeStatus_State.UNSPECIFIED;
  return state(before) !== state(after) || after.subnet === "";
}

/** Told to stop by now, on a node that may not hear it. */
function stuck(before: Task | undefined, after: Task, view: View): boolean {
  if (!isStopping(after) || after.nodeId === "" || (before !== undefined && isStopping(before))) return false;
  const node = view.get("nodes", after.nodeId);
  return node === undefined || isDown(node);
}
