import { chmod, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "@warren/api";
import type { Mount as RuntimeMount } from "@warren/runtime";
import { AgentError, specInvalid } from "./errors.ts";

const nameGrammar = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** Default permissions of a tmpfs, as of /tmp. */
const tmpfsMode = 0o1777;

/** Named volumes of this node, as folders. They are kept when their services are deleted. */
export class Volumes {
  readonly #directory: string;

  constructor(dataDir: string) {
    this.#directory = join(dataDir, "volumes");
  }

  /**
   * The runtime's mounts. A named volume is created at its first use; the source of a bind mount must exist.
   *
   * @throws AgentError `AGENT_BIND_MISSING`, `AGENT_VOLUME_FAILED`, `AGENT_SPEC_INVALID`
   */
  async resolve(mounts: readonly Mount[]): Promise<RuntimeMount[]> {
    const resolved: RuntimeMount[] = [];
    for (const { source, target, readOnly } of mounts) {
      switch (source?.$case) {
        case "bind":
          await this.#checkBind(source.value.path, target);
          resolved.push({ kind: "bind", source: source.value.path, target, readOnly });
          break;
        case "volume":
          // `fill`: while it is empty it gets the image's files there, with owner and mode.
          resolved.push({ kind: "bind", source: await this.#volume(source.value.name), target, readOnly, fill: true });
          break;
        case "tmpfs":
          if (readOnly) throw specInvalid("container.mounts", `${target} is an empty tmpfs, which can't be read-only`);
          resolved.push({
            kind: "tmpfs",
            target,
            mode: source.value.mode || tmpfsMode,
            ...(source.value.sizeBytes > 0 && { sizeBytes: source.value.sizeBytes }),
          });
          break;
        case undefined:
          throw specInvalid("container.mounts", `${target} has no source: give a path, a volume or a tmpfs`);
        default:
          source satisfies never;
      }
    }
    return resolved;
  }

  async #checkBind(path: string, target: string): Promise<void> {
    try {
      await stat(path);
    } catch (cause) {
      throw new AgentError(
        { code: "AGENT_BIND_MISSING", path },
        `${path}, to be mounted on ${target}, is not on this node: make it there, or constrain the service to nodes that have it`,
        { cause },
      );
    }
  }

  async #volume(name: string): Promise<string> {
    if (!nameGrammar.test(name)) throw specInvalid("container.mounts", `"${name}" is no name of a volume`);
    const path = join(this.#directory, name);
    try {
      // Only root can enter the parent folder, so a volume's open permissions matter in containers only.
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      // A container may run as any user. By chmod, as the umask limits mkdir's mode.
      if ((await mkdir(path, { recursive: true })) !== undefined) await chmod(path, 0o777);
    } catch (cause) {
      throw new AgentError({ code: "AGENT_VOLUME_FAILED", volume: name }, `volume "${name}" can't be made`, { cause });
    }
    return path;
  }
}
