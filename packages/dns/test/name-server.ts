/** A name server in a process of its own, so that it can run in a network namespace: prints where it listens, and reads commands, a line each. */
import { createInterface } from "node:readline";
import { ServiceNames, startDnsServer, type DnsServerOptions, type NamedService } from "@warren/dns";

export interface Settings {
  readonly options: DnsServerOptions;
  readonly services: readonly NamedService[];
  /** Address → networks. */
  readonly clients: Readonly<Record<string, readonly string[]>>;
}

const { options, services, clients } = JSON.parse(process.argv[2] ?? "") as Settings;
const names = new ServiceNames({
  domain: options.domain ?? "warren",
  clientNetworks: (address) => clients[address] ?? [],
});
names.update(services);
await using server = await startDnsServer({ resolver: names }, options);
process.stdout.write(`${JSON.stringify(server.addresses)}\n`);
for await (const line of createInterface({ input: process.stdin })) {
  names.update(JSON.parse(line) as NamedService[]);
  process.stdout.write("updated\n");
}
