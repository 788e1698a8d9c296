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
const fsm = new RegisterMachine({ applied: () => {}, restored: () => {} }, () => undefined);
const tls = await readCertificate(settings.certificates, settings.name);
const transport = grpcTransport({ listen: settings.listen, tls });
const node = await startRaftNode(
  { clock: systemClock, random: systemRandom, storage, transport, fsm },
  { ...options, ...(settings.bootstrap ? { bootstrap: members } : { join: members }) },
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
      return { output: fsm.state.get(request.key) ?? "" };
    case "dump":
      await node.read();
      return [...fsm.state];
    case "status":
      return { ...node.leadership(), applied: node.status().applied, rss: process.memoryUsage.rss() };
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
