/** One member as a process of its own. Reads lines of JSON on stdin, answers on stdout; see `processes.ts`. */
import { createInterface } from "node:readline";

import { newId, systemClock, systemRandom } from "@warren/std";

import {
  grpcTransport,
  openFileDisk,
  openLogStorage,
  startRaftNode,
  type Member,
  type RaftNodeOptions,
  type StateMachine,
} from "../../src/index.ts";
import { encodeAction, readCertificate, type Action } from "../../src/testing/index.ts";
import { RegisterMachine } from "../../src/testing/simulation/machine.ts";

export interface Settings {
  readonly id: number;
  readonly directory: string;
  readonly listen: string;
  /** Where certificates lie, and the name on this member's. */
  readonly certificates: string;
  readonly name: string;
  readonly members: readonly Member[];
  readonly bootstrap: boolean;
  readonly options: RaftNodeOptions;
  /** Bytes that a snapshot has beside the registers. */
  readonly ballastBytes: number;
}

export interface MemberStatus {
  readonly term: number;
  readonly applied: number;
  /** Index of the newest snapshot. */
  readonly snapshot: number;
  readonly rss: number;
  readonly wallMs: number;
}

export type Request =
  | { readonly do: "act"; readonly operation: number; readonly action: Action }
  | { readonly do: "read"; readonly key: string }
  | { readonly do: "dump" | "status" | "transfer" }
  | { readonly do: "addLearner"; readonly member: Member }
  | { readonly do: "promote" | "demote" | "remove"; readonly id: number };

const { id, members, options, ...settings } = JSON.parse(process.argv[2] as string) as Settings;
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

const disk = await openFileDisk(settings.directory);
const newIncarnation = (): string => newId(systemRandom);
const storage = await openLogStorage(disk, { clusterId: "cluster", nodeId: id, newIncarnation });
const registers = new RegisterMachine({ applied: () => {}, restored: () => {} }, () => undefined);
const ballast = Buffer.alloc(64 * 1024, 1);
const fsm: StateMachine = {
  apply: (batch) => registers.apply(batch),
  snapshot() {
    const image = registers.snapshot();
    return (async function* chunks() {
      for (let sent = 0; sent < settings.ballastBytes; sent += ballast.length) yield ballast;
      yield* image;
    })();
  },
  async restore(chunks) {
    let skip = settings.ballastBytes;
    const rest = async function* rest(): AsyncGenerator<Uint8Array, void, void> {
      for await (const chunk of chunks) {
        const kept = chunk.subarray(Math.min(skip, chunk.length));
        skip -= chunk.length - kept.length;
        if (kept.length > 0) yield kept;
      }
    };
    await registers.restore(rest());
  },
};
const tls = await readCertificate(settings.certificates, settings.name);
const transport = grpcTransport({ listen: settings.listen, tls });
const node = await startRaftNode(
  { clock: systemClock, random: systemRandom, storage, transport, fsm },
  // Clients ask any member.
  { forwardProposals: true, ...options, ...(settings.bootstrap ? { bootstrap: members } : { join: members }) },
);
node.onLeadership((leadership) => say({ leadership }));
say({ ready: true, leadership: node.leadership() });

async function answer(request: Request): Promise<unknown> {
  switch (request.do) {
    case "act": {
      const { index, result } = await node.propose(encodeAction(request.operation, request.action));
      return { index, output: Buffer.from(result ?? []).toString(), ns: String(process.hrtime.bigint()) };
    }
    case "read":
      await node.read();
      return { output: registers.state.get(request.key) ?? "" };
    case "dump":
      await node.read();
      return [...registers.state];
    case "status":
      return {
        term: node.leadership().term,
        applied: node.status().applied,
        snapshot: storage.snapshots()[0]?.index ?? 0,
        rss: process.memoryUsage.rss(),
        wallMs: Date.now(),
      };
    case "transfer":
      return node.transferLeadership();
    case "addLearner":
      return node.addLearner(request.member);
    case "promote":
    case "demote":
    case "remove":
      return node[request.do](request.id);
  }
}

async function endWithNode(): Promise<void> {
  const error = await node.done;
  say({ ended: error?.code ?? "closed" });
  process.exit(error === undefined ? 0 : 1);
}
void endWithNode();
for await (const line of createInterface({ input: process.stdin })) {
  const { n, ...request } = JSON.parse(line) as Request & { readonly n: number };
  answer(request).then(
    (result) => say({ n, result: result ?? null }),
    (error: unknown) => say({ n, error: (error as { code?: string }).code ?? String(error) }),
  );
}
await node.close();
