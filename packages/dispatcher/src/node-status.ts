/** What is stored of a node as it comes, is silent and goes; each is a step of a transaction. */
import { Node, NodeDescription, NodeSpec, NodeStatus_State, ObjectKind, type SessionRequest } from "@warren/api";
import { level, minLevel } from "@warren/api/model";
import type { Transaction, View } from "@warren/store";

import { levelRefused, nodeRemoved, wrong } from "./errors.ts";

const idForm = /^[0-9a-z]{25}$/;
const maxText = 255;

/** Conditions of a node that are stored, and characters of each text of one. */
const mostConditions = 64;
const maxConditionText = 1_000;
const mostServices = 64;

/** @throws ApiError `API_INVALID` */
export function checkSessionRequest({ nodeId, description }: SessionRequest): {
  readonly nodeId: string;
  readonly description: NodeDescription;
} {
  if (!idForm.test(nodeId)) throw wrong("node_id", "is not 25 characters of [0-9a-z]");
  if (description === undefined) throw wrong("description", "is missing");
  checkDescription(description);
  return { nodeId, description };
}

/** @throws ApiError `API_INVALID` */
export function checkDescription(description: NodeDescription): void {
  if (description.hostname === "") throw wrong("description.hostname", "is empty");
  for (const [field, value] of Object.entries(description)) {
    if (typeof value === "string" && value.length > maxText)
      throw wrong(`description.${field}`, `has ${value.length} characters; at most ${maxText} are stored`);
  }
  const { conditions } = description;
  if (conditions.length > mostConditions)
    throw wrong("description.conditions", `has ${conditions.length}; at most ${mostConditions} are stored`);
  for (const [i, { code, subject, message, remedy, command, serviceIds }] of conditions.entries()) {
    const longest = Math.max(...[code, subject, message, remedy, command, ...serviceIds].map(({ length }) => length));
    if (longest > maxConditionText || serviceIds.length > mostServices)
      throw wrong(
        `description.conditions[${i}]`,
        `has a text of ${longest} characters and ${serviceIds.length} services; at most ${maxConditionText} and ${mostServices} are stored`,
      );
  }
}

/**
 * The level that the node is spoken to in: the cluster's active one, or its own if that is lower (L20).
 *
 * @throws ApiError `API_PRECONDITION`, naming the node
 */
export function spokenLevel(nodeId: string, description: NodeDescription, activeLevel: number): number {
  const { hostname } = description;
  const active = Math.max(activeLevel, minLevel);
  if (description.level < minLevel)
    throw levelRefused(
      `node ${hostname} (${nodeId}) takes level ${description.level} at most, and this manager speaks ${minLevel} to ${level}`,
      "upgrade the node's Warren",
    );
  if (description.minLevel > active)
    throw levelRefused(
      `node ${hostname} (${nodeId}) takes level ${description.minLevel} and up, and the cluster is at ${active}`,
      "upgrade the managers first",
    );
  return Math.min(active, description.level);
}

/**
 * The node is here and describes itself. Writes nothing if that is what is stored.
 *
 * @param historyFault why it is sent no assignments; it is then here, and gets no tasks. Empty: it is ready
 * @throws ApiError `API_ABORTED` if it was removed (L15)
 */
export function register(
  tx: Transaction,
  nodeId: string,
  description: NodeDescription,
  historyFault: string,
  now: Date,
): void {
  const status = { state: stateHere(historyFault), message: historyFault, at: now };
  const node = tx.get("nodes", nodeId);
  if (removalOf(tx, nodeId) !== "") throw nodeRemoved(nodeId);
  if (node === undefined) {
    const meta = { id: nodeId, version: 0, createdAt: undefined, updatedAt: undefined };
    tx.create("nodes", Node.create({ meta, spec: NodeSpec.create(), description, status }));
    emit(tx, nodeId, description.hostname, "created", "joined the cluster");
  } else {
    const same = isHere(node, historyFault);
    if (same && sameDescription(node.description, description)) return;
    tx.update("nodes", { ...node, description, status: same ? node.status : status });
    if (node.status?.state === NodeStatus_State.DOWN && historyFault === "")
      emit(tx, nodeId, description.hostname, "ready", "is back");
    if (same) return;
  }
  if (historyFault !== "")
    emit(tx, nodeId, description.hostname, "history-lost", `gets no assignments: ${historyFault}`);
}

/** L15: why a node is none of the cluster any more; empty if it was never removed. */
export function removalOf(view: View, nodeId: string): string {
  const removed = view.get("removedNodes", nodeId);
  if (removed === undefined) return "";
  const at = removed.meta?.createdAt?.toISOString() ?? "";
  return (
    `node ${removed.hostname} (${nodeId}) was removed from the cluster at ${at}, and what it ran is no longer its own; ` +
    `to use the machine again, remove its worker's data folder: it joins as a new node`
  );
}

/** Whether the node is stored as one that has a session. */
export function isHere({ status }: Node, historyFault: string): boolean {
  return status?.state === stateHere(historyFault) && (historyFault === "" || status.message === historyFault);
}

/** A node of another history is unknown: it gets no tasks, and those that it runs are not moved away. */
function stateHere(historyFault: string): NodeStatus_State {
  return historyFault === "" ? NodeStatus_State.READY : NodeStatus_State.UNKNOWN;
}

/** A manager begins a term and has yet to hear from these nodes; of those that were there, the ids. */
export function setUnknown(tx: Transaction, nodeIds: readonly string[], now: Date): readonly string[] {
  const expected: string[] = [];
  for (const nodeId of nodeIds) {
    const node = tx.get("nodes", nodeId);
    const state = node?.status?.state ?? NodeStatus_State.UNSPECIFIED;
    if (node === undefined || state === NodeStatus_State.DOWN) continue;
    expected.push(nodeId);
    if (state === NodeStatus_State.UNKNOWN) continue;
    const message = "not heard of since a manager took the lead";
    tx.update("nodes", { ...node, status: { state: NodeStatus_State.UNKNOWN, message, at: now } });
  }
  return expected;
}

/** The node has been silent for too long; false if it was down or gone already. */
export function fallSilent(tx: Transaction, nodeId: string, silentMs: number, now: Date): boolean {
  const node = tx.get("nodes", nodeId);
  if (node === undefined || node.status?.state === NodeStatus_State.DOWN) return false;
  const message = `no heartbeat for ${Math.round(silentMs / 100) / 10} s`;
  tx.update("nodes", { ...node, status: { state: NodeStatus_State.DOWN, message, at: now } });
  emit(tx, nodeId, node.description?.hostname ?? nodeId, "down", message);
  return true;
}

function sameDescription(a: NodeDescription | undefined, b: NodeDescription): boolean {
  return (
    a !== undefined && Buffer.compare(NodeDescription.encode(a).finish(), NodeDescription.encode(b).finish()) === 0
  );
}

function emit(tx: Transaction, objectId: string, objectName: string, action: string, message: string): void {
  tx.emit({ kind: ObjectKind.NODE, objectId, objectName, action, message });
}
