import { chmod, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Mount } from "@warren/api";
import type { Mount as RuntimeMount } from "@warren/runtime";
import { AgentError, specInvalid } from "./errors.ts";

const nameGrammar = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;
/** Default permissions of a tmpfs, as of /tmp. */
const tmpfsMode = 0o1777;

/** Where deleted volumes are until they are gone. Its name is none of a volume. */
const deletedFolder = ".deleted";

export interface LocalVolume {
  readonly name: string;
  readonly path: string;
  readonly createdAt: Date;
}

/** Named volumes of this node, as folders. They are kept when their services are deleted. */
export class Volumes {
  readonly #directory: string;
  /** Deletions follow one another. */
  #deleting: Promise<unknown> = Promise.resolve();

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

  /** In the order of their names. */
  async list(): Promise<readonly LocalVolume[]> {
    const entries = await readdir(this.#directory, { withFileTypes: true }).catch(missing);
    const names = (entries ?? []).filter((entry) => entry.isDirectory() && nameGrammar.test(entry.name));
    const found = await Promise.all(
      names.map(async ({ name }) => {
        const path = join(this.#directory, name);
        const stats = await stat(path).catch(missing);
        return stats === undefined ? undefined : { name, path, createdAt: stats.birthtime };
      }),
    );
    return found.filter((volume) => volume !== undefined).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Deletes a volume with all that is in it. What a crash leaves of that goes at the next deletion.
   *
   * @param isUsed asked again once the name leads nowhere: a task that came meanwhile keeps what it mounted
   */
  delete(name: string, isUsed: () => boolean): Promise<"deleted" | "missing" | "used"> {
    const deletion = this.#deleting.then(() => this.#delete(name, isUsed));
    this.#deleting = deletion.catch(() => undefined);
    return deletion;
  }

  async #delete(name: string, isUsed: () => boolean): Promise<"deleted" | "missing" | "used"> {
    if (!nameGrammar.test(name)) return "missing";
    if (isUsed()) return "used";
    const path = join(this.#directory, name);
    const trash = join(this.#directory, deletedFolder);
    await mkdir(trash, { recursive: true, mode: 0o700 });
    const away = join(trash, name);
    await rm(away, { recursive: true, force: true });
    try {
      await rename(path, away);
    } catch (error) {
      if (missing(error) === undefined) return "missing";
    }
    // A folder that was made anew meanwhile is another volume.
    if (isUsed() && (await isBack(away, path))) return "used";
    await rm(trash, { recursive: true, force: true });
    return "deleted";
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

/** Undefined for a path that leads nowhere. @throws any other failure */
function missing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}

async function isBack(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    // Not empty: the task has it already.
    if (["ENOTEMPTY", "EEXIST"].includes((error as NodeJS.ErrnoException).code ?? "")) return false;
    throw error;
  }
}
