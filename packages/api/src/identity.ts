import { ApiError } from "./errors.ts";

/** `client`: an operator. `worker`: a node, for itself. `manager`: another manager. */
export type Role = "manager" | "worker" | "client";

/** A caller: a node's daemon, a user, or this machine's operator. */
export interface Identity {
  /** A node's id, a user's name, or `local`. */
  readonly name: string;
  readonly roles: readonly Role[];
  /** The node whose worker this is; absent for users, and for the local socket of a machine that is not a node yet. */
  readonly nodeId?: string;
}

/** Why a peer has no identity. */
export interface Refusal {
  /** A word for programs: `CERT_HAS_EXPIRED`, `NODE_REMOVED`. */
  readonly refused: string;
  /** One line for people: `certificate of w2: CERT_HAS_EXPIRED: it was valid until …`. */
  readonly message: string;
}

/** Whether a caller may act as a node's worker: only that node's own. */
export function speaksFor(identity: Identity, nodeId: string): boolean {
  return nodeId !== "" && identity.nodeId === nodeId && identity.roles.includes("worker");
}

/** A worker speaks for its own node, and the local socket for the machine's own. @throws ApiError `API_DENIED` */
export function mustSpeakFor(identity: Identity, nodeId: string): void {
  if (speaksFor(identity, nodeId)) return;
  const own = identity.nodeId === undefined ? "no node" : `node ${identity.nodeId} only`;
  const text = `${identity.name} speaks for ${own}, not for node ${nodeId}`;
  throw new ApiError({ code: "API_DENIED" }, text, { remedy: "see which data folder this worker was started with" });
}
