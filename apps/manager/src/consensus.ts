/** The log that the store is written through: a Raft group of one, on this manager's disk. */
import { mkdir } from "node:fs/promises";
import {
  MemoryNetwork,
  openFileDisk,
  openLogStorage,
  startRaftNode,
  type RaftNode,
  type StateMachine,
} from "@warren/raft";
import { newId, type Clock, type Logger, type Metrics, type Random } from "@warren/std";

/** The only member's id in the group. */
const memberId = 1;

export interface ConsensusDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly fsm: StateMachine;
}

/**
 * Opens the log in `directory`, or makes it for a new cluster. Resolves once this manager leads and has applied all
 * that was acknowledged before.
 */
export async function openConsensus(
  { clock, random, log, metrics, fsm }: ConsensusDependencies,
  directory: string,
  clusterId: string,
): Promise<RaftNode> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const storage = await openLogStorage(await openFileDisk(directory), {
    clusterId,
    nodeId: memberId,
    newIncarnation: () => newId(random),
  });
  // A group of one sends nothing, so its transport reaches nobody.
  const transport = new MemoryNetwork().transport();
  const bootstrap = [{ id: memberId, address: "" }];
  const node = await startRaftNode({ clock, random, log, metrics, storage, transport, fsm }, { bootstrap });
  await node.read();
  return node;
}
