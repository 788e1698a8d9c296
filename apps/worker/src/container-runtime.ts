/** The container runtime of this worker: the machine's containerd, or one of its own where the machine runs none. */
import { mkdir } from "node:fs/promises";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { connectContainerd } from "@warren/runtime-containerd";
import { superviseContainerd } from "./supervise-stub.ts";
import { Backoff, delay, type Clock, type Logger, type Metrics, type Random } from "@warren/std";
import { readChoice, writeChoice, type ContainerdChoice } from "./containerd-choice.ts";
import { workerFolders } from "./folders.ts";
import type { WorkerOptions } from "./options.ts";

export interface RuntimeDependencies {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: Metrics;
}

type Options = Pick<WorkerOptions, "dataDir" | "runDir" | "containerdSocket" | "containerdNamespace" | "mirrors">;

/**
 * Resolves once the runtime answers; it is closed with `resources`. Which containerd it is was settled when this worker
 * first ran here.
 *
 * @throws RuntimeError where there is neither a containerd that answers nor the program
 */
export async function openRuntime(
  dependencies: RuntimeDependencies,
  options: Options,
  resources: AsyncDisposableStack,
  signal: AbortSignal,
): Promise<Runtime> {
  const { data } = workerFolders(options);
  await mkdir(data, { recursive: true, mode: 0o700 });
  const choice = (await readChoice(data)) ?? (await firstChoice(dependencies, options));
  const address = choice === "own" ? await ownContainerd(dependencies, options, resources) : options.containerdSocket;
  const runtime = resources.use(await patiently(dependencies, address, options, signal));
  await writeChoice(data, choice);
  return runtime;
}

async function firstChoice(dependencies: RuntimeDependencies, options: Options): Promise<ContainerdChoice> {
  const socket = options.containerdSocket;
  try {
    await using _ = await connectTo(dependencies, socket, options);
    return "machine";
  } catch (error) {
    if (!RuntimeError.is(error, "RUNTIME_UNAVAILABLE")) throw error;
    dependencies.log.info("no containerd answers, so this worker runs its own", { socket });
    return "own";
  }
}

async function ownContainerd(
  dependencies: RuntimeDependencies,
  options: Options,
  resources: AsyncDisposableStack,
): Promise<string> {
  const { containerdData, containerdRun } = workerFolders(options);
  const supervisor = resources.use(
    await superviseContainerd(dependencies, { dataDir: containerdData, runDir: containerdRun }),
  );
  return supervisor.address;
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
