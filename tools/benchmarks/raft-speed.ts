/** Committed writes through three members on one disk, fsync on, in turns with etcd's. */
import { once } from "node:events";
import { join } from "node:path";

import { installEtcd, startEtcd } from "./etcd-cluster.ts";
import { load, type Driver, type LoadResult } from "./load.ts";
import { cpuMicros, RaftCluster, residentMiB } from "./raft-cluster.ts";
import { percentile, printTable, setting } from "./report.ts";

interface Side {
  readonly name: string;
  readonly pids: readonly (number | undefined)[];
  readonly leaderPid: number | undefined;
  connect(clients: number, done: (slot: number) => void): Promise<Driver & Disposable>;
  syncs(): Promise<number>;
}

interface Row {
  readonly side: string;
  readonly clients: number;
  readonly rate: number;
  readonly took: readonly number[];
  readonly cpu: number;
  readonly driverCpu: number;
  readonly syncs: number;
  readonly memory: number;
}

async function measure(side: Side, clients: number, durationMs: number): Promise<Row> {
  const connections: Disposable[] = [];
  const [cpu, own, syncs] = [cpuMicros(side.pids), process.cpuUsage(), await side.syncs()];
  const result: LoadResult = await load(clients, durationMs, async (done) => {
    const driver = await side.connect(clients, done);
    connections.push(driver);
    return driver;
  });
  const spent = process.cpuUsage(own);
  const row: Row = {
    side: side.name,
    clients,
    rate: result.writes / result.seconds,
    took: result.took,
    cpu: (cpuMicros(side.pids) - cpu) / result.writes,
    driverCpu: (spent.user + spent.system) / result.writes,
    syncs: ((await side.syncs()) - syncs) / result.writes,
    memory: residentMiB(side.leaderPid),
  };
  for (const connection of connections) connection[Symbol.dispose]();
  return row;
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

function report(rows: readonly Row[]): void {
  const head = [
    "",
    "clients",
    "writes/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "CPU µs/write, members",
    "driver",
    "leader's fsyncs/write",
    "leader MiB",
  ];
  printTable(
    head,
    rows.map(({ side, clients, rate, took, cpu, driverCpu, syncs, memory }) => [
      side,
      String(clients),
      rate.toFixed(0),
      ...[0.5, 0.95, 0.99].map((share) => percentile(took, share).toFixed(2)),
      cpu.toFixed(0),
      driverCpu.toFixed(0),
      syncs.toFixed(3),
      memory.toFixed(0),
    ]),
  );
  for (const clients of new Set(rows.map((row) => row.clients))) {
    const of = (side: string): Row[] => rows.filter((row) => row.side === side && row.clients === clients);
    const theirs = of("etcd");
    const pairs = of("warren").flatMap((ours, at) =>
      theirs.slice(at, at + 1).map((other) => ({ ours, theirs: other })),
    );
    const rates = pairs.map(({ ours, theirs }) => ours.rate / theirs.rate);
    const p50s = pairs.map(({ ours, theirs }) => percentile(ours.took, 0.5) / percentile(theirs.took, 0.5));
    const each = rates.map((rate) => rate.toFixed(2)).join(", ");
    console.log(
      `${clients} clients: ${median(rates).toFixed(2)} × etcd's writes/s (rounds: ${each}), ${median(p50s).toFixed(2)} × its p50`,
    );
  }
}

export async function speed(directory: string, certificates: string): Promise<void> {
  const [durationMs, rounds] = [setting("BENCH_MS", 5_000), setting("BENCH_ROUNDS", 3)];
  console.log(`${installEtcd()}; three members a side, TLS between members, 8-byte keys, 256-byte values\n`);
  const cluster = await RaftCluster.start(directory, certificates);
  const etcd = await startEtcd(join(directory), certificates);
  try {
    const leader = await cluster.leader();
    const sides: Side[] = [
      {
        name: "warren",
        pids: [...cluster.running.values()].map(({ child }) => child.pid),
        leaderPid: leader.child.pid,
        connect: (clients, done) => cluster.connect(leader.id, clients, done),
        syncs: async () => (await leader.figures()).syncs,
      },
      {
        name: "etcd",
        pids: etcd.processes.map(({ pid }) => pid),
        leaderPid: etcd.processes[etcd.leader - 1]?.pid,
        connect: (clients, done) => etcd.connect(clients, done),
        syncs: () => etcd.leaderSyncs(),
      },
    ];
    // Connected, and compiled: code that runs a thousand times a second takes long to be worth it to the engine.
    for (const side of sides) await measure(side, 100, 5_000);
    for (const side of sides) await measure(side, 1, setting("BENCH_WARM_MS", 15_000));
    const rows: Row[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const clients of [1, 1_000]) for (const side of sides) rows.push(await measure(side, clients, durationMs));
    }
    report(rows);
  } finally {
    await cluster.close();
    for (const child of etcd.processes) {
      const ended = once(child, "exit");
      if (child.kill("SIGKILL")) await ended;
    }
  }
}
