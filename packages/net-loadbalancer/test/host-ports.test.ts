import { createSocket } from "node:dgram";
import { createServer, type AddressInfo } from "node:net";
import { FakeFirewall } from "@warren/firewall/testing";
import { LoadBalancer, type BalancedService, type PortUse } from "@warren/net-loadbalancer";
import { RecordingLogger } from "@warren/std/testing";
import { expect, test } from "vitest";
import { parseSockets, readHostPorts } from "../src/host-ports.ts";

const port = (published: number) => ({ protocol: "tcp", published, target: 80, mode: "ingress" }) as const;
const web = (...published: number[]): BalancedService => ({
  id: "web",
  backends: [{ address: "10.77.1.2" }],
  ports: published.map(port),
});

function balancer(inUse: PortUse[]) {
  const firewall = new FakeFirewall();
  const log = new RecordingLogger();
  const flows = { deleteFlows: async () => 0 };
  const it = new LoadBalancer({ firewall, flows, log, hostPorts: async () => inUse }, { nodeSubnet: "10.77.1.0/24" });
  return { it, log, rules: () => firewall.texts.get("lb") ?? "" };
}

test("a port that a program of the node listens on is not published, and is logged once", async () => {
  const { it, log, rules } = balancer([{ protocol: "tcp", port: 22, address: "0.0.0.0" }]);
  await it.set([web(22, 8_080)]);
  await it.set([web(22, 8_080, 8_081)]);
  expect(rules()).not.toContain("tcp . 22 ");
  expect(rules()).toContain("tcp . 8080 ");
  const withheld = { serviceId: "web", protocol: "tcp", published: 22, reason: "in use" };
  expect(it.withheld).toEqual([withheld]);
  expect(log.records.filter(({ level }) => level === "warn")).toHaveLength(1);
});

test("a port that is free again is published by the next set", async () => {
  const inUse: PortUse[] = [{ protocol: "tcp", port: 8_080 }];
  const { it, rules } = balancer(inUse);
  await it.set([web(8_080)]);
  inUse.length = 0;
  await it.set([web(8_080)]);
  expect(rules()).toContain("tcp . 8080 ");
  expect(it.withheld).toEqual([]);
});

test("a published port stays published when a program listens on it later", async () => {
  const inUse: PortUse[] = [];
  const { it, rules } = balancer(inUse);
  await it.set([web(8_080)]);
  inUse.push({ protocol: "tcp", port: 8_080 });
  await it.set([web(8_080, 8_081)]);
  expect(rules()).toContain("tcp . 8080 ");
});

test("Warren's own ports are reserved, and listeners on the gateway's address alone are no conflict", async () => {
  const { it, rules } = balancer([{ protocol: "tcp", port: 53, address: "169.254.1.1" }]);
  await it.set([web(2_377, 2_378, 53)]);
  expect(it.withheld.map(({ published, reason }) => [published, reason])).toEqual([
    [2_377, "reserved"],
    [2_378, "reserved"],
  ]);
  expect(rules()).toContain("tcp . 53 ");
});

test("listeners of this machine are found, on TCP and UDP, and connections are not listeners", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const tcp = (server.address() as AddressInfo).port;
  const socket = createSocket("udp4");
  // Below the ports that the kernel picks for clients; the first that is free.
  let udp = 20_000;
  for (let bound = false; !bound; udp += bound ? 0 : 1)
    bound = await new Promise<boolean>((resolve) => {
      const probe = createSocket("udp4");
      probe.once("error", () => resolve(false));
      probe.bind(udp, "127.0.0.1", () => probe.close(() => resolve(true)));
    });
  await new Promise<void>((resolve) => socket.bind(udp, "127.0.0.1", resolve));
  const found = await readHostPorts();
  expect(found).toContainEqual({ protocol: "tcp", port: tcp, address: "127.0.0.1" });
  expect(found).toContainEqual({ protocol: "udp", port: udp, address: "127.0.0.1" });
  server.close();
  socket.close();
});

test("sockets are read from the kernel's tables: states, all addresses, IPv6", () => {
  const head = "  sl  local_address rem_address   st";
  const tcp = `${head}
   0: 00000000:0016 00000000:0000 0A 0
   1: 0100007F:2382 00000000:0000 0A 0
   2: 0100007F:2383 0100007F:1111 01 0
   3: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 0
   4: B80D0120000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0
`;
  expect(parseSockets(tcp, "tcp")).toEqual([
    { protocol: "tcp", port: 22, address: "0.0.0.0" },
    { protocol: "tcp", port: 9_090, address: "127.0.0.1" },
    { protocol: "tcp", port: 80, address: "0.0.0.0" },
    { protocol: "tcp", port: 81 },
  ]);
  const udp = `${head}\n   0: 00000000:0035 00000000:0000 07 0\n   1: 00000000:9C40 00000000:0000 07 0\n`;
  expect(parseSockets(udp, "udp")).toEqual([{ protocol: "udp", port: 53, address: "0.0.0.0" }]);
});
