/** What is stored of a node as it comes, is silent and goes; each is a step of a transaction. */
import { Node, NodeSpec, NodeStatus_State, ObjectKind, type NodeDescription, type SessionRequest } from "@warren/api";
import type { Transaction } from "@warren/store";
import { isDeepStrictEqual } from "node:util";

import { wrong } from "./errors.ts";

const idForm = /^[0-9a-z]{25}$/;
const maxText = 255;

/** @throws ApiError `API_INVALID` */
export function checkSessionRequest({ nodeId, description }: SessionRequest): {
  readonly nodeId: string;
  readonly description: NodeDescription;
} {
  if (!idForm.test(nodeId)) throw wrong("node_id", "is not 25 characters of [0-9a-z]");
  if (description === undefined) throw wrong("description", "is missing");
  if (description.hostname === "") throw wrong("description.hostname", "is empty");
  for (const [field, value] of Object.entries(description)) {
    if (typeof value === "string" && value.length > maxText)
      throw wrong(`description.${field}`, `has ${value.length} characters; at most ${maxText} are stored`);
  }
  return { nodeId, description };
}

/** The node is here and describes itself. Writes nothing if that is what is stored. */
export function register(tx: Transaction, nodeId: string, description: NodeDescription, now: Date): void {
  const status = { state: NodeStatus_State.READY, message: "", at: now };
  const node = tx.get("nodes", nodeId);
  if (node === undefined) {
    const meta = { id: nodeId, version: 0, createdAt: undefined, updatedAt: undefined };
    tx.create("nodes", Node.create({ meta, spec: NodeSpec.create(), description, status }));
    tell(tx, nodeId, description.hostname, "created", "joined the cluster");
    return;
  }
  const ready = node.status?.state === NodeStatus_State.READY;
  if (ready && isDeepStrictEqual(node.description, description)) return;
  tx.update("nodes", { ...node, description, status: ready ? node.status : status });
  if (node.status?.state === NodeStatus_State.DOWN) tell(tx, nodeId, description.hostname, "ready", "is back");
}

/** A manager took the lead: it has yet to hear from every node that was there. */
export function doubt(tx: Transaction, now: Date): readonly string[] {
  const doubted: string[] = [];
  for (const node of tx.list("nodes")) {
    const state = node.status?.state ?? NodeStatus_State.UNSPECIFIED;
    if (state === NodeStatus_State.DOWN) continue;
    doubted.push(node.meta?.id ?? "");
    if (state === NodeStatus_State.UNKNOWN) continue;
    const message = "not heard of since a manager took the lead";
    tx.update("nodes", { ...node, status: { state: NodeStatus_State.UNKNOWN, message, at: now } });
  }
  return doubted;
}

/** The node has been silent for too long; false if it was down or gone already. */
export function fallSilent(tx: Transaction, nodeId: string, silentMs: number, now: Date): boolean {
  const node = tx.get("nodes", nodeId);
  if (node === undefined || node.status?.state === NodeStatus_State.DOWN) return false;
  const message = `no heartbeat for ${Math.round(silentMs / 100) / 10} s`;
  tx.update("nodes", { ...node, status: { state: NodeStatus_State.DOWN, message, at: now } });
  tell(tx, nodeId, node.description?.hostname ?? nodeId, "down", message);
  return true;
}

function tell(tx: Transaction, objectId: string, objectName: string, action: string, message: string): void {
  tx.emit({ kind: ObjectKind.NODE, objectId, objectName, action, message });
}
