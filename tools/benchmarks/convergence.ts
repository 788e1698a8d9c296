/**
 * From `create` to all running: 1, 10 and 30 replicas, on Warren, on Docker Swarm, and on containerd alone (eight
 * containers at a time, without any network), one after the other in each round. The image is there.
 *
 * BENCH_ROUNDS (default 5) rounds, after one that warms up; BENCH_REPLICAS (default "1 10 30") numbers of replicas.
 */
import { TaskState } from "@warren/api";
import type { Runtime } from "@warren/runtime";
import { newId, systemRandom } from "@warren/std";
import { Machine } from "../../apps/cli/test/machine.ts";
import { startDockerSwarm } from "./docker-swarm.ts";
import { machineLine, percentile, percentileCells, printTable, setting } from "./report.ts";

const rounds = setting("BENCH_ROUNDS", 5);
const sizes = (process.env["BENCH_REPLICAS"] ?? "1 10 30").split(" ").map(Number);

await using machine = await Machine.start();
await using swarm = await startDockerSwarm();
const image = await machine.push("bench/sleep:1", { config: { Cmd: ["sleep", "1000000"] } });
await using bare = await machine.bed.open({}, { namespace: `${machine.bed.options.namespace ?? "bench"}-bare` });
await bare.pull(image);
const bareVersion = (await bare.info()).version;

/** Through the API, as the command line does it. */
async function onWarren(replicas: number): Promise<number> {
  const { client } = machine;
  const ending = new AbortController();
  const begin = performance.now();
  const service = await client.services.create({
    spec: { name: "bench", mode: { $case: "replicated", value: { replicas } }, task: { container: { image } } },
  });
  const running = new Set<string>();
  for await (const { message } of client.events.watch({ service: service.meta?.id ?? "" }, { signal: ending.signal })) {
    if (message?.$case !== "change" || message.value.object?.$case !== "task") continue;
    const { meta, status } = message.value.object.value;
    if (status?.state === TaskState.RUNNING) running.add(meta?.id ?? "");
    if (running.size === replicas) break;
  }
  const took = performance.now() - begin;
  await machine.ok("service", "update", "bench", "--stop-signal", "KILL", "--detach");
  await machine.ok("service", "delete", "bench");
  return took;
}

async function alone(runtime: Runtime, replicas: number): Promise<number> {
  const ids = Array.from({ length: replicas }, () => newId(systemRandom));
  const inParallel = async (work: (id: string) => Promise<void>): Promise<void> => {
    const waiting = ids.values();
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        for (const id of waiting) await work(id);
      }),
    );
  };
  const begin = performance.now();
  await inParallel(async (id) => {
    await runtime.create({ id, image });
    await runtime.start(id);
  });
  const took = performance.now() - begin;
  await inParallel((id) => runtime.remove(id));
  return took;
}

const sides: Readonly<Record<string, (replicas: number) => Promise<number>>> = {
  Warren: onWarren,
  [swarm.version]: (replicas) => swarm.converge(replicas),
  [`${bareVersion} alone`]: (replicas) => alone(bare, replicas),
};
const took = new Map<string, number[]>();
for (let round = 0; round <= rounds; round++) {
  for (const replicas of sizes) {
    for (const [side, measure] of Object.entries(sides)) {
      const ms = await measure(replicas);
      const key = `${side}/${replicas}`;
      // The first round warms up.
      if (round > 0) took.set(key, [...(took.get(key) ?? []), ms]);
      process.stderr.write(`round ${round}: ${side}, ${replicas}: ${ms.toFixed(0)} ms\n`);
    }
  }
}

process.stdout.write(`convergence: create to all running, ms; ${rounds} rounds\n${machineLine()}\n\n`);
const rows = sizes.flatMap((replicas) => {
  const own = percentile(took.get(`Warren/${replicas}`) ?? [], 0.5);
  return Object.keys(sides).map((side) => {
    const values = took.get(`${side}/${replicas}`) ?? [];
    return [String(replicas), side, ...percentileCells(values, 0), (percentile(values, 0.5) / own).toFixed(2)];
  });
});
printTable(["replicas", "on", "p50", "p95", "p99", "p50 ÷ Warren's"], rows);
