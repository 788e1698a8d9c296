import { ApiError } from "@warren/api";
import { speaksFor, type Identity } from "@warren/api/server";

/** A worker speaks for its own node, and the local socket for the machine's own. @throws ApiError `API_DENIED` */
export function mustSpeakFor(identity: Identity, nodeId: string): void {
  if (speaksFor(identity, nodeId)) return;
  const own = identity.nodeId === undefined ? "no node" : `node ${identity.nodeId} only`;
  const text = `${identity.name} speaks for ${own}, not for node ${nodeId}`;
  throw new ApiError({ code: "API_DENIED" }, text, { remedy: "see which data folder this worker was started with" });
}
