import type { AssignedTask, RelayStats, TaskStats } from "@warren/api";
import { RuntimeError } from "@warren/runtime";
import { Limiter } from "./limiter.ts";
import type { Relay, RelayDependencies } from "./relay.ts";

/** Containers measured at once. */
const parallel = 8;

/** Measures tasks now. Those that do not run are left out. */
export async function relayStats(
  { runtime, containers, tasks, clock, nodeId }: RelayDependencies,
  { taskIds }: RelayStats,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const wanted = tasks().filter(
    ({ id }) => (taskIds.length === 0 || taskIds.includes(id)) && containers.get(id)?.state.kind === "running",
  );
  const limiter = new Limiter(parallel);
  const measure = async (task: AssignedTask): Promise<TaskStats | undefined> => {
    try {
      const stats = await runtime.stats(task.id);
      return {
        taskId: task.id,
        serviceName: task.serviceName,
        slot: task.slot,
        nodeId,
        at: new Date(clock.now()),
        cpuUsageNs: Number(stats.cpuUsageNs),
        memoryBytes: stats.memoryBytes,
        memoryLimitBytes: stats.memoryLimitBytes ?? 0,
        pids: stats.pids,
        readBytes: Number(stats.readBytes),
        writeBytes: Number(stats.writeBytes),
      };
    } catch (error) {
      // It ended between the question and the answer.
      if (RuntimeError.is(error, "RUNTIME_WRONG_STATE") || RuntimeError.is(error, "RUNTIME_NOT_FOUND"))
        return undefined;
      throw error;
    }
  };
  const measured = await Promise.all(wanted.map((task) => limiter.run(signal, () => measure(task))));
  const stats = measured.filter((each) => each !== undefined);
  await relay.send({ $case: "stats", value: { stats, unreachableNodes: [] } });
}
