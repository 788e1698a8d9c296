/** Committed writes through three members on one disk, fsync on, in turns with etcd's. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpus } from "node:os";
import { join } from "node:path";

import { installEtcd, startEtcd } from "./etcd-cluster.ts";
import { load, type Driver, type LoadResult } from "./load.ts";
import { anonymousMiB, cpuMicros, RaftCluster, type BenchMember } from "./raft-cluster.ts";
import { percentile, printTable, setting } from "./report.ts";

interface Side {
  readonly name: string;
  readonly pids: readonly (number | undefined)[];
  readonly leaderPid: number | undefined;
  connect(clients: number, done: (slot: number) => void): Promise<Driver & Disposable>;
  syncs(): Promise<number>;
}

/** Whether other programs want the processors too. */
type Machine = "idle" | "busy";

interface Row {
  readonly side: string;
  readonly machine: Machine;
  readonly clients: number;
  readonly rate: number;
  readonly took: readonly number[];
  readonly cpu: number;
  readonly driverCpu: number;
  readonly syncs: number;
  readonly memory: number;
}

async function measure(side: Side, clients: number, durationMs: number, machine: Machine = "idle"): Promise<Row> {
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
    machine,
    clients,
    rate: result.writes / result.seconds,
    took: result.took,
    cpu: (cpuMicros(side.pids) - cpu) / result.writes,
    driverCpu: (spent.user + spent.system) / result.writes,
    syncs: ((await side.syncs()) - syncs) / result.writes,
    memory: anonymousMiB(side.leaderPid),
  };
  for (const connection of connections) connection[Symbol.dispose]();
  return row;
}

/** A program a processor that computes without a pause, until it is disposed of. */
async function generateLoad(): Promise<AsyncDisposable> {
  const programs = cpus().map(() =>
    spawn(process.execPath, ["--eval", "for (;;) Math.random();"], { stdio: "ignore" }),
  );
  await Promise.all(programs.map((program) => once(program, "spawn")));
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(
        programs.map(async (program) => {
          const ended = once(program, "exit");
          if (program.kill("SIGKILL")) await ended;
        }),
      );
    },
  };
}

const median = (values: readonly number[]): number => percentile(values, 0.5);

const cases: readonly { readonly clients: number; readonly machine: Machine }[] = [
  { clients: 1, machine: "idle" },
  { clients: 1, machine: "busy" },
  { clients: 1_000, machine: "idle" },
];

function report(rows: readonly Row[]): void {
  const head = [
    "",
    "machine",
    "clients",
    "writes/s",
    "p50 ms",
    "p95 ms",
    "p99 ms",
    "CPU µs/write, members",
    "driver",
    "leader's fsyncs/write",
    "leader's anonymous MiB",
  ];
  printTable(
    head,
    rows.map(({ side, machine, clients, rate, took, cpu, driverCpu, syncs, memory }) => [
      side,
      machine,
      String(clients),
      rate.toFixed(0),
      ...[0.5, 0.95, 0.99].map((share) => percentile(took, share).toFixed(2)),
      cpu.toFixed(0),
      driverCpu.toFixed(0),
      syncs.toFixed(3),
      memory.toFixed(0),
    ]),
  );
  for (const { clients, machine } of cases) {
    const of = (side: string): Row[] =>
      rows.filter((row) => row.side === side && row.clients === clients && row.machine === machine);
    const theirs = of("etcd");
    for (const side of new Set(rows.map((row) => row.side))) {
      if (side === "etcd") continue;
      const ratios = (figure: (row: Row) => number): string =>
        withRounds(
          of(side).flatMap((ours, at) => theirs.slice(at, at + 1).map((other) => figure(ours) / figure(other))),
        );
      const what = `${clients} clients, ${machine} machine, ${side}`;
      const [rate, p50, p99] = [
        ratios((row) => row.rate),
        ratios((row) => percentile(row.took, 0.5)),
        ratios((row) => percentile(row.took, 0.99)),
      ];
      console.log(`${what}: ${rate} × etcd's writes/s, ${p50} × its p50, ${p99} × its p99`);
    }
  }
}

function withRounds(ratios: readonly number[]): string {
  return `${median(ratios).toFixed(2)} (rounds: ${ratios.map((ratio) => ratio.toFixed(2)).join(", ")})`;
}

function side(name: string, cluster: RaftCluster, leader: BenchMember): Side {
  return {
    name,
    pids: [...cluster.running.values()].map(({ child }) => child.pid),
    leaderPid: leader.child.pid,
    connect: (clients, done) => cluster.connect(leader.id, clients, done),
    syncs: async () => (await leader.figures()).syncs,
  };
}

export async function speed(directory: string, certificates: string): Promise<void> {
  const [durationMs, rounds] = [setting("BENCH_MS", 5_000), setting("BENCH_ROUNDS", 3)];
  console.log(`${installEtcd()}; three members a side, TLS between members, 8-byte keys, 256-byte values\n`);
  const ours = new Map([["warren", await RaftCluster.start(join(directory, "with"), certificates)]]);
  if (process.env["BENCH_WITHOUT_JOURNAL"] !== undefined) {
    const options = { journal: false, firstPort: 24_011 };
    ours.set("warren, no journal", await RaftCluster.start(join(directory, "without"), certificates, options));
  }
  if (process.env["BENCH_SMALL"] !== undefined) {
    const options = { small: true, firstPort: 24_021 };
    ours.set("warren, small heap", await RaftCluster.start(join(directory, "small"), certificates, options));
  }
  const etcd = await startEtcd(directory, certificates);
  try {
    const sides: Side[] = [];
    for (const [name, cluster] of ours) sides.push(side(name, cluster, await cluster.leader()));
    sides.push({
      name: "etcd",
      pids: etcd.processes.map(({ pid }) => pid),
      leaderPid: etcd.processes[etcd.leader - 1]?.pid,
      connect: (clients, done) => etcd.connect(clients, done),
      syncs: () => etcd.leaderSyncs(),
    });
    // Connected, and compiled: code that runs a thousand times a second takes long to be worth it to the engine.
    for (const one of sides) await measure(one, 100, 5_000);
    for (const one of sides) await measure(one, 1, setting("BENCH_WARM_MS", 15_000));
    const rows: Row[] = [];
    for (let round = 0; round < rounds; round++) {
      for (const { clients, machine } of cases.slice(0, Number(process.env.CASES ?? 3))) {
        await using _ = machine === "busy" ? await generateLoad() : undefined;
        for (const one of sides) rows.push(await measure(one, clients, durationMs, machine));
      }
    }
    report(rows);
  } finally {
    for (const cluster of ours.values()) await cluster.close();
    for (const child of etcd.processes) {
      const ended = once(child, "exit");
      if (child.kill("SIGKILL")) await ended;
    }
  }
}
