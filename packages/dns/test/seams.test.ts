import { describe, test } from "vitest";
import { NodeNames, ServiceNames, type NamedService } from "@warren/dns";
import { resolverContract } from "@warren/dns/testing";
import { zoneResolver } from "./zone.ts";

const services: readonly NamedService[] = [
  {
    name: "Web",
    aliases: ["www"],
    networks: ["front"],
    vip: "10.96.0.10",
    tasks: [
      { slot: "1", address: "10.77.1.2", healthy: true },
      { slot: "2", address: "10.77.1.3", healthy: false },
    ],
  },
  { name: "api", networks: ["front"], tasks: [{ slot: "1", address: "10.77.1.4", healthy: true }] },
  { name: "db", networks: ["back"], vip: "10.96.0.11", tasks: [{ slot: "1", address: "10.77.1.5", healthy: true }] },
];
const client = { address: "10.77.1.2" };
const names = ["web", "www.warren", "tasks.web", "1.web", "2.web.warren", "api"];
const hidden = ["db", "tasks.db.warren", "1.db", "9.web"];

function serviceNames(): ServiceNames {
  const resolver = new ServiceNames({ clientNetworks: () => ["front"] });
  resolver.update(services);
  return resolver;
}

describe.each(resolverContract)("a resolver $title", ({ run }) => {
  test("of services", () => run({ resolver: serviceNames(), client, names, hidden }));

  test("of services and the node", () => {
    const resolver = new NodeNames(serviceNames(), new Set(["edge-1"]), () => ["192.0.2.1"]);
    return run({ resolver, client, names: [...names, "edge-1"], hidden });
  });

  test("of a zone, for tests of the server", () => {
    const resolver = zoneResolver({ web: ["10.77.1.2", "fd00::1"], hidden: "NXDOMAIN" }, { "10.77.1.2": "web" });
    return run({ resolver, client, names: ["web"], hidden: ["hidden"] });
  });
});
