/**
 * A scheduler's decision becomes an offer, or the reason why there is none.
 */
import { LeaseState, TaskState, type Lease, type PendingExplanation, type Slot, type Task } from "@warren/api";
import { firstRun, idOf, mayRun, parseLeaseKey, sameEpoch, taskIdOf } from "@warren/api/model";
import type { Decision } from "@warren/scheduler";
import type { Transaction, View } from "@warren/store";
import type { AddressBook } from "./addresses.ts";
import { recordFor } from "./lease-record.ts";
import { isActive, isReady, nodeName, type Moment } from "./reading.ts";
import { hostPortsNow, isPlaceable } from "./scheduling-input.ts";

export type Waiting = Pick<
  Extract<Decision, { kind: "waiting" }>,
  "kind" | "taskId" | "nodes" | "refusals" | "text" | "help"
>;
export type Placed = Pick<Extract<Decision, { kind: "placed" }>, "kind" | "taskId" | "nodeId" | "text">;

export type Outcome =
  | "written"
  /** Things have changed, so that the decision holds no longer. */
  | "overtaken"
  /** The node has no address left. */
  | "no-address";

/** @param decision its `taskId` is the lease's key */
export function recordDecision(
  tx: Transaction,
  decision: Placed | Waiting,
  addresses: AddressBook,
  at: Moment,
): Outcome {
  const { now } = at;
  const found = waitingLease(tx, decision.taskId);
  if (found === undefined) return "overtaken";
  const { slot, lease, task } = found;
  if (decision.kind === "waiting") {
    explain(tx, task, decision, now);
    return "written";
  }
  const node = tx.get("nodes", decision.nodeId);
  if (node === undefined || !isReady(node) || !isActive(node) || node.subnet === "") return "overtaken";
  const address = addresses.allocate(tx, node, at);
  if (address.kind === "short") {
    explain(tx, task, { kind: "waiting", taskId: decision.taskId, nodes: 0, refusals: [], text: address.reason }, now);
    return "no-address";
  }
  const offered = offer(tx, slot, lease, idOf(node), address.value, now);
  tx.update("slots", offered);
  addresses.note(offered);
  const message = `assigned to ${nodeName(node)}: ${decision.text}`;
  tx.update("tasks", {
    ...task,
    nodeId: idOf(node),
    status: {
      state: TaskState.ASSIGNED,
      at: new Date(now),
      message,
      code: "",
      container: undefined,
      pending: undefined,
    },
  });
  return "written";
}

interface WaitingLease {
  readonly slot: Slot;
  readonly lease: Lease;
  readonly task: Task;
}

function waitingLease(view: View, key: string): WaitingLease | undefined {
  const named = parseLeaseKey(key);
  const slot = named === undefined ? undefined : view.get("slots", named.slotId);
  const lease = slot?.leases.find(({ epoch }) => sameEpoch(epoch, named?.epoch));
  if (slot === undefined || lease === undefined) return undefined;
  const task = view.get("tasks", taskIdOf(idOf(slot), lease.epoch, firstRun));
  const version = view.get("versions", lease.versionId);
  const service = view.get("services", slot.serviceId);
  if (task === undefined || version === undefined) return undefined;
  return isPlaceable({ slot, lease, service }) ? { slot, lease, task } : undefined;
}

/**
 * The lease with its node, address and record. L2: held at once where no other lease of the slot may run, so that an
 * ordinary start costs one command.
 */
function offer(view: View, slot: Slot, lease: Lease, nodeId: string, address: string, now: number): Slot {
  const isAlone = slot.leases.every((each) => each === lease || !mayRun(each));
  const offered: Lease = {
    ...lease,
    state: isAlone ? LeaseState.HELD : LeaseState.OFFERED,
    wasHeld: isAlone,
    nodeId,
    address,
    since: new Date(now),
    initialRecord: recordFor(slot, lease, (id) => view.get("versions", id)),
    // L6: run (0, 1) is for the life that receives the offer.
    offeredLife: view.get("nodes", nodeId)?.description?.life ?? 0,
    // L17: they stay its own, whatever becomes of its service.
    hostPorts: hostPortsNow(view.get("services", slot.serviceId)),
  };
  return { ...slot, leases: slot.leases.map((each) => (each === lease ? offered : each)) };
}

function explain(tx: Transaction, task: Task, waiting: Waiting, now: number): void {
  const message = `waits for a node: ${waiting.text}`;
  const pending = explanation(waiting);
  if (task.status?.message === message && samePending(task.status.pending, pending)) return;
  const at = task.status?.at ?? new Date(now);
  tx.update("tasks", {
    ...task,
    status: { state: TaskState.PENDING, at, message, code: "", container: undefined, pending },
  });
}

function explanation({ nodes, refusals, help = "" }: Waiting): PendingExplanation {
  return {
    nodes,
    refusals: refusals.map(({ filter, nodes: count, nearestNodeId, text, help: own = "" }) => ({
      filter,
      nodes: count,
      nearestNodeId,
      text,
      help: own,
    })),
    help,
  };
}

function samePending(a: PendingExplanation | undefined, b: PendingExplanation): boolean {
  const text = ({ nodes, refusals, help }: PendingExplanation): string =>
    JSON.stringify([
      nodes,
      help,
      refusals.map((each) => [each.filter, each.nodes, each.nearestNodeId, each.text, each.help]),
    ]);
  return a !== undefined && text(a) === text(b);
}
