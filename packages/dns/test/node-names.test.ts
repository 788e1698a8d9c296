import { expect, test } from "vitest";
import { NodeNames, namesOfNode, ServiceNames } from "@warren/dns";

const debian = `127.0.0.1\tlocalhost localhost.localdomain
127.0.1.1\tEdge-1.example.org edge-1 # by the installer
::1 localhost ip6-localhost ip6-loopback edge-six
192.0.2.7 nas
`;

test("a node's names are its hostname and what its hosts file has on loopback, localhost apart", () => {
  expect([...namesOfNode("edge-1", debian)].toSorted()).toEqual(["edge-1", "edge-1.example.org", "edge-six"]);
  expect([...namesOfNode("localhost", "")]).toEqual([]);
});

test("they lead to the node, as its addresses are then; a service of the same name goes first", () => {
  const services = new ServiceNames({ clientNetworks: () => ["net"] });
  let addresses = ["192.0.2.1"];
  const names = new NodeNames(services, namesOfNode("edge-1", debian), () => addresses);
  const client = { address: "10.77.1.2" };
  expect(names.resolve("edge-1", client)).toEqual(["192.0.2.1"]);
  addresses = ["192.0.2.8", "198.51.100.1"];
  expect(names.resolve("edge-1.example.org", client)).toEqual(addresses);
  expect(names.resolve("nas", client)).toBeUndefined();
  services.update([{ name: "edge-1", networks: ["net"], vip: "10.96.0.9", tasks: [] }]);
  expect(names.resolve("edge-1", client)).toEqual(["10.96.0.9"]);
  expect(names.reverse("10.96.0.9", client)).toBe("edge-1.warren");
});
