/** One member for `raft.ts`, which also makes its load: clients that each wait for their write before the next. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import {
  grpcTransport,
  openFileDisk,
  openLogStorage,
  startRaftNode,
  type Member,
  type StateMachine,
} from "../../packages/raft/src/index.ts";
import { newId, systemClock, systemRandom } from "../../packages/std/src/index.ts";

interface Settings {
  readonly id: number;
  readonly directory: string;
  readonly members: readonly Member[];
}

const { id, directory, members } = JSON.parse(process.argv[2] as string) as Settings;
const state = new Map<string, Uint8Array>();
const fsm: StateMachine = {
  apply: (batch) =>
    batch.map(({ data }) => {
      state.set(Buffer.from(data.subarray(0, 8)).toString("latin1"), data.subarray(8));
      return undefined;
    }),
  snapshot: () => {
    const pairs = [...state];
    return (async function* chunks() {
      for (const [key, value] of pairs) yield Buffer.concat([Buffer.from(key, "latin1"), value]);
    })();
  },
  restore: async () => {
    throw new Error("the bench restores nothing");
  },
};
const disk = await openFileDisk(`${directory}/${id}`);
const storage = await openLogStorage(disk, {
  clusterId: "bench",
  nodeId: id,
  newIncarnation: () => newId(systemRandom),
});
const pem = (name: string): Buffer => readFileSync(`${directory}/${name}`);
const tls = { ca: pem("ca.pem"), cert: pem("member.pem"), key: pem("member.key") };
const transport = grpcTransport({ listen: members[id - 1]?.address ?? "", serverName: "raft", tls });
const node = await startRaftNode(
  { clock: systemClock, random: systemRandom, storage, transport, fsm },
  { bootstrap: members },
);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
node.onLeadership(({ isLeader }) => say({ isLeader }));

async function load(clients: number, durationMs: number): Promise<object> {
  const until = performance.now() + durationMs;
  const took: number[] = [];
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < until) {
        const command = systemRandom.bytes(264);
        const begin = performance.now();
        await node.propose(command);
        took.push(performance.now() - begin);
      }
    }),
  );
  took.sort((a, b) => a - b);
  const at = (share: number): number => took[Math.floor(took.length * share)] ?? 0;
  return { writes: took.length, p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { clients, durationMs } = JSON.parse(line) as { clients: number; durationMs: number };
  say(await load(clients, durationMs));
}
await node.close();
process.exit(0);
