import { relayContract, type RelayedNode } from "@warren/api/testing";
import { test } from "vitest";
import { FakeRelay } from "./fake-relay.ts";

test.each(relayContract)("a relay in memory $title", ({ run }) => {
  const relay = new FakeRelay();
  let nodes = 0;
  return run({
    relay,
    async connect({ logs, exec, stats, image }: Partial<RelayedNode>) {
      const nodeId = `node-${(nodes += 1)}`;
      if (logs !== undefined) relay.lines.set(nodeId, logs);
      if (exec !== undefined) relay.execs.set(nodeId, exec);
      if (stats !== undefined) relay.figures.set(nodeId, stats);
      if (image !== undefined) relay.images.set(nodeId, image);
      return { nodeId, disconnect: () => relay.disconnect(nodeId) };
    },
  });
});
