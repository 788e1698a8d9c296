import { DnsConfig } from "@warren/api";
import { expect, test } from "vitest";
import { resolverOf, type Resolver } from "../src/resolver.ts";

const own = { nameServers: ["169.254.1.1"], domain: "warren" };
const of = (
  asked: Parameters<typeof DnsConfig.fromPartial>[0] | undefined,
  networks: readonly string[] = ["net"],
): Resolver => resolverOf(asked && DnsConfig.fromPartial(asked), networks, own);

test("a spec's servers are upstreams of the node's name server, and never replace it", () => {
  const asked = { servers: ["9.9.9.9", "2620:fe::fe"], options: ["ndots:2"] };
  expect(of(asked)).toEqual({
    dns: { servers: ["169.254.1.1"], search: [], options: ["ndots:2"] },
    upstreams: ["9.9.9.9", "2620:fe::fe"],
  });
});

test("the cluster's domain is searched before a spec's domains", () => {
  expect(of({ search: ["lan", "example.org"] }).dns.search).toEqual(["warren", "lan", "example.org"]);
  expect(of({ search: ["."] }).dns.search).toEqual(["."]);
  expect(of({ search: [".", "lan"] }).dns.search).toEqual(["warren", "lan"]);
  expect(of(undefined)).toEqual({ dns: { servers: ["169.254.1.1"], search: [], options: [] }, upstreams: [] });
});

test("a task on no network queries its spec's servers", () => {
  expect(of({ servers: ["9.9.9.9"], search: ["lan"], options: ["use-vc"] }, [])).toEqual({
    dns: { servers: ["9.9.9.9"], search: ["lan"], options: ["use-vc"] },
    upstreams: [],
  });
  expect(of({ servers: ["127.0.0.1"] }, []).dns.servers).toEqual(["127.0.0.1"]);
  expect(of(undefined, []).dns.servers).toEqual(["169.254.1.1"]);
});

test.each(["127.0.0.53", "127.0.0.1", "::1"])(
  "%s is refused: the node's name server can't reach the container's loopback",
  (server) => {
    expect(() => of({ servers: ["9.9.9.9", server] })).toThrow(/container\.dns\.servers: .* within the container/);
  },
);
