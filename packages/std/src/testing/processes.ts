import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type AddressInfo } from "node:net";

export interface Finished {
  /** -1 for a program that a signal has ended. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Resolves when a program that was started with pipes has ended, whatever its code. @param input its whole stdin */
export async function finished(child: ChildProcess, input = ""): Promise<Finished> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin?.on("error", () => undefined); // It may end without having read.
  child.stdin?.end(input);
  const [code] = (await once(child, "close")) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}

/** TCP ports of loopback, different ones, that nothing listened on a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  const closed = servers.map((server) => once(server, "close"));
  for (const server of servers) server.close();
  await Promise.all(closed);
  return ports;
}

/** Whether a connection is accepted there now. */
export async function listens(
  at: { readonly path: string } | { readonly host: string; readonly port: number },
): Promise<boolean> {
  const socket = connect(at);
  const accepted = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return accepted;
}
