import { mkdir } from "node:fs/promises";
import { RuntimeError, type Runtime } from "@warren/runtime";
import { Backoff, delay, silentLogger, systemClock, systemRandom } from "@warren/std";
import { connectContainerd } from "./containerd-runtime.ts";
import { readChoice, writeChoice } from "./containerd-choice.ts";
import { defaultSystemAddress, type ContainerdDependencies, type ContainerdOptions } from "./options.ts";
import { superviseContainerd, type SuperviseOptions } from "./supervised-containerd.ts";

export interface OpenContainerdOptions extends Omit<ContainerdOptions, "address"> {
  /** The machine's containerd. @default "/run/containerd/containerd.sock" */
  readonly systemAddress?: string;
  /** Where it is kept which containerd was chosen; made if it is not there. */
  readonly choiceDir: string;
  /** Of a containerd of our own, where the machine's is not the one. */
  readonly own: Required<Pick<SuperviseOptions, "dataDir" | "runDir">> &
    Pick<SuperviseOptions, "program" | "endWithUs">;
}

/** To dispose of it closes the runtime, and ends the supervision of a containerd of our own. */
export interface OpenedContainerd extends AsyncDisposable {
  readonly runtime: Runtime;
}

/**
 * The container runtime of a worker: on the machine's containerd if that answers, else on one of our own. Which it is
 * was settled when a worker first ran with this `choiceDir`: another would not know the tasks that run. Resolves once it
 * answers, however long it takes to come.
 *
 * @throws RuntimeError where there is neither a containerd that answers nor the program for one of our own
 */
export async function openContainerd(
  dependencies: ContainerdDependencies,
  options: OpenContainerdOptions,
  signal: AbortSignal,
): Promise<OpenedContainerd> {
  const { systemAddress = defaultSystemAddress, choiceDir, own, ...rest } = options;
  await mkdir(choiceDir, { recursive: true, mode: 0o700 });
  const settled = await readChoice(choiceDir, own.dataDir);
  await using opened = new AsyncDisposableStack();
  // The machine's if it answers and there is none of our own yet.
  const { address, own: isOwn } =
    settled === "machine"
      ? { address: systemAddress, own: false }
      : opened.use(await superviseContainerd(dependencies, { systemAddress, ...own }));
  const runtime = opened.use(await patiently(dependencies, { ...rest, address }, signal));
  if (settled === undefined) await writeChoice(choiceDir, isOwn ? "own" : "machine");
  const resources = opened.move();
  return { runtime, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Waits for a containerd that is away. */
async function patiently(
  dependencies: ContainerdDependencies,
  options: ContainerdOptions & { readonly address: string },
  signal: AbortSignal,
): Promise<Runtime> {
  const { clock = systemClock, random = systemRandom, log = silentLogger } = dependencies;
  const backoff = new Backoff(random);
  for (;;) {
    try {
      return await connectContainerd(dependencies, options);
    } catch (error) {
      if (!RuntimeError.is(error, "RUNTIME_UNAVAILABLE")) throw error;
      log.warn("containerd does not answer yet", { address: options.address, error });
      await delay(clock, backoff.next(), signal);
    }
  }
}
