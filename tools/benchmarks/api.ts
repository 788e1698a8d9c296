/**
 * What a call costs the server beside its handler, which does nothing: over the local socket, the server in a process of
 * its own. Processor time of each side, and by the caller's clock from the call to its answer. A read waits for the
 * barrier of a lone member of Raft, whose log is in memory.
 *
 * BENCH_CALLS (default 5000) of each case, after as many that warm up. Uses only what `@warren/api` had from the first,
 * so that `tools/bench compare` can run it at any commit; a server without the barrier ignores that it is passed one.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Event, EventsDefinition, Network, NetworksDefinition } from "../../packages/api/src/index.ts";
import { connect } from "../../packages/api/src/client/index.ts";
import { bind, startServer } from "../../packages/api/src/server/index.ts";
import {
  MemoryNetwork,
  memoryDisk,
  openLogStorage,
  startRaftNode,
  type RaftNode,
} from "../../packages/raft/src/index.ts";
import { raftProposer, StoreStateMachine } from "../../packages/store/src/index.ts";
import { machineLine, percentileCells, printTable, setting } from "./report.ts";

const calls = setting("BENCH_CALLS", 5_000);
const atOnce = 100;

async function loneMember(): Promise<RaftNode> {
  const storage = await openLogStorage(memoryDisk(), { clusterId: "c", nodeId: 1, newIncarnation: () => "m1" });
  const transport = new MemoryNetwork().transport();
  return startRaftNode({ storage, transport, fsm: new StoreStateMachine() }, { bootstrap: [{ id: 1, address: "" }] });
}

async function serve(socketPath: string): Promise<void> {
  await using member = await loneMember();
  const proposer = raftProposer(member);
  await proposer.read();
  const leadership = { route: () => ({ kind: "here" }) as const, barrier: () => proposer.read() };
  const networks = bind(NetworksDefinition, {
    create: ({ spec }) => Network.fromPartial({ spec: spec ?? {} }),
    get: ({ ref }) => Network.fromPartial({ meta: { id: ref } }),
    list: () => ({ networks: [], nextPageToken: "" }),
    delete: () => ({}),
  });
  const event = Event.create({ objectId: "none", message: "nothing happened" });
  const events = bind(EventsDefinition, {
    list: () => ({ events: [], nextPageToken: "" }),
    // oxlint-disable-next-line typescript/require-await -- a handler's shape
    async *follow() {
      for (let n = 0; n < calls; n += 1) yield event;
    },
    async *watch() {},
  });
  await using server = await startServer({ services: [networks, events], leadership }, { socketPath });
  process.on("message", () => process.send?.(processorUs(process.cpuUsage())));
  process.send?.(0);
  await once(process, "disconnect");
  await server.close();
}

function processorUs({ user, system }: NodeJS.CpuUsage): number {
  return user + system;
}

async function ask(server: ChildProcess): Promise<number> {
  server.send("processor");
  const [answer] = (await once(server, "message")) as [number];
  return answer;
}

async function measure(server: ChildProcess, socket: string): Promise<void> {
  const client = connect({ socket });
  const empty = (): Promise<unknown> => client.networks.delete({ ref: "none" });
  const read = (): Promise<unknown> => client.networks.list({});
  const run = async (lanes: number, unary: () => Promise<unknown> = empty): Promise<number[]> => {
    const times: number[] = [];
    const lane = async (): Promise<void> => {
      while (times.length <= calls - lanes) {
        const from = performance.now();
        await unary();
        times.push((performance.now() - from) * 1_000);
      }
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    return times;
  };
  const stream = async (): Promise<number[]> => {
    const times: number[] = [];
    let last = performance.now();
    for await (const _ of client.events.follow({})) {
      const now = performance.now();
      times.push((now - last) * 1_000);
      last = now;
    }
    return times;
  };
  const cases: Readonly<Record<string, () => Promise<number[]>>> = {
    "an empty call, one at a time": () => run(1),
    [`an empty call, ${atOnce} at once`]: () => run(atOnce),
    "a read, one at a time": () => run(1, read),
    [`a read, ${atOnce} at once`]: () => run(atOnce, read),
    "a small message on a stream": stream,
  };
  const rows: string[][] = [];
  for (const [name, work] of Object.entries(cases)) {
    await work();
    const [before, own] = [await ask(server), process.cpuUsage()];
    const times = await work();
    const spent = processorUs(process.cpuUsage(own));
    const of = (us: number): string => (us / times.length).toFixed(1);
    rows.push([name, of((await ask(server)) - before), of(spent), ...percentileCells(times, 0)]);
  }
  client.close();
  process.stdout.write(`api: µs a call or message, ${calls} of each\n${machineLine()}\n\n`);
  printTable(["", "server's processor", "caller's", "p50", "p95", "p99"], rows);
}

const socketPath = process.argv[2];
if (socketPath !== undefined) {
  await serve(socketPath);
} else {
  const folder = mkdtempSync(join(tmpdir(), "bench-api-"));
  const socket = join(folder, "api.sock");
  const server = fork(import.meta.filename, [socket], { execArgv: ["--conditions=warren-source"] });
  try {
    await once(server, "message");
    await measure(server, socket);
  } finally {
    server.disconnect();
    await once(server, "exit");
    rmSync(folder, { recursive: true });
  }
}
