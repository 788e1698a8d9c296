/** A member's beginning: what a new cluster's first members have before anything was written. */
import { None } from "../core/index.ts";
import { genesis } from "./applier.ts";
import { RaftError } from "../errors.ts";
import type { NodeId } from "../core/index.ts";
import type { Transport } from "../transport/transport.ts";
import { resolveOptions, type RaftNodeOptions, type ResolvedOptions } from "./options.ts";
import { RaftNode, type RaftNodeDependencies } from "./raft-node.ts";

/** Starts a member on its storage, which it owns from now on, as it does the transport. Ends when `signal` is aborted. */
export async function startRaftNode(
  dependencies: RaftNodeDependencies,
  options: RaftNodeOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<RaftNode> {
  signal?.throwIfAborted();
  const resolved = resolveOptions(options);
  const { storage, transport } = dependencies;
  checkFounders(resolved, storage.identity.nodeId, transport);
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

/** Founders stay in the log for good: each can be found, and this member is one of them. */
function checkFounders({ bootstrap, join }: ResolvedOptions, self: NodeId, transport: Transport): void {
  const wrong = (option: string, why: string): RaftError =>
    new RaftError({ code: "RAFT_OPTIONS_INVALID", option }, `raft option ${option} ${why}`);
  if (bootstrap?.every(({ id }) => id !== self) === true) {
    throw wrong("bootstrap", `does not name this member, ${self}; to join an existing cluster, give join instead`);
  }
  for (const [option, members] of [
    ["bootstrap", bootstrap ?? []],
    ["join", join],
  ] as const) {
    for (const { id, address } of members) {
      // A founder alone sends nothing.
      const problem = id === self && members.length === 1 ? undefined : transport.addressProblem?.(address);
      if (problem !== undefined)
        throw wrong(option, `has an address for member ${id} that can't be dialled: ${problem}`);
    }
  }
}
