/** The container runtime of this worker: the machine's containerd, or one of its own where the machine runs none. */
import { mkdir } from "node:fs/promises";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { connectContainerd, superviseContainerd } from "@warren/runtime-containerd";
import { Backoff, delay, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import { readChoice, writeChoice } from "./containerd-choice.ts";
import { workerFolders } from "./folders.ts";
import type { WorkerOptions } from "./options.ts";

export interface RuntimeDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

type Options = Pick<WorkerOptions, "dataDir" | "runDir" | "containerdSocket" | "containerdNamespace" | "mirrors"> & {
  /** Ends a containerd of our own with the resources. @default false: its containers would go on, but nobody tells of them */
  readonly endContainerd?: boolean;
};

/**
 * Resolves once the runtime answers; it is closed with `resources`. Which containerd it is was settled when this worker
 * first ran here: another would not know the tasks that run.
 *
 * @throws RuntimeError where there is neither a containerd that answers nor the program
 */
export async function openRuntime(
  dependencies: RuntimeDependencies,
  options: Options,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Runtime> {
  const { data, containerdData } = workerFolders(options);
  await mkdir(data, { recursive: true, mode: 0o700 });
  const settled = await readChoice(data, containerdData);
  const { address, own } =
    settled === "machine"
      ? { address: options.containerdSocket, own: false }
      : await findContainerd(dependencies, options, resources);
  const runtime = resources.use(await patiently(dependencies, address, options, signal));
  if (settled === undefined) await writeChoice(data, own ? "own" : "machine");
  return runtime;
}

/** The machine's if it answers and we have none of our own, else one of our own. */
async function findContainerd(
  dependencies: RuntimeDependencies,
  options: Options,
  resources: AsyncDisposableStack,
): Promise<{ readonly address: string; readonly own: boolean }> {
  const { containerdData: dataDir, containerdRun: runDir } = workerFolders(options);
  const { containerdSocket: systemAddress, endContainerd: endWithUs = false } = options;
  return resources.use(await superviseContainerd(dependencies, { systemAddress, dataDir, runDir, endWithUs }));
}

/** Waits for a containerd that is away, however long it takes to come. */
async function patiently(
  dependencies: RuntimeDependencies,
  address: string,
  options: Options,
  signal: AbortSignal,
): Promise<Runtime> {
  const { clock, random, log } = dependencies;
  const backoff = new Backoff(random);
  for (;;) {
    try {
      return await connectTo(dependencies, address, options);
    } catch (error) {
      if (!RuntimeError.is(error, "RUNTIME_UNAVAILABLE")) throw error;
      log.warn("containerd does not answer yet", { address, error });
      await delay(clock, backoff.next(), signal);
    }
  }
}

function connectTo({ log, random }: RuntimeDependencies, address: string, options: Options): Promise<Runtime> {
  const { runtimeData, runtimeRun } = workerFolders(options);
  const { mirrors, containerdNamespace: namespace } = options;
  return connectContainerd({ log, random }, { address, namespace, runDir: runtimeRun, dataDir: runtimeData, mirrors });
}
