/** What a leader holds in memory while a follower is down, and while it streams a large snapshot; the receiver too. */
import { keys, load } from "./load.ts";
import { RaftCluster, residentMiB, type BenchMember } from "./raft-cluster.ts";
import { printTable, setting } from "./report.ts";
import { until } from "@warren/std/testing";

/** The most resident memory of members from now until it is stopped, MiB. */
function watch(members: readonly BenchMember[]): { stop(): ReadonlyMap<number, number> } {
  const most = new Map<number, number>();
  const look = (): void => {
    for (const { id, child } of members) most.set(id, Math.max(most.get(id) ?? 0, residentMiB(child.pid)));
  };
  look();
  const timer = setInterval(look, 50);
  return {
    stop() {
      clearInterval(timer);
      look();
      return most;
    },
  };
}

async function write(cluster: RaftCluster, leader: BenchMember, clients: number, durationMs: number): Promise<number> {
  const connections: Disposable[] = [];
  const { writes, seconds } = await load(clients, durationMs, async (done) => {
    const driver = await cluster.connect(leader.id, clients, done);
    connections.push(driver);
    return driver;
  });
  for (const connection of connections) connection[Symbol.dispose]();
  return writes / seconds;
}

export async function memory(directory: string, certificates: string): Promise<void> {
  const [downMs, snapshotMiB] = [setting("BENCH_MS", 60_000), setting("BENCH_SNAPSHOT_MIB", 1_024)];
  const cluster = await RaftCluster.start(directory, certificates, snapshotMiB * 2 ** 20);
  try {
    const leader = await cluster.leader();
    // Every key there is written, and every buffer as full as it gets in service.
    while ((await leader.figures()).applied < 1.5 * keys) await write(cluster, leader, 200, 1_000);
    const rows: string[][] = [];
    const row = (what: string, before: number, most: number): void =>
      void rows.push([what, before.toFixed(0), most.toFixed(0), (most - before).toFixed(0)]);

    const follower = [...cluster.running.keys()].find((id) => id !== leader.id) as number;
    const before = residentMiB(leader.child.pid);
    await cluster.kill(follower);
    const down = watch([leader]);
    const rate = await write(cluster, leader, 200, downMs);
    row(
      `leader, ${downMs / 1_000} s with a follower down, ${rate.toFixed(0)} writes/s`,
      before,
      down.stop().get(leader.id) as number,
    );

    const idle = residentMiB(leader.child.pid);
    const back = await cluster.startMember(follower);
    const receiverIdle = residentMiB(back.child.pid);
    const streaming = watch([leader, back]);
    const began = performance.now();
    const { commit } = await leader.figures();
    await until("the follower has caught up", async () => (await back.figures()).applied >= commit, 600_000);
    const seconds = (performance.now() - began) / 1_000;
    const most = streaming.stop();
    row(
      `leader, streaming a snapshot of ${snapshotMiB} MiB in ${seconds.toFixed(1)} s`,
      idle,
      most.get(leader.id) as number,
    );
    row("the follower that receives it", receiverIdle, most.get(follower) as number);
    printTable(["", "before, MiB", "most, MiB", "more, MiB"], rows);
  } finally {
    await cluster.close();
  }
}
