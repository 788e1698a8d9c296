import { relayContract, type RelayedNode } from "@warren/api/testing";
import { test } from "vitest";
import { FakeRelay, storedThings } from "./fake-relay.ts";

test.each(relayContract)("a relay in memory $title", ({ run }) => {
  const relay = new FakeRelay();
  let nodes = 0;
  return run({
    relay,
    async connect({ logs, exec, portForward, stats, image, login, ...stored }: Partial<RelayedNode>) {
      const nodeId = `node-${(nodes += 1)}`;
      if (logs !== undefined) relay.lines.set(nodeId, logs);
      if (exec !== undefined) relay.execs.set(nodeId, exec);
      if (stats !== undefined) relay.figures.set(nodeId, stats);
      if (image !== undefined) relay.resolutions.set(nodeId, image);
      if (login !== undefined) relay.logins.set(nodeId, login);
      if (portForward !== undefined) relay.connections.set(nodeId, portForward);
      relay.stores.set(nodeId, { ...storedThings(nodeId, {}), ...stored });
      return { nodeId, disconnect: () => relay.disconnect(nodeId) };
    },
  });
});
