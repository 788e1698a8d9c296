/** Members in memory for a test, closed when it ends. */
import { systemRandom } from "@warren/std";
import { until } from "@warren/std/testing";
import { afterEach } from "vitest";

import type { Message } from "../../src/core/index.ts";
import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  startRaftNode,
  type Disk,
  type Member,
  type RaftNode,
  type RaftNodeDependencies,
  type RaftNodeOptions,
  type RaftStorage,
  type Transport,
  type TransportHandler,
} from "../../src/index.ts";
import { KeyValueMachine } from "./key-value-machine.ts";

export const members: Member[] = [1, 2, 3].map((id) => ({ id, address: `member-${id}` }));
const quick: RaftNodeOptions = { tickMs: 5, electionTicks: 10, proposalTimeoutMs: 2_000, readTimeoutMs: 2_000 };

export interface Running {
  readonly node: RaftNode;
  readonly fsm: KeyValueMachine;
  readonly disk: Disk;
}

const running: RaftNode[] = [];

/** Before what they run on is removed; else after the test. */
export async function closeMembers(): Promise<void> {
  await Promise.all(running.splice(0).map((node) => node.close()));
}

afterEach(closeMembers);

/** A member on what it is given, which is closed after the test. */
export async function startNode(dependencies: RaftNodeDependencies, options: RaftNodeOptions): Promise<RaftNode> {
  const node = await startRaftNode(dependencies, options);
  running.push(node);
  return node;
}

export function openStorage(disk: Disk, nodeId: number, clusterId = "test"): Promise<RaftStorage> {
  return openLogStorage(disk, { clusterId, nodeId, newIncarnation: () => String(systemRandom.next()) });
}

export async function startMember(
  network: MemoryNetwork,
  id: number,
  options: RaftNodeOptions,
  {
    disk = memoryDisk(),
    clusterId = "test",
    ...others
  }: { disk?: Disk; clusterId?: string } & Partial<RaftNodeDependencies> = {},
): Promise<Running> {
  const storage = await openStorage(disk, id, clusterId);
  const fsm = new KeyValueMachine();
  const node = await startNode({ storage, transport: network.transport(), fsm, ...others }, { ...quick, ...options });
  return { node, fsm, disk };
}

/** For a member whose peers the test plays. */
export function playedPeers(): {
  readonly transport: Transport;
  readonly receive: (...messages: readonly Message[]) => void;
} {
  let handler: TransportHandler | undefined;
  return {
    transport: {
      start: async (its) => void (handler = its),
      setPeers: () => undefined,
      send: () => undefined,
      sendSnapshot: () => Promise.resolve(),
      close: () => Promise.resolve(),
    },
    receive: (...messages) => handler?.receive(messages),
  };
}

export function leaderOf(nodes: readonly Running[]): Promise<Running> {
  return until("someone leads", () => nodes.find(({ node }) => node.leadership().ready));
}

export async function startGroup(
  options: RaftNodeOptions = {},
  founders: readonly Member[] = members,
): Promise<{ network: MemoryNetwork; nodes: Running[]; leader: Running }> {
  const network = new MemoryNetwork();
  const nodes = await Promise.all(
    founders.map(({ id }) => startMember(network, id, { bootstrap: founders, ...options })),
  );
  return { network, nodes, leader: await leaderOf(nodes) };
}
