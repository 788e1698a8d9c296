/** `native/src/connect.rs`: a connection to a port of a container, by a process of its own. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Readable, Writable } from "node:stream";
import { getSystemErrorName } from "node:util";
import { RuntimeError, type Connection } from "@warren/runtime";

export interface ConnectionTarget {
  readonly id: string;
  readonly netnsPath: string;
  readonly port: number;
}

/** @throws RuntimeError `RUNTIME_PORT_CLOSED`, `RUNTIME_FAILED` */
export async function connectTo(
  program: string,
  { id, netnsPath, port }: ConnectionTarget,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  // Of a signal that is aborted already nothing comes that would end the process.
  signal?.throwIfAborted();
  const child = spawn(program, ["connect", netnsPath, String(port)], { stdio: ["pipe", "pipe", "pipe"] });
  const { stdin, stdout, stderr } = child;
  let why = "";
  stderr.on("data", (data: Buffer) => (why = (why + data.toString()).slice(0, 1_000)));
  // What is sent to a connection that has ended is dropped: its end is what its reader sees.
  stdin.on("error", () => undefined);
  const end = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", end, { once: true });
  const closed = once(child, "close") as Promise<[code: number | null]>;
  const done = closed.finally(() => signal?.removeEventListener("abort", end));
  done.catch(() => undefined);
  const connected = await Promise.race([
    once(stdout, "readable").then(() => stdout.read(1) !== null),
    done.then(() => false),
  ]);
  signal?.throwIfAborted();
  if (!connected) {
    const [code] = await done;
    throw failure(id, port, code ?? 0, why);
  }
  return {
    readable: Readable.toWeb(stdout) as ReadableStream<Uint8Array>,
    writable: Writable.toWeb(stdin) as WritableStream<Uint8Array>,
  };
}

function failure(id: string, port: number, code: number, why: string): RuntimeError {
  if (code > 0 && getSystemErrorName(-code) === "ECONNREFUSED")
    return new RuntimeError({ code: "RUNTIME_PORT_CLOSED", id, port }, `nothing listens on port ${port} of "${id}"`);
  return new RuntimeError({ code: "RUNTIME_FAILED", status: code }, `can't connect to port ${port} of "${id}": ${why}`);
}
