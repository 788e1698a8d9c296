import type { NodeBackend, NodeEndpoint } from "@warren/agent";
import { PortSpec_Mode, PortSpec_Protocol } from "@warren/api";
import { expect, test } from "vitest";
import { balancedService, namedService } from "../src/task-network.ts";

const backend = (slot: string, more: Partial<NodeBackend> = {}): NodeBackend => ({
  key: `web.${slot}/1-1`,
  slot,
  nodeId: "node",
  address: "10.77.1.2",
  weight: 100,
  draining: false,
  ...more,
});
const endpoint: NodeEndpoint = {
  serviceId: "web",
  name: "web",
  vip: "10.96.0.1",
  ports: [
    { target: 80, published: 8080, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.HOST },
    { target: 53, published: 53, protocol: PortSpec_Protocol.UDP, mode: PortSpec_Mode.INGRESS },
  ],
  networks: [{ id: "net", aliases: ["www"] }],
  backends: [
    backend("3", { weight: 30 }),
    backend("1", { draining: true, weight: 0, address: "10.77.1.3" }),
    backend("node-x", { address: "10.77.2.4" }),
  ],
};

test("the balancer gets weights, and nothing new for what is draining", () => {
  expect(balancedService(endpoint)).toEqual({
    id: "web",
    vip: "10.96.0.1",
    backends: [
      { address: "10.77.1.2", weight: 30 },
      { address: "10.77.1.3", weight: 0 },
      { address: "10.77.2.4", weight: 100 },
    ],
    ports: [
      { protocol: "tcp", published: 8080, target: 80, mode: "host" },
      { protocol: "udp", published: 53, target: 53, mode: "ingress" },
    ],
  });
});

test("the name server gets a service's tasks, its aliases and its networks", () => {
  expect(namedService(endpoint)).toEqual({
    name: "web",
    vip: "10.96.0.1",
    aliases: ["www"],
    networks: ["net"],
    tasks: endpoint.backends.map(({ slot, address, draining }) => ({ slot, address, draining, healthy: true })),
  });
  expect(namedService({ ...endpoint, vip: "" })).not.toHaveProperty("vip");
});
