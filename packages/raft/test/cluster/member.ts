/** One member as a process of its own. Reads lines of JSON on stdin, answers on stdout; see `processes.ts`. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

import { newId, systemClock, systemRandom } from "@warren/std";

import { grpcTransport, openFileDisk, openLogStorage, startRaftNode, type Member } from "../../src/index.ts";
import { KeyValueMachine, put } from "../node/key-value-machine.ts";

interface Settings {
  readonly id: number;
  readonly directory: string;
  readonly listen: string;
  readonly tls: string;
  readonly members: readonly Member[];
  readonly bootstrap: boolean;
}

const settings = JSON.parse(process.argv[2] as string) as Settings;
const { id, members } = settings;
const pem = (name: string): Buffer => readFileSync(`${settings.tls}/${name}`);
const disk = await openFileDisk(settings.directory);
const newIncarnation = (): string => newId(systemRandom);
const storage = await openLogStorage(disk, { clusterId: "cluster", nodeId: id, newIncarnation });
const fsm = new KeyValueMachine();
const tls = { ca: pem("ca.pem"), cert: pem("member.pem"), key: pem("member.key") };
const transport = grpcTransport({ listen: settings.listen, tls, serverName: "raft" });
const node = await startRaftNode(
  { clock: systemClock, random: systemRandom, storage, transport, fsm },
  settings.bootstrap ? { bootstrap: members, snapshotEntries: 2_000 } : { join: members },
);
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
node.onLeadership((leadership) => say({ leadership }));
say({ ready: true, leadership: node.leadership() });

interface Request {
  readonly n: number;
  readonly do: "put" | "get" | "status" | "addLearner" | "promote";
  readonly key: string;
  readonly value: string;
  readonly member: Member;
}

async function answer(request: Request): Promise<unknown> {
  switch (request.do) {
    case "put":
      return (await node.propose(put(request.key, request.value))).index;
    case "get":
      await node.read();
      return fsm.state.get(request.key) ?? null;
    case "status":
      return node.leadership();
    case "addLearner":
      return node.addLearner(request.member);
    case "promote":
      return node.promote(request.member.id);
  }
}

async function endWithNode(): Promise<void> {
  const error = await node.done;
  say({ ended: error?.code ?? "closed" });
  process.exit(error === undefined ? 0 : 1);
}
void endWithNode();
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line) as Request;
  answer(request).then(
    (result) => say({ n: request.n, result: result ?? null }),
    (error: unknown) => say({ n: request.n, error: (error as { code?: string }).code ?? String(error) }),
  );
}
await node.close();
