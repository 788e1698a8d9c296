import { chmod, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "@warren/api";
import type { Mount as RuntimeMount } from "@warren/runtime";
import { AgentError, specInvalid } from "./errors.ts";

const nameGrammar = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** Permissions of a tmpfs that asks for none: as /tmp. */
const tmpfsMode = 0o1777;

/** Named volumes of this node, as folders. They stay when their services go. */
export class Volumes {
  readonly #directory: string;

  constructor(dataDir: string) {
    this.#directory = join(dataDir, "volumes");
  }

  /**
   * What the runtime is to mount. A named volume is made at its first use; what a bind mount names must be there.
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
          // Filled from the image at its first use, and its owner with it.
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
      // Only root passes the folder above, so that what is open below is open in containers alone.
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      // Containers of any user can write, as nobody can know here which one will. A mode of mkdir is cut by the umask.
      if ((await mkdir(path, { recursive: true })) !== undefined) await chmod(path, 0o777);
    } catch (cause) {
      throw new AgentError({ code: "AGENT_VOLUME_FAILED", volume: name }, `volume "${name}" can't be made`, { cause });
    }
    return path;
  }
}
