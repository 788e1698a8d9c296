/** A group on a clock of its own, tick by tick and as fast as the machine goes; what it holds is measured as it goes. */
import { FakeClock, seededRandom } from "@warren/std/testing";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  startRaftNode,
  type RaftNode,
  type StateMachine,
} from "../../src/index.ts";

export interface YearOptions {
  readonly members: number;
  readonly ticks: number;
  /** Ticks between two proposals; 0: nobody asks anything. */
  readonly proposeEvery: number;
}

/** Heap in use after a collection, bytes, by the ticks that had gone by; the first one after the group had settled. */
export type HeapSample = readonly [ticks: number, bytes: number];

const tickMs = 50;
const samples = 8;

class Last implements StateMachine {
  private last: Uint8Array = Buffer.alloc(0);

  apply(batch: Parameters<StateMachine["apply"]>[0]): undefined[] {
    this.last = batch.at(-1)?.data ?? this.last;
    return batch.map(() => undefined);
  }

  snapshot(): AsyncIterable<Uint8Array> {
    const { last } = this;
    return (async function* one() {
      yield last;
    })();
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of chunks) this.last = Uint8Array.from(chunk);
  }
}

/** Lets so many ticks go by in a group. */
export async function runTicks({ members, ticks, proposeEvery }: YearOptions): Promise<readonly HeapSample[]> {
  const collect = collector();
  const clock = new FakeClock();
  const random = seededRandom(members);
  const network = new MemoryNetwork();
  const bootstrap = Array.from({ length: members }, (_, at) => ({ id: at + 1, address: `m${at + 1}` }));
  const nodes: RaftNode[] = [];
  for (const { id } of bootstrap) {
    const storage = await openLogStorage(memoryDisk(), {
      clusterId: "year",
      nodeId: id,
      newIncarnation: () => `i${id}`,
    });
    const dependencies = { clock, random, storage, transport: network.transport(), fsm: new Last() };
    const options = { bootstrap, tickMs, snapshotEntries: 500, trailingEntries: 100, reads: "lease" } as const;
    nodes.push(await startRaftNode({ ...dependencies, defer: queueMicrotask }, options));
  }
  const found: HeapSample[] = [];
  const every = Math.max(1, Math.floor(ticks / samples));
  for (let tick = 1; tick <= ticks; tick++) {
    clock.advance(tickMs);
    // Everything that a tick sets off is done before the next.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    if (proposeEvery > 0 && tick % proposeEvery === 0) {
      const leader = nodes.find((node) => node.leadership().ready);
      leader?.propose(Buffer.from(`tick ${tick}`)).catch(() => undefined);
      leader?.read().catch(() => undefined);
    }
    if (tick % every !== 0) continue;
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    found.push([tick, process.memoryUsage().heapUsed]);
  }
  if (!nodes.some((node) => node.leadership().ready)) throw new Error("nobody leads any more");
  await Promise.all(nodes.map((node) => node.close()));
  if (clock.pending > 0) throw new Error(`${clock.pending} timers outlive the group`);
  return found;
}

/** How much the heap grew from the second half's beginning to the end, bytes. */
export function growth(found: readonly HeapSample[]): number {
  const [from, to] = [found[Math.floor(found.length / 2) - 1], found.at(-1)];
  return (to?.[1] ?? 0) - (from?.[1] ?? 0);
}

function collector(): () => void {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
}
