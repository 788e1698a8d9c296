import { join } from "node:path";

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
