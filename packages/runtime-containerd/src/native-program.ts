import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { RuntimeError } from "@warren/runtime";

const run = promisify(execFile);

/** Where the program is that `native/` builds, unless the executable that this is part of brought it elsewhere. */
export const builtProgram: string = fileURLToPath(new URL("../bin/warren-runtime", import.meta.url));

/** `native/src/main.rs`: what must be done outside this process. */
export class NativeProgram {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Makes a network namespace with loopback up that lives by its mount at `path`. */
  createNetns(path: string): Promise<void> {
    return this.#run("netns-create", path);
  }

  /** One that is not there is what is wanted. */
  deleteNetns(path: string): Promise<void> {
    return this.#run("netns-delete", path);
  }

  createFifos(...paths: readonly string[]): Promise<void> {
    return this.#run("fifo", ...paths);
  }

  async #run(...args: readonly string[]): Promise<void> {
    try {
      await run(this.path, args);
    } catch (error) {
      const { code, stderr = "" } = error as { code?: unknown; stderr?: string };
      const why = stderr.trim() || String(code);
      throw new RuntimeError(
        { code: "RUNTIME_FAILED", status: typeof code === "number" ? code : 0 },
        `${args[0]} failed: ${why}${code === "ENOENT" ? `; there is no ${this.path}` : ""}`,
        { cause: error },
      );
    }
  }
}
