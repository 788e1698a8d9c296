/**
 * What a leader holds in memory at saturation, while a follower is down, and while it streams a large snapshot; the
 * receiver too.
 */
import { keys, load } from "./load.ts";
import { anonymousMiB, RaftCluster, type BenchMember } from "./raft-cluster.ts";
import { printTable, setting } from "./report.ts";
import { until } from "@warren/std/testing";

const ownMiB = ({ child }: BenchMember): number => anonymousMiB(child.pid);

/** The most memory of members from now until it is stopped, MiB. */
function watch(members: readonly BenchMember[]): { stop(): ReadonlyMap<number, number> } {
  const most = new Map<number, number>();
  const look = (): void => {
    for (const member of members) most.set(member.id, Math.max(most.get(member.id) ?? 0, ownMiB(member)));
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

async function write(
  cluster: RaftCluster,
  leader: BenchMember,
  durationMs: number,
  clients: number = 200,
): Promise<number> {
  const connections: Disposable[] = [];
  const { writes, seconds } = await load(clients, durationMs, async (done) => {
    const driver = await cluster.connect(leader.id, clients, done);
    connections.push(driver);
    return driver;
  });
  for (const connection of connections) connection[Symbol.dispose]();
  return writes / seconds;
}

/** A leader under load until every key is there, and every buffer is as full as it gets in service. */
async function warm(cluster: RaftCluster): Promise<BenchMember> {
  const leader = await cluster.leader();
  while ((await leader.figures()).applied < 3 * keys) await write(cluster, leader, 1_000);
  return leader;
}

function row(what: string, before: number, most: number): string[] {
  return [what, before.toFixed(0), most.toFixed(0), (most - before).toFixed(0)];
}

async function saturated(cluster: RaftCluster, durationMs: number): Promise<string[][]> {
  const leader = await warm(cluster);
  const follower = [...cluster.running.values()].find(({ id }) => id !== leader.id) as BenchMember;
  const before = [leader, follower].map(ownMiB) as [number, number];
  const both = watch([leader, follower]);
  const rate = await write(cluster, leader, durationMs, 1_000);
  const most = both.stop();
  const what = `leader, ${durationMs / 1_000} s of 1,000 clients, ${rate.toFixed(0)} writes/s`;
  return [
    row(what, before[0], most.get(leader.id) as number),
    row("a follower of it", before[1], most.get(follower.id) as number),
  ];
}

async function followerDown(cluster: RaftCluster, durationMs: number): Promise<string[][]> {
  const leader = await warm(cluster);
  const follower = [...cluster.running.keys()].find((id) => id !== leader.id) as number;
  const before = ownMiB(leader);
  await cluster.kill(follower);
  const down = watch([leader]);
  const rate = await write(cluster, leader, durationMs);
  const most = down.stop().get(leader.id) as number;
  return [row(`leader, ${durationMs / 1_000} s with a follower down, ${rate.toFixed(0)} writes/s`, before, most)];
}

async function streaming(cluster: RaftCluster, snapshotMiB: number): Promise<string[][]> {
  const leader = await warm(cluster);
  const follower = [...cluster.running.values()].find(({ id }) => id !== leader.id) as BenchMember;
  const inService = ownMiB(follower);
  await cluster.kill(follower.id);
  // Until the log that it lacks is gone.
  const { snapshots } = await leader.figures();
  while ((await leader.figures()).snapshots < snapshots + 2) await write(cluster, leader, 1_000);
  const idle = ownMiB(leader);
  const back = await cluster.startMember(follower.id);
  const both = watch([leader, back]);
  const began = performance.now();
  const { commit } = await leader.figures();
  await until("the follower has caught up", async () => (await back.figures()).applied >= commit, 600_000);
  const seconds = (performance.now() - began) / 1_000;
  const most = both.stop();
  const sent = `leader, streaming a snapshot of ${snapshotMiB} MiB in ${seconds.toFixed(1)} s`;
  return [
    row(sent, idle, most.get(leader.id) as number),
    row("the follower that receives it, before: in service", inService, most.get(follower.id) as number),
  ];
}

export async function memory(directory: string, certificates: string): Promise<void> {
  const [downMs, snapshotMiB] = [setting("BENCH_MS", 60_000), setting("BENCH_SNAPSHOT_MIB", 1_024)];
  const rows: string[][] = [];
  const parts = [
    { name: "saturated", ballastMiB: 0, measure: (cluster: RaftCluster) => saturated(cluster, downMs) },
    { name: "down", ballastMiB: 0, measure: (cluster: RaftCluster) => followerDown(cluster, downMs) },
    { name: "stream", ballastMiB: snapshotMiB, measure: (cluster: RaftCluster) => streaming(cluster, snapshotMiB) },
  ];
  const only = process.env["BENCH_PART"];
  for (const { name, ballastMiB, measure } of parts.filter((part) => only === undefined || part.name === only)) {
    const cluster = await RaftCluster.start(`${directory}/${name}`, certificates, {
      ballastBytes: ballastMiB * 2 ** 20,
      small: true,
    });
    try {
      rows.push(...(await measure(cluster)));
    } finally {
      await cluster.close();
    }
  }
  printTable(["", "before, MiB", "most, MiB", "more, MiB"], rows);
}
