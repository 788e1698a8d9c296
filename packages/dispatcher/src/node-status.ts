/** The stored status of a node, which changes as it registers, misses heartbeats or is removed. */
import { Node, NodeDescription, NodeSpec, NodeStatus_State, ObjectKind, type SessionRequest } from "@warren/api";
import { level, minLevel } from "@warren/api/model";
import type { Transaction, View } from "@warren/store";

import { levelRefused, nodeRemoved, wrong } from "./errors.ts";

const idForm = /^[0-9a-z]{25}$/;
const maxText = 255;

/** Limits of a node's conditions: how many, characters of each text, services of each. */
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
 * The level of messages to the node: the cluster's active level, or the node's highest if that is lower (L20).
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
 * Stores the node as registered, with its description. Writes nothing if that is stored already.
 *
 * @param historyFault why the node gets no assignments; it is then stored as unknown. Empty: it is stored as ready
 * @throws ApiError `API_ABORTED` if it was removed (L15)
 */
export function register(
  tx: Transaction,
  nodeId: string,
  description: NodeDescription,
  historyFault: string,
  now: Date,
): void {
  const status = { state: registeredState(historyFault), message: historyFault, at: now };
  const node = tx.get("nodes", nodeId);
  if (removalOf(tx, nodeId) !== "") throw nodeRemoved(nodeId);
  if (node === undefined) {
    const meta = { id: nodeId, version: 0, createdAt: undefined, updatedAt: undefined };
    tx.create("nodes", Node.create({ meta, spec: NodeSpec.create(), description, status }));
    emit(tx, nodeId, description.hostname, "created", "joined the cluster");
  } else {
    const same = isRegistered(node, historyFault);
    if (same && sameDescription(node.description, description)) return;
    tx.update("nodes", { ...node, description, status: same ? node.status : status });
    if (node.status?.state === NodeStatus_State.DOWN && historyFault === "")
      emit(tx, nodeId, description.hostname, "ready", "is back");
    if (same) return;
  }
  if (historyFault !== "")
    emit(tx, nodeId, description.hostname, "history-lost", `gets no assignments: ${historyFault}`);
}

/** L15: when the node was removed from the cluster, and what to do. Empty: it was not removed. */
export function removalOf(view: View, nodeId: string): string {
  const removed = view.get("removedNodes", nodeId);
  if (removed === undefined) return "";
  const at = removed.meta?.createdAt?.toISOString() ?? "";
  return (
    `node ${removed.hostname} (${nodeId}) was removed from the cluster at ${at}, and its leases were released; ` +
    `to use the machine again, remove its worker's data folder: it joins as a new node`
  );
}

/** Whether the node is stored as registered, with this fault. */
export function isRegistered({ status }: Node, historyFault: string): boolean {
  return status?.state === registeredState(historyFault) && (historyFault === "" || status.message === historyFault);
}

/** A node of another history is stored as unknown: it gets no new tasks, and its tasks are not moved away. */
function registeredState(historyFault: string): NodeStatus_State {
  return historyFault === "" ? NodeStatus_State.READY : NodeStatus_State.UNKNOWN;
}

/** At the start of a term: sets nodes that are not down to unknown, and returns their ids. */
export function setUnknown(tx: Transaction, nodeIds: readonly string[], now: Date): readonly string[] {
  const expected: string[] = [];
  for (const nodeId of nodeIds) {
    const node = tx.get("nodes", nodeId);
    const state = node?.status?.state ?? NodeStatus_State.UNSPECIFIED;
    if (node === undefined || state === NodeStatus_State.DOWN) continue;
    expected.push(nodeId);
    if (state === NodeStatus_State.UNKNOWN) continue;
    const message = "has not registered with the new leader yet";
    tx.update("nodes", { ...node, status: { state: NodeStatus_State.UNKNOWN, message, at: now } });
  }
  return expected;
}

/** Sets a node down that missed its heartbeats. False if it was down or removed already. */
export function setDown(tx: Transaction, nodeId: string, silentMs: number, now: Date): boolean {
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
