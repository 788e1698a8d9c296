/** A port of this machine whose connections go to a port of a task. */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import type { PortForwardRequest } from "@warren/api";
import type { ApiClient } from "@warren/api/client";
import { UnitError } from "./units.ts";
import { failureText } from "./warren-command.ts";

export interface Ports {
  /** 0: any that is free. */
  readonly local: number;
  readonly remote: number;
}

/** `8080:80`, `80`, `:80`. Pure. @throws UnitError */
export function parsePorts(words: readonly string[]): Ports[] {
  if (words.length === 0) throw new UnitError("name a port of the task, as 80 or 8080:80");
  return words.map((text) => {
    const [, local, remote = ""] = /^(?:(\d*):)?(\d+)$/.exec(text) ?? [];
    const ports = { local: Number(local ?? remote), remote: Number(remote) };
    const isRight = remote !== "" && ports.remote >= 1 && ports.remote <= 65_535 && ports.local <= 65_535;
    if (!isRight) throw new UnitError(`'${text}' is not [LOCAL:]PORT, such as 8080:80 or 80, with ports up to 65535`);
    return ports;
  });
}

export interface ForwardedPort {
  /** `127.0.0.1:8080 -> 80`. */
  readonly text: string;
  /** Ends its connections, too. */
  close(): void;
}

/** @param warn called with what a connection failed by; the port stays open */
export async function listenForTask(
  client: ApiClient,
  taskId: string,
  { local, remote }: Ports,
  address: string,
  warn: (text: string) => void,
): Promise<ForwardedPort> {
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    // What breaks here ends the connection there.
    socket.on("error", () => undefined);
    carry(client, taskId, remote, socket).catch((error: unknown) => {
      if (!socket.destroyed) warn(`a connection to port ${remote} failed: ${failureText(error, false)}`);
      socket.destroy();
    });
  });
  server.listen(local, address);
  await once(server, "listening");
  const { port, address: bound } = server.address() as AddressInfo;
  return {
    text: `${bound.includes(":") ? `[${bound}]` : bound}:${port} -> ${remote}`,
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** One connection, both ways, until both have ended. */
async function carry(client: ApiClient, ref: string, port: number, socket: Socket): Promise<void> {
  const over = new AbortController();
  socket.once("close", () => over.abort());
  const sent = requests(ref, port, socket);
  for await (const { message } of client.tasks.portForward(sent, { signal: over.signal }))
    if (message?.$case === "data" && !socket.write(message.value)) await once(socket, "drain", { signal: over.signal });
  socket.end();
}

/** What is read here, one piece when the one before is sent. A connection that breaks ends the whole. */
async function* requests(ref: string, port: number, socket: Socket): AsyncGenerator<PortForwardRequest, void, void> {
  yield { message: { $case: "open", value: { ref, port } } };
  for await (const value of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>)
    yield { message: { $case: "data", value } };
  yield { message: { $case: "dataEnd", value: true } };
}
