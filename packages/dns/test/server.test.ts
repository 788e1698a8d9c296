import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { startDnsServer, type DnsServerOptions } from "@warren/dns";
import { RecordingLogger, until } from "@warren/std/testing";
import { readEndpoint } from "../src/options.ts";
import { WatchedResolvConf, readNameservers } from "../src/resolv-conf.ts";
import { ask, data } from "./ask.ts";
import { zoneResolver } from "./zone.ts";

const resolver = zoneResolver({ web: ["10.96.0.10"] });
const listen = [{ address: "127.0.0.1", port: 0 }];
let resources: AsyncDisposableStack;
beforeEach(() => {
  resources = new AsyncDisposableStack();
});
afterEach(() => resources.disposeAsync());

describe("a server", () => {
  test("listens on each of its addresses and answers from the one that was asked", async () => {
    const addresses = ["127.0.0.2", "127.0.0.3", "::1"].map((address) => ({ address, port: 0 }));
    await using dns = await startDnsServer({ resolver }, { listen: addresses, upstreams: [] });
    expect(dns.addresses.map(({ address }) => address)).toEqual(["127.0.0.2", "127.0.0.3", "::1"]);
    for (const address of dns.addresses.slice(0, 2)) {
      expect(data(await ask({ addresses: [address] }, "web", "A"))).toEqual(["10.96.0.10"]);
    }
    for (const address of dns.addresses) {
      expect(data(await ask({ addresses: [address] }, "web", "A", { transport: "tcp" }))).toEqual(["10.96.0.10"]);
    }
  });

  test.each([
    ["EADDRINUSE", "127.0.0.1"],
    ["EADDRNOTAVAIL", "192.0.2.1"],
  ])("that cannot listen says %s, and listens nowhere", async (reason, address) => {
    await using other = await startDnsServer({ resolver }, { listen, upstreams: [] });
    const [{ port } = { port: 0 }] = other.addresses;
    await using free = await startDnsServer(
      { resolver },
      { listen: [{ address: "127.0.0.4", port: 0 }], upstreams: [] },
    );
    const [freed = { address: "", port: 0 }] = free.addresses;
    await free.close();
    const options = { listen: [freed, { address, port }], upstreams: [] };
    await expect(startDnsServer({ resolver }, options)).rejects.toMatchObject({
      failure: { code: "DNS_LISTEN_FAILED", address, port, reason },
    });
    await using again = await startDnsServer({ resolver }, { listen: [freed], upstreams: [] });
    expect(again.addresses).toEqual([freed]);
  });

  test("ends with its signal, once, and frees its address", async () => {
    const controller = new AbortController();
    const alone = [{ address: "127.0.0.5", port: 0 }];
    const dns = await startDnsServer({ resolver }, { listen: alone, upstreams: [] }, { signal: controller.signal });
    controller.abort();
    await dns.close();
    await using again = await startDnsServer({ resolver }, { listen: dns.addresses, upstreams: [] });
    expect(again.addresses).toEqual(dns.addresses);
    await expect(
      startDnsServer({ resolver }, { listen, upstreams: [] }, { signal: controller.signal }),
    ).rejects.toThrow();
  });

  test("is never its own upstream", async () => {
    const probe = await startDnsServer({ resolver }, { listen: [{ address: "127.0.0.6", port: 0 }], upstreams: [] });
    const [own = { address: "", port: 0 }] = probe.addresses;
    await probe.close();
    await using dns = await startDnsServer({ resolver }, { listen: [own], upstreams: [`${own.address}:${own.port}`] });
    expect((await ask(dns, "example.org", "A")).flags).toSatisfy((flags: number) => (flags & 0xf) === 2);
  });

  test.each<[string, DnsServerOptions]>([
    ["listen", { listen: [] }],
    ["listen[0].address", { listen: [{ address: "localhost" }] }],
    ["listen[1].port", { listen: [{ address: "::1" }, { address: "::1", port: 70_000 }] }],
    ["upstreams[1]", { upstreams: ["192.0.2.1", "one.one"] }],
    ["domain", { domain: "-x" }],
    ["reverseSubnets[0]", { reverseSubnets: ["10.0.0.0"] }],
    ["ttlSeconds", { ttlSeconds: -1 }],
    ["maxUdpBytes", { maxUdpBytes: 511 }],
    ["cache.bytes", { cache: { bytes: 0.5 } }],
    ["forward.retryMs", { forward: { retryMs: 0 } }],
    ["tcp.idleMs", { tcp: { idleMs: Number.NaN } }],
  ])("refuses a wrong %s by name", async (field, options) => {
    await expect(startDnsServer({ resolver }, options)).rejects.toMatchObject({
      failure: { code: "DNS_OPTIONS_INVALID", field },
    });
  });
});

describe("upstreams", () => {
  test.each([
    ["192.0.2.1", { address: "192.0.2.1", port: 53 }],
    ["192.0.2.1:5353", { address: "192.0.2.1", port: 5_353 }],
    ["2001:db8::1", { address: "2001:db8::1", port: 53 }],
    ["[2001:db8::1]", { address: "2001:db8::1", port: 53 }],
    ["[2001:db8::1]:54", { address: "2001:db8::1", port: 54 }],
    ["192.0.2.1:0", undefined],
    ["192.0.2.1:70000", undefined],
    ["name:53", undefined],
    ["", undefined],
  ])("%j", (text, endpoint) => {
    expect(readEndpoint(text)).toEqual(endpoint);
  });

  test("are read from a resolv.conf, whatever else is in it", () => {
    const text =
      "# a comment\nsearch lan\nnameserver 192.0.2.1\n  nameserver\t2001:db8::1  \nnameserver x\noptions ndots:1\nnameserver\n";
    expect(readNameservers(text).map(({ address }) => address)).toEqual(["192.0.2.1", "2001:db8::1"]);
  });
});

describe("a resolv.conf", () => {
  const first = "192.0.2.1";
  const second = "192.0.2.2";
  let folder: string;
  let log: RecordingLogger;
  /** The servers of the last call. */
  let servers: readonly string[];
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "warren-dns-"));
    resources.defer(() => rm(folder, { recursive: true }));
    log = new RecordingLogger();
    servers = [];
  });

  const open = async (path: string): Promise<void> => {
    const watched = await WatchedResolvConf.open(path, log, (named) => (servers = named.map(({ address }) => address)));
    resources.defer(() => watched.close());
  };
  const untilNamed = (address: string): Promise<unknown> =>
    until(`${address} is the first`, () => servers[0] === address);

  test("that is rewritten, replaced or reached by another link gives the new servers", async () => {
    const path = join(folder, "resolv.conf");
    await writeFile(join(folder, "a"), `nameserver ${first}\n`);
    await symlink("a", path);
    await open(path);
    expect(servers).toEqual([first]);
    await writeFile(join(folder, "a"), `nameserver ${second}\nnameserver ${first}\n`);
    await untilNamed(second);
    await writeFile(join(folder, "b"), `nameserver ${first}\n`);
    await rename(join(folder, "b"), join(folder, "a"));
    await untilNamed(first);
    await mkdir(join(folder, "elsewhere"));
    await writeFile(join(folder, "elsewhere", "c"), `nameserver ${second}\n`);
    await symlink("elsewhere/c", join(folder, "link"));
    await rename(join(folder, "link"), path);
    await untilNamed(second);
    await writeFile(join(folder, "elsewhere", "c"), `nameserver ${first}\n`);
    await untilNamed(first);
  });

  test("that is missing or has no server in it leaves the last ones, and is read when it is back", async () => {
    const path = join(folder, "resolv.conf");
    await open(path);
    expect(servers).toEqual([]);
    await writeFile(path, `nameserver ${first}\n`);
    await untilNamed(first);
    const lines = log.records.length;
    await rm(path);
    await until("the absence is noticed", () => log.records.length > lines);
    await writeFile(path, "# none\n");
    expect(servers).toEqual([first]);
    await writeFile(path, `nameserver ${second}\n`);
    await untilNamed(second);
  });
});

test("a server whose resolv.conf changes asks the servers in it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "warren-dns-"));
  resources.defer(() => rm(folder, { recursive: true }));
  const log = new RecordingLogger();
  const path = join(folder, "resolv.conf");
  const options = { listen, upstreams: { resolvConf: path } };
  const dns = resources.use(await startDnsServer({ resolver, log }, options));
  await writeFile(path, "nameserver 127.0.0.99\n");
  await until("it is read", () => log.records.some(({ event }) => event === "upstream name servers"));
  await ask(dns, "example.org", "A", { transport: "tcp" });
  expect(log.records.find(({ event }) => event === "an upstream name server fails")?.fields).toMatchObject({
    upstream: { address: "127.0.0.99", port: 53 },
  });
});
