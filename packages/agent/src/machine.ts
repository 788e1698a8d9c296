/** Which node this machine's worker is, for the manager beside it; as `@warren/agent/machine`. */
import { readFileSync, statSync } from "node:fs";
import { nodeIdIn, identityPathOf } from "./identity.ts";

/**
 * Reads the id as the worker last wrote it; undefined before its first start. Asked at each call of the local socket, so
 * the file is read again only when it is another.
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
