import { precondition, type PortForwardOpen } from "@warren/api";
import { RuntimeError, type Connection } from "@warren/runtime";
import { mustRun, type Relay, type RelayDependencies, type RelayReceived } from "./relay.ts";

/** One connection of a caller far away to a port of a task's container. `open.ref` is the task's id. */
export async function relayPortForward(
  dependencies: RelayDependencies,
  { ref, port }: PortForwardOpen,
  relay: Relay,
  signal: AbortSignal,
): Promise<void> {
  mustRun(dependencies, ref);
  // Ends the connection when all is sent, as the caller's end does.
  const over = new AbortController();
  const connection = await opened(dependencies, ref, port, AbortSignal.any([signal, over.signal]));
  try {
    await relay.send({ $case: "portForward", value: { message: { $case: "connected", value: true } } });
    takeInput(connection.writable.getWriter(), relay.received).catch(() => over.abort());
    for await (const chunk of connection.readable)
      await relay.send({ $case: "portForward", value: { message: { $case: "data", value: Buffer.from(chunk) } } });
  } finally {
    over.abort();
  }
}

async function opened(
  { runtime }: RelayDependencies,
  ref: string,
  port: number,
  signal: AbortSignal,
): Promise<Connection> {
  try {
    return await runtime.connect(ref, port, signal);
  } catch (error) {
    if (!RuntimeError.is(error, "RUNTIME_PORT_CLOSED")) throw error;
    const description = `nothing listens on port ${port} of the task`;
    throw precondition(
      [{ type: "PORT_CLOSED", subject: `task/${ref}`, description }],
      "name a port that its program listens on",
    );
  }
}

/** Until the caller sends no more, or has gone. */
async function takeInput(
  writer: WritableStreamDefaultWriter<Uint8Array>,
  received: AsyncIterable<RelayReceived>,
): Promise<void> {
  // The container may have closed its side: what comes after that is dropped.
  const late = (): undefined => undefined;
  writer.closed.catch(late);
  for await (const each of received) {
    const message = each.$case === "portForward" ? each.value.message : undefined;
    if (message?.$case === "data") await writer.write(message.value).catch(late);
    if (message?.$case === "dataEnd") break;
  }
  await writer.close().catch(late);
}
