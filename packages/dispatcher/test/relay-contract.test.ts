/** The contract of `Relay`, on a dispatcher and a node's end of its streams. */
import { apiFailureOf, type ExecRequest, type PortForwardRequest, type RelayRequest, type RelayUp } from "@warren/api";
import { relayContract, type RelayedNode } from "@warren/api/testing";
import { Channel } from "@warren/std";
import { test } from "vitest";

import { context, description, harness, nodeId, type Harness } from "./harness.ts";

type Up = NonNullable<RelayUp["message"]>;

/** What the node sends for a request, until it has sent all. */
async function* answers(
  node: Partial<RelayedNode>,
  { what }: RelayRequest,
  input: { readonly exec: AsyncIterable<ExecRequest>; readonly port: AsyncIterable<PortForwardRequest> },
  signal: AbortSignal,
): AsyncGenerator<Up, void, void> {
  if (what?.$case === "logs" && node.logs !== undefined)
    for await (const value of node.logs(what.value, signal)) yield { $case: "logs", value };
  else if (what?.$case === "exec" && node.exec !== undefined)
    for await (const value of node.exec(what.value, input.exec, signal)) yield { $case: "exec", value };
  else if (what?.$case === "stats" && node.stats !== undefined)
    yield { $case: "stats", value: await node.stats(what.value, signal) };
  else if (what?.$case === "image" && node.image !== undefined)
    yield { $case: "image", value: await node.image(what.value, signal) };
  else if (what?.$case === "portForward" && node.portForward !== undefined)
    for await (const value of node.portForward(what.value, input.port, signal)) yield { $case: "portForward", value };
  else if (what?.$case === "registryLogin" && node.login !== undefined)
    yield { $case: "loginAccepted", value: await node.login(what.value, signal) };
  else if (what?.$case === "volumes" && node.volumes !== undefined)
    yield { $case: "volumes", value: { volumes: [...(await node.volumes(signal))], unreachableNodes: [] } };
  else if (what?.$case === "deleteVolume" && node.deleteVolume !== undefined)
    await node.deleteVolume(what.value.name, signal);
  else if (what?.$case === "images" && node.images !== undefined)
    yield { $case: "images", value: { images: [...(await node.images(signal))], unreachableNodes: [] } };
  else if (what?.$case === "pruneImages" && node.pruneImages !== undefined)
    yield { $case: "images", value: { images: [...(await node.pruneImages(signal))], unreachableNodes: [] } };
}

/** A node's stream for one request. */
async function serve(
  { dispatcher }: Harness,
  node: Partial<RelayedNode>,
  request: RelayRequest,
  { id, sessionId }: { readonly id: string; readonly sessionId: string },
): Promise<void> {
  const over = new AbortController();
  const input = { exec: new Channel<ExecRequest>(), port: new Channel<PortForwardRequest>() };
  async function* up(): AsyncGenerator<RelayUp, void, void> {
    yield { message: { $case: "open", value: { nodeId: id, sessionId, relayId: request.relayId } } };
    try {
      for await (const message of answers(node, request, input, over.signal)) yield { message };
      yield { message: { $case: "done", value: true } };
    } catch (error) {
      yield { message: { $case: "failure", value: apiFailureOf(error) } };
    }
  }
  try {
    for await (const { message } of dispatcher.handlers.relay(up(), context(over.signal, id))) {
      if (message?.$case === "end") return;
      if (message?.$case === "exec") await input.exec.send(message.value);
      if (message?.$case === "portForward") await input.port.send(message.value);
    }
  } finally {
    over.abort();
    input.exec.close();
    input.port.close();
  }
}

test.each(relayContract)("the dispatcher's relay $title", async ({ run }) => {
  await using h = await harness();
  let nodes = 0;
  const failures: unknown[] = [];
  await run({
    relay: h.dispatcher.relay,
    async connect(node) {
      const id = nodeId((nodes += 1));
      const end = new AbortController();
      const request = { nodeId: id, description: description(id), lastApplied: undefined };
      const messages = h.dispatcher.handlers.session(request, context(end.signal, id))[Symbol.asyncIterator]();
      const first = await messages.next();
      const sessionId = first.done === true ? "" : first.value.sessionId;
      const session = async (): Promise<void> => {
        for (let next = await messages.next(); next.done !== true; next = await messages.next())
          if (next.value.relay !== undefined)
            serve(h, node, next.value.relay, { id, sessionId }).catch((error: unknown) => failures.push(error));
      };
      session().catch((error: unknown) => end.signal.aborted || failures.push(error));
      return { nodeId: id, disconnect: () => end.abort(new Error("the worker ends")) };
    },
  });
  if (failures.length > 0) throw new AggregateError(failures, "a node's stream failed");
});
