/** A member's beginning: what a new cluster's first members have before anything was written. */
import { None } from "../core/index.ts";
import { genesis } from "./applier.ts";
import { optionInvalid } from "../option-checks.ts";
import type { NodeId } from "../core/index.ts";
import type { RaftStorage } from "../storage/index.ts";
import type { Transport } from "../transport/transport.ts";
import { resolveOptions, type RaftNodeOptions, type ResolvedOptions } from "./options.ts";
import { RaftNode, type RaftNodeDependencies } from "./raft-node.ts";

/**
 * Starts a member on its storage, which it owns from now on, as it does the transport: if it does not start, both are
 * closed. Ends when `signal` is aborted, during the start too.
 */
export async function startRaftNode(
  dependencies: RaftNodeDependencies,
  options: RaftNodeOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<RaftNode> {
  const { storage, transport } = dependencies;
  let node: RaftNode | undefined;
  try {
    signal?.throwIfAborted();
    const resolved = resolveOptions(options);
    checkSizes(resolved, transport);
    checkFounders(resolved, storage.identity.nodeId, transport);
    await found(storage, resolved);
    signal?.throwIfAborted();
    node = new RaftNode(dependencies, resolved);
    await node.start();
    signal?.throwIfAborted();
  } catch (error) {
    if (node !== undefined) await node.close();
    else await Promise.allSettled([transport.close(), storage.close()]);
    throw error;
  }
  const started = node;
  const end = (): void => void started.close();
  signal?.addEventListener("abort", end, { once: true });
  void started.done.then(() => signal?.removeEventListener("abort", end));
  return started;
}

/** Gives an empty storage the first members of a new cluster. */
async function found(storage: RaftStorage, { bootstrap }: ResolvedOptions): Promise<void> {
  if (storage.lastIndex() > 0 || bootstrap === undefined) return;
  const voters = bootstrap.map(({ id }) => id).sort((a, b) => a - b);
  const confState = { voters, learners: [], votersOutgoing: [], learnersNext: [], autoLeave: false };
  const metadata = { index: 1, term: 1, confState };
  await storage.saveSnapshot(metadata, genesis(bootstrap));
  await storage.installSnapshot(metadata, { term: 1, vote: None, commit: 1 });
}

/** What is around the data of entries in a message. */
const messageOverheadBytes = 4 * 1024;

/** What is taken here must be carried to the others. */
function checkSizes(options: ResolvedOptions, { maxMessageBytes = Number.POSITIVE_INFINITY }: Transport): void {
  for (const option of ["maxProposalBytes", "maxAppendBytes"] as const) {
    if (options[option] + messageOverheadBytes <= maxMessageBytes) continue;
    const most = maxMessageBytes - messageOverheadBytes;
    throw optionInvalid(option, `is ${options[option]}, and the transport carries ${most} at most`);
  }
}

/** Founders stay in the log for good: each can be found, and this member is one of them. */
function checkFounders({ bootstrap, join }: ResolvedOptions, self: NodeId, transport: Transport): void {
  if (bootstrap?.every(({ id }) => id !== self) === true) {
    throw optionInvalid(
      "bootstrap",
      `does not name this member, ${self}; to join an existing cluster, give join instead`,
    );
  }
  for (const [option, members] of [
    ["bootstrap", bootstrap ?? []],
    ["join", join],
  ] as const) {
    for (const { id, address } of members) {
      // A founder alone sends nothing.
      const problem = id === self && members.length === 1 ? undefined : transport.addressProblem?.(address);
      if (problem !== undefined)
        throw optionInvalid(option, `has an address for member ${id} that can't be dialled: ${problem}`);
    }
  }
}
