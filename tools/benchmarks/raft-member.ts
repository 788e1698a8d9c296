/**
 * One member for the benchmarks of Raft. Clients come by TCP on loopback: a write is 4 bytes of a number, 8 of a key and
 * 256 of a value, its answer the number; so both this member and etcd pay for a socket between client and server.
 * Lines of JSON on stdin ask for figures.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";

import {
  grpcTransport,
  openFileDisk,
  openLogStorage,
  startRaftNode,
  type Member,
  type StateMachine,
} from "@warren/raft";
import { readCertificate } from "@warren/raft/testing";
import { newId, systemClock, systemRandom, type Metrics } from "@warren/std";

import { keyBytes, valueBytes } from "./load.ts";

export interface MemberSettings {
  readonly id: number;
  readonly directory: string;
  readonly certificates: string;
  readonly members: readonly Member[];
  /** Where clients come. */
  readonly port: number;
  /** Bytes that the state has beside what is written: what a snapshot of it streams. */
  readonly ballastBytes: number;
  readonly joins: boolean;
  readonly snapshotEntries: number;
  /** As an option of `openFileDisk`. */
  readonly journal: boolean;
}

const settings = JSON.parse(process.argv[2] ?? "") as MemberSettings;
const { id, directory, certificates, members } = settings;
const state = new Map<string, string>();
const pairsInChunk = 256;
const ballast = Buffer.alloc(64 * 1024, 1);
const fsm: StateMachine = {
  apply: (batch) =>
    batch.map(({ data }) => {
      const command = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
      state.set(command.toString("latin1", 0, keyBytes), command.toString("latin1", keyBytes));
      return undefined;
    }),
  snapshot: () => {
    const pairs = [...state];
    return (async function* chunks() {
      for (let sent = 0; sent < settings.ballastBytes; sent += ballast.length) yield ballast;
      // In chunks worth a turn each.
      for (let at = 0; at < pairs.length; at += pairsInChunk) {
        yield Buffer.from(
          pairs
            .slice(at, at + pairsInChunk)
            .flat()
            .join(""),
          "latin1",
        );
      }
    })();
  },
  async restore(chunks) {
    // Only its size is of interest.
    state.clear();
    for await (const chunk of chunks) void chunk;
  },
};

const counts = new Map<string, number>();
const metrics: Metrics = {
  counter: ({ name }) => ({ add: (amount = 1) => void counts.set(name, (counts.get(name) ?? 0) + amount) }),
  gauge: () => ({ set: () => undefined }),
  histogram: () => ({ observe: () => undefined }),
};
const disk = await openFileDisk(`${directory}/member-${id}`, { journal: settings.journal });
const newIncarnation = (): string => newId(systemRandom);
const storage = await openLogStorage(disk, { clusterId: "bench", nodeId: id, newIncarnation });
const tls = await readCertificate(certificates, `member-${id}`);
const listen = members[id - 1]?.address ?? "";
const node = await startRaftNode(
  { clock: systemClock, random: systemRandom, storage, transport: grpcTransport({ listen, tls }), fsm, metrics },
  { snapshotEntries: settings.snapshotEntries, ...(settings.joins ? { join: members } : { bootstrap: members }) },
);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
node.onLeadership((leadership) => say({ leadership }));

const writeBytes = 4 + keyBytes + valueBytes;

function serve(socket: Socket): void {
  let rest: Buffer = Buffer.alloc(0);
  let answers: Buffer[] = [];
  const flush = (): void => {
    socket.write(Buffer.concat(answers));
    answers = [];
  };
  const acknowledge = (number: Buffer): void => {
    // Those of a turn go together.
    if (answers.push(number) === 1) process.nextTick(flush);
  };
  socket.setNoDelay();
  socket.on("error", () => socket.destroy());
  socket.on("data", (chunk: Buffer) => {
    const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let at = 0;
    for (; bytes.length - at >= writeBytes; at += writeBytes) {
      const number = bytes.subarray(at, at + 4);
      // A refusal ends the run: its client sees the connection close.
      node.propose(bytes.subarray(at + 4, at + writeBytes)).then(
        () => acknowledge(number),
        () => socket.destroy(),
      );
    }
    rest = bytes.subarray(at);
  });
}
await new Promise<void>((resolve) => createServer(serve).listen(settings.port, "127.0.0.1", resolve));
say({ ready: true });

for await (const line of createInterface({ input: process.stdin })) {
  const { add, promote } = JSON.parse(line) as { add?: Member; promote?: number };
  if (add !== undefined) await node.addLearner(add);
  if (promote !== undefined) await node.promote(promote);
  const { applied, commit } = node.status();
  say({
    figures: {
      syncs: counts.get("warren_raft_log_writes_total") ?? 0,
      entries: counts.get("warren_raft_log_entries_total") ?? 0,
      snapshots: counts.get("warren_raft_snapshots_total") ?? 0,
      applied,
      commit,
      rss: process.memoryUsage.rss(),
    },
  });
}
await node.close();
process.exit(0);
