import { PortSpec_Mode, PortSpec_Protocol } from "@warren/api";
import type { NetworkSettings, NodeEndpoint, TaskAttachment, TaskNetwork } from "../seams.ts";
import type { ContractCase } from "@warren/std/testing";
import { check, equal, rejects } from "./contract.ts";

/** A node's network without any attachment, for one case. */
export interface NetworkUnderTest {
  readonly settings: NetworkSettings;
  /** The network for a worker that has just started; the case opens it. */
  readonly connect: () => Promise<TaskNetwork>;
  /** A container's network namespace, for one attachment. */
  readonly namespace: () => Promise<string>;
  /** Tasks that have an interface now, in the order of their ids. */
  readonly attached: () => Promise<readonly string[]>;
}

function endpoint(serviceId: string, vip: string, addresses: readonly string[]): NodeEndpoint {
  const backends = addresses.map((address, index) => ({
    key: `${serviceId}.${index + 1}/1-1`,
    slot: String(index + 1),
    nodeId: "node",
    address,
    weight: index === 0 ? 100 : 0,
    draining: index > 0,
  }));
  const ports = [{ target: 80, published: 30_080, protocol: PortSpec_Protocol.TCP, mode: PortSpec_Mode.INGRESS }];
  return { serviceId, name: serviceId, vip, ports, networks: [{ id: "net", aliases: ["alias"] }], backends };
}

/** What every `TaskNetwork` must do. `settings` are of a node with 10.77.1.0/24 and VIPs of 10.96.0.0/16. */
export const taskNetworkContract: readonly ContractCase<NetworkUnderTest>[] = [
  {
    title: "keeps expected attachments when it is opened again, and removes all others",
    async run({ settings, connect, namespace, attached }) {
      const first = await connect();
      equal(await first.open(settings, []), { adopted: [] });
      const tasks: TaskAttachment[] = [];
      for (const [id, last] of [
        ["a", 2],
        ["b", 3],
        ["c", 4],
      ] as const) {
        const task = {
          id,
          address: `10.77.1.${last}`,
          networks: ["net"],
          nameServers: [],
          netnsPath: await namespace(),
        };
        tasks.push(task);
        await first.attach(task);
      }
      equal(await attached(), ["a", "b", "c"]);
      const [a, b, c] = tasks;
      check(a !== undefined && b !== undefined && c !== undefined, "three are attached");
      if (a === undefined || b === undefined || c === undefined) return;
      const second = await connect();
      // An attachment that is expected with another address is not adopted.
      const { adopted } = await second.open(settings, [a, { ...b, address: "10.77.1.9" }]);
      equal([...adopted], ["a"]);
      equal(await attached(), ["a"]);
    },
  },
  {
    title: "attach of an attached task and detach of a detached one succeed",
    async run({ settings, connect, namespace, attached }) {
      const network = await connect();
      await network.open(settings, []);
      const task = { id: "a", address: "10.77.1.2", networks: ["net"], nameServers: [], netnsPath: await namespace() };
      await network.attach(task);
      await network.attach(task);
      equal(await attached(), ["a"]);
      await network.detach("a", task.address);
      await network.detach("a", task.address);
      equal(await attached(), []);
    },
  },
  {
    title: "an address belongs to one task at a time: the next run of a lease gets it after the last is detached",
    async run({ settings, connect, namespace, attached }) {
      const network = await connect();
      await network.open(settings, []);
      const of = async (id: string): Promise<TaskAttachment> => ({
        id,
        address: "10.77.1.2",
        networks: ["net"],
        nameServers: [],
        netnsPath: await namespace(),
      });
      await network.attach(await of("a"));
      const next = await of("b");
      await rejects(network.attach(next), "a second task with one address");
      equal(await attached(), ["a"]);
      await network.detach("a", "10.77.1.2");
      await network.attach(next);
      equal(await attached(), ["b"]);
    },
  },
  {
    title: "setEndpoints takes any set of services, and an empty one",
    async run({ settings, connect }) {
      const network = await connect();
      await network.open(settings, []);
      await network.setEndpoints([]);
      await network.setEndpoints([endpoint("web", "10.96.0.1", ["10.77.1.2", "10.77.2.2"])]);
      await network.setEndpoints([
        endpoint("web", "10.96.0.1", []),
        { ...endpoint("db", "", ["10.77.1.3"]), ports: [] },
      ]);
      await network.setEndpoints([]);
    },
  },
];
