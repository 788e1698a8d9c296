/** The name server for `dns.ts`, with the names that are asked for: `node dns-server.ts PORT [UPSTREAM]`. */
import { ServiceNames, startDnsServer, type NamedService } from "../../packages/dns/src/index.ts";
import { noMetrics } from "../../packages/std/src/index.ts";

const [port, upstream] = process.argv.slice(2);
const names = new ServiceNames({ clientNetworks: () => ["bench"] });
const services = Array.from({ length: 1_000 }, (_, n): NamedService => {
  const tasks = [1, 2, 3].map((slot) => ({
    slot: String(slot),
    address: `10.77.${n >> 6}.${(n & 63) * 4 + slot}`,
    healthy: true,
  }));
  return { name: `s${n}`, networks: ["bench"], vip: `10.96.${n >> 8}.${n & 255}`, tasks };
});
names.update(services);
const server = await startDnsServer(
  { resolver: names, metrics: noMetrics },
  {
    listen: [{ address: "127.0.0.1", port: Number(port) }],
    upstreams: upstream === undefined ? [] : [upstream],
  },
);
process.stdout.write("listening\n");
process.on("SIGTERM", () => void server.close());
