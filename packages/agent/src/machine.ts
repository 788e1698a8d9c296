/** The node id of the worker on this machine, for the manager beside it; as `@warren/agent/machine`. */
import { readFileSync, statSync } from "node:fs";
import { nodeIdIn, identityPathOf } from "./identity.ts";

/**
 * Returns a function that reads the id as the worker last wrote it; undefined before its first start. It is called for
 * each call on the local socket, so it reads the file again only when it has changed.
 *
 * @param recordDirectory the worker's `openLevelState` directory
 */
export function machineNode(recordDirectory: string): () => string | undefined {
  const path = identityPathOf(recordDirectory);
  let known: { readonly file: string; readonly nodeId: string | undefined } | undefined;
  return () => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return undefined;
    const file = `${stat.ino}/${stat.mtimeMs}/${stat.size}`;
    if (known?.file !== file) known = { file, nodeId: nodeIdIn(readFileSync(path)) };
    return known.nodeId;
  };
}
