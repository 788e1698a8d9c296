/**
 * What a task costs from `create` to running, per task of a service of BENCH_REPLICAS (default 30): programs started, syncs
 * and writes, counted by the kernel (strace) in one round; processor time and wake-ups, in BENCH_ROUNDS (default 5) others
 * that nobody traces, the median. The manager's log is written through, so that its syncs are among its writes. The image is
 * there.
 */
import { loadavg } from "node:os";
import { Machine } from "../../apps/cli/test/machine.ts";
import { countCalls, usageOf, type Counts } from "../../apps/cli/test/costs.ts";
import { machineLine, percentile, printTable, setting } from "./report.ts";

const replicas = setting("BENCH_REPLICAS", 30);
const rounds = setting("BENCH_ROUNDS", 5);

await using machine = await Machine.start();
const image = await machine.push("bench/costs:1", { config: { Cmd: ["sleep", "1000000"], StopSignal: "SIGKILL" } });
const create = async (): Promise<void> => {
  await machine.ok("service", "create", "bench", "--image", image, "--replicas", String(replicas));
};
const remove = (): Promise<string> => machine.ok("service", "delete", "bench");
// The first is slower than all others.
await create();
await remove();

const daemons = { manager: machine.daemonPid("manager"), worker: machine.daemonPid("worker") };
const processor: Record<string, number[]> = { manager: [], worker: [] };
const wakeUps: Record<string, number[]> = { manager: [], worker: [] };
for (let round = 0; round < rounds; round += 1) {
  const before = await Promise.all(Object.values(daemons).map(usageOf));
  await create();
  const after = await Promise.all(Object.values(daemons).map(usageOf));
  for (const [at, name] of Object.keys(daemons).entries()) {
    processor[name]?.push((after[at]?.processorMs ?? 0) - (before[at]?.processorMs ?? 0));
    wakeUps[name]?.push((after[at]?.wakeUps ?? 0) - (before[at]?.wakeUps ?? 0));
  }
  await remove();
}
const counts: Record<string, Counts> = {};
for (const [name, pid] of Object.entries(daemons)) {
  counts[name] = await countCalls(pid, create);
  await remove();
}

const perTask = (value: number): string => (value / replicas).toFixed(2);
process.stdout.write(
  `costs: a task, from create to running; ${replicas} replicas, ${rounds} rounds\n${machineLine()}, load ${loadavg()[0]?.toFixed(1)}\n\n`,
);
printTable(
  ["daemon", "processor ms", "wake-ups", "programs", "syncs", "writes"],
  Object.keys(daemons).map((name) => [
    name,
    perTask(percentile(processor[name] ?? [], 0.5)),
    perTask(percentile(wakeUps[name] ?? [], 0.5)),
    ...[counts[name]?.programs, counts[name]?.syncs, counts[name]?.writes].map((value) => perTask(value ?? 0)),
  ]),
);
