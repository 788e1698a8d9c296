/** How long nothing can be written once the leader is killed, at default settings. */
import { load } from "./load.ts";
import { RaftCluster } from "./raft-cluster.ts";
import { percentile, printTable, setting } from "./report.ts";

/** Between two failures, ms: whoever was killed is back, and writes flow. */
const steadyMs = 2_000;

/** Kills the leader, and waits until a write is acknowledged by another; ms. */
async function failOver(cluster: RaftCluster): Promise<{ readonly electionMs: number; readonly writeMs: number }> {
  const victim = await cluster.leader();
  const killed = performance.now();
  await cluster.kill(victim.id);
  const next = await cluster.leader(victim.id);
  const electionMs = performance.now() - killed;
  await write(cluster, next.id, 0);
  const writeMs = performance.now() - killed;
  await cluster.startMember(victim.id);
  await write(cluster, next.id, steadyMs);
  return { electionMs, writeMs };
}

/** One client for so long; at 0 one write. */
async function write(cluster: RaftCluster, leader: number, durationMs: number): Promise<void> {
  const connections: Disposable[] = [];
  await load(1, durationMs, async (done) => {
    const driver = await cluster.connect(leader, 1, done);
    connections.push(driver);
    return driver;
  });
  for (const connection of connections) connection[Symbol.dispose]();
}

export async function failover(directory: string, certificates: string): Promise<void> {
  const count = setting("BENCH_FAILOVERS", 30);
  const cluster = await RaftCluster.start(directory, certificates);
  try {
    const rows: { electionMs: number; writeMs: number }[] = [];
    for (let n = 0; n < count; n++) rows.push(await failOver(cluster));
    const cells = (values: readonly number[]): string[] =>
      [0.5, 0.95, 0.99, 1].map((share) => percentile(values, share).toFixed(0));
    printTable(
      [`${count} leaders killed`, "p50 ms", "p95 ms", "p99 ms", "most ms"],
      [
        ["another leads", ...cells(rows.map(({ electionMs }) => electionMs))],
        ["a write is acknowledged", ...cells(rows.map(({ writeMs }) => writeMs))],
      ],
    );
  } finally {
    await cluster.close();
  }
}
