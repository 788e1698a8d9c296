import type { RelayStats, TaskStats } from "@warren/api";
import { keyOfSlot } from "@warren/api/model";
import { RuntimeError } from "@warren/runtime";
import { Limiter } from "./limiter.ts";
import type { RunRecord } from "./local-record.ts";
import type { Relay, RelayDependencies } from "./relay.ts";

/** Containers measured at once. */
const parallel = 8;

/** Measures running tasks. */
export async function relayStats(
  { runtime, containers, runs, clock, nodeId }: RelayDependencies,
  { taskIds }: RelayStats,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  const wanted = [...runs().values()].filter(
    ({ id }) => (taskIds.length === 0 || taskIds.includes(id)) && containers.get(id)?.state.kind === "running",
  );
  const limiter = new Limiter(parallel);
  const measure = async ({ id, local }: RunRecord): Promise<TaskStats | undefined> => {
    try {
      const stats = await runtime.stats(id);
      return {
        taskId: id,
        serviceName: local.serviceName,
        slot: keyOfSlot(local.slotId),
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
      // The task ended meanwhile.
      if (RuntimeError.is(error, "RUNTIME_WRONG_STATE") || RuntimeError.is(error, "RUNTIME_NOT_FOUND"))
        return undefined;
      throw error;
    }
  };
  const measured = await Promise.all(wanted.map((run) => limiter.run(signal, () => measure(run))));
  const stats = measured.filter((each) => each !== undefined);
  await relay.send({ $case: "stats", value: { stats, unreachableNodes: [] } });
}
