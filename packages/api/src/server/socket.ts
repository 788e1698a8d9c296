/**
 * A Unix socket at a path, without a moment in which another user could open it or two servers use it.
 *
 * I1: the socket is bound in a folder of mode 0700, set to 0600, and only then moved to its path; the move also replaces
 *     a socket that a crash left behind.
 * I2: a socket on which a process listens is never replaced.
 * I3: at the end it is removed only if it is still our own.
 */
import { chmod, lstat, mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { createConnection } from "node:net";
import { dirname, join } from "node:path";
import { errorText } from "@warren/std";
import { ServerError } from "./errors.ts";

/** Size of the kernel's field for a path and its final NUL. */
const pathBytes = 108;

export interface ServerSocket {
  /** Removes it from its path. */
  remove(): Promise<void>;
}

/**
 * @param bind listens at a path
 * @throws ServerError `SERVER_SOCKET_IN_USE`, `SERVER_SOCKET_UNUSABLE`
 */
export async function placeSocket(path: string, bind: (path: string) => Promise<void>): Promise<ServerSocket> {
  const unusable = (why: string, cause?: unknown): ServerError =>
    new ServerError({ code: "SERVER_SOCKET_UNUSABLE", path }, `socket ${path}: ${why}`, { cause });
  const longest = join(dirname(path), ".s-XXXXXX", "s");
  if (Math.max(Buffer.byteLength(longest), Buffer.byteLength(path)) >= pathBytes)
    throw unusable(`its path is too long for the kernel (${pathBytes - 1} bytes); choose a shorter --run-dir`);
  await refuseIfTaken(path, unusable);
  let folder: string | undefined;
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o755 });
    folder = await mkdtemp(join(dirname(path), ".s-")); // mode 0700
    const bound = join(folder, "s");
    await bind(bound);
    await chmod(bound, 0o600);
    const { ino, dev } = await lstat(bound);
    await rename(bound, path); // I1
    return {
      async remove() {
        const now = await lstat(path).catch(() => undefined);
        if (now?.ino === ino && now.dev === dev) await rm(path, { force: true }); // I3
      },
    };
  } catch (error) {
    throw unusable(errorText(error), error);
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function refuseIfTaken(path: string, unusable: (why: string) => ServerError): Promise<void> {
  const there = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw unusable(error.message);
  });
  if (there === undefined) return;
  if (!there.isSocket()) throw unusable("a file that is not a socket is there; remove it or choose another path");
  if (await answers(path)) {
    throw new ServerError(
      { code: "SERVER_SOCKET_IN_USE", path },
      `socket ${path}: another process listens on it; stop it, or choose another --run-dir`,
    );
  }
}

/** I2. Only a refused connection proves that no process listens. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createConnection(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", (error: NodeJS.ErrnoException) =>
      resolve(error.code !== "ECONNREFUSED" && error.code !== "ENOENT"),
    );
  });
}
