import { ApiError, NodeStatus_State, type Node, type RegistryAuth, type TaskSpec } from "@warren/api";
import { delay, registryOfImage, silentLogger, type Logger } from "@warren/std";
import type { View } from "@warren/store";
import { idOf, nodeName } from "./access.ts";
import type { ControlDependencies } from "./dependencies.ts";

/** How long the nodes that are asked have for their answers, all together, ms. */
const answersMs = 5_000;

/** Nodes that are asked one after the other, if they can't answer. */
const mostNodes = 3;

/**
 * Settles what an image's reference means, once for all tasks of a version: a ready node asks the registry, with its
 * mirrors and the cluster's login. So restarts and scaling never move a service to another build.
 */
export class ImageResolver {
  readonly #dependencies: Pick<ControlDependencies, "relay" | "clock">;
  readonly #log: Logger;

  constructor(dependencies: Pick<ControlDependencies, "relay" | "clock" | "log">) {
    this.#dependencies = dependencies;
    this.#log = (dependencies.log ?? silentLogger).child({ component: "control" });
  }

  /**
   * The digest of the image; empty where no node could say, and the first node that runs the version settles it.
   *
   * @throws what `signal` is aborted with
   */
  async digestOf(view: View, task: TaskSpec | undefined, signal: AbortSignal): Promise<string> {
    const image = task?.container?.image ?? "";
    const pinned = /@(sha256:[0-9a-f]{64})$/.exec(image)?.[1];
    if (pinned !== undefined || task === undefined || image === "") return pinned ?? "";
    const auth = loginOf(view, task);
    const ready = view.list("nodes").filter(({ status }) => status?.state === NodeStatus_State.READY);
    // One budget for all of them: the caller's own deadline is not far.
    const inTime = new AbortController();
    const all = AbortSignal.any([signal, inTime.signal]);
    const isLate = (): "late" => "late";
    const late = delay(this.#dependencies.clock, answersMs, all).then(isLate, isLate);
    try {
      for (const node of ready.slice(0, mostNodes)) {
        const digest = await Promise.race([this.#ask(node, image, auth, all), late]);
        if (digest === "late") break;
        if (digest !== undefined) return digest;
      }
      signal.throwIfAborted();
      return "";
    } finally {
      inTime.abort();
    }
  }

  /** Undefined where the node could not say. */
  async #ask(
    node: Node,
    image: string,
    auth: RegistryAuth | undefined,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    try {
      const { digest, localReason } = await this.#dependencies.relay.image(idOf(node), { image, auth }, signal);
      if (localReason !== "")
        this.#log.warn("an image's digest is that of the copy on a node, not the registry's", {
          node: nodeName(node),
          image,
          digest,
          why: localReason,
        });
      return digest;
    } catch (error) {
      signal.throwIfAborted();
      if (!ApiError.is(error)) throw error;
      this.#log.warn("a node could not say what an image is", { node: nodeName(node), image, error });
      return undefined;
    }
  }
}

/** What the image is pulled with: the login that the spec names, or that of the image's registry. */
function loginOf(view: View, { registryLogin, container }: TaskSpec): RegistryAuth | undefined {
  const name = registryLogin === "" ? registryOfImage(container?.image ?? "") : registryLogin;
  return name === undefined ? undefined : view.find("registries", "name", name)[0]?.auth;
}
