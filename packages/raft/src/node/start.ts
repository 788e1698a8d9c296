/** A member's beginning: what a new cluster's first members have before anything was written. */
import { None } from "../core/index.ts";
import { genesis } from "./applier.ts";
import { resolveOptions, type RaftNodeOptions } from "./options.ts";
import { RaftNode, type RaftNodeDependencies } from "./raft-node.ts";

/** Starts a member on its storage, which it owns from now on, as it does the transport. Ends when `signal` is aborted. */
export async function startRaftNode(
  dependencies: RaftNodeDependencies,
  options: RaftNodeOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<RaftNode> {
  signal?.throwIfAborted();
  const resolved = resolveOptions(options);
  const { storage } = dependencies;
  if (storage.lastIndex() === 0 && resolved.bootstrap !== undefined) {
    const voters = resolved.bootstrap.map(({ id }) => id).sort((a, b) => a - b);
    const confState = { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
    const metadata = { index: 1, term: 1, confState };
    await storage.saveSnapshot(metadata, genesis(resolved.bootstrap));
    await storage.installSnapshot(metadata, { term: 1, vote: None, commit: 1 });
  }
  const node = new RaftNode(dependencies, resolved);
  await node.start();
  signal?.addEventListener("abort", () => void node.close(), { once: true });
  return node;
}
