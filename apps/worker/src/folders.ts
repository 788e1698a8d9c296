import { join } from "node:path";
import type { OpenContainerdOptions } from "@warren/runtime-containerd";
import type { WorkerOptions } from "./options.ts";

export interface WorkerFolders {
  readonly data: string;
  readonly state: string;
  readonly runtimeData: string;
  readonly runtimeRun: string;
  readonly containerdData: string;
  readonly containerdRun: string;
  readonly netns: string;
  readonly pidFile: string;
}

/** Where a worker keeps what it has. What is below the run dir is of tasks that run, and may go with a reboot. */
export function workerFolders({
  dataDir,
  runDir,
}: {
  readonly dataDir: string;
  readonly runDir: string;
}): WorkerFolders {
  const data = join(dataDir, "worker");
  return {
    data,
    state: join(data, "record"),
    runtimeData: join(data, "runtime"),
    runtimeRun: join(runDir, "runtime"),
    containerdData: join(data, "containerd"),
    containerdRun: join(runDir, "containerd"),
    netns: join(runDir, "netns"),
    pidFile: join(runDir, "worker.pid"),
  };
}

/** The worker's options, as the container runtime takes them. */
export function containerdOptions(
  options: Pick<WorkerOptions, "dataDir" | "runDir" | "containerdSocket" | "containerdNamespace" | "mirrors">,
): OpenContainerdOptions {
  const { data, runtimeData, runtimeRun, containerdData, containerdRun } = workerFolders(options);
  return {
    systemAddress: options.containerdSocket,
    namespace: options.containerdNamespace,
    mirrors: options.mirrors,
    runDir: runtimeRun,
    dataDir: runtimeData,
    choiceDir: data,
    own: { dataDir: containerdData, runDir: containerdRun },
  };
}
