import { ApiError } from "@warren/api";
import { localIdentity, type Identity } from "@warren/api/server";

/** Whether a caller may speak for a node: it is that node, or the machine's own on the local socket. */
export function speaksFor(identity: Identity, nodeId: string): boolean {
  return identity.name === nodeId || identity.name === localIdentity.name;
}

/** @throws ApiError `API_DENIED` */
export function mustSpeakFor(identity: Identity, nodeId: string): void {
  if (!speaksFor(identity, nodeId))
    throw new ApiError({ code: "API_DENIED" }, `${identity.name} can't speak for node ${nodeId}`);
}
