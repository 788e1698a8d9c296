import { isIP } from "node:net";
import { parseHostPort, parseIpv4Subnet } from "@warren/std";
import { DnsError } from "./errors.ts";
import type { DnsServerOptions, ListenAddress, Upstreams } from "./types.ts";

type Complete<T> = { readonly [K in keyof T]-?: T[K] };

export interface ResolvedOptions {
  readonly listen: readonly Complete<ListenAddress>[];
  readonly upstreams: Upstreams;
  readonly domain: string;
  readonly reverseSubnets: readonly string[];
  readonly ttlSeconds: number;
  readonly maxUdpBytes: number;
  readonly cache: Complete<NonNullable<DnsServerOptions["cache"]>>;
  readonly forward: Complete<NonNullable<DnsServerOptions["forward"]>>;
  readonly tcp: Complete<NonNullable<DnsServerOptions["tcp"]>>;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

const dnsPort = 53;

function refuse(field: string, why: string): never {
  throw new DnsError({ code: "DNS_OPTIONS_INVALID", field }, `${field}: ${why}`);
}

function checkWhole(field: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    refuse(field, `want a whole number from ${least} to ${most}, not ${value}`);
}

/** `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:53`; undefined for anything else. */
export function readEndpoint(text: string): Endpoint | undefined {
  if (isIP(text) !== 0) return { address: text, port: dnsPort };
  const { host: address, port } = parseHostPort(text, dnsPort) ?? {};
  return address === undefined || port === undefined || isIP(address) === 0 || port < 1 ? undefined : { address, port };
}

const domainPattern = /^(?:[a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?)*$/;
const most = 2 ** 31 - 1;

/** @throws DnsError `DNS_OPTIONS_INVALID`, with the first field that is wrong */
export function resolveOptions(options: DnsServerOptions): ResolvedOptions {
  const resolved: ResolvedOptions = {
    listen: (options.listen ?? [{ address: "169.254.1.1" }]).map((each) => ({ port: dnsPort, ...each })),
    upstreams: options.upstreams ?? { resolvConf: "/etc/resolv.conf" },
    domain: (options.domain ?? "warren").toLowerCase(),
    reverseSubnets: options.reverseSubnets ?? ["10.77.0.0/16", "10.96.0.0/16"],
    ttlSeconds: options.ttlSeconds ?? 5,
    maxUdpBytes: options.maxUdpBytes ?? 1_232,
    cache: {
      bytes: 4 * 2 ** 20,
      maxTtlSeconds: 86_400,
      maxNegativeTtlSeconds: 900,
      staleSeconds: 259_200,
      ...options.cache,
    },
    forward: { retryMs: 1_000, timeoutMs: 4_500, pending: 1_024, pendingPerClient: 128, ...options.forward },
    tcp: { connections: 256, connectionsPerClient: 32, idleMs: 10_000, pipelined: 64, ...options.tcp },
  };
  check(resolved);
  return Object.freeze(resolved);
}

function check(options: ResolvedOptions): void {
  if (options.listen.length === 0) refuse("listen", "want at least one address");
  for (const [i, { address, port }] of options.listen.entries()) {
    if (isIP(address) === 0) refuse(`listen[${i}].address`, `want an IP address, not '${address}'`);
    checkWhole(`listen[${i}].port`, port, 0, 65_535);
  }
  if (!("resolvConf" in options.upstreams)) {
    for (const [i, upstream] of options.upstreams.entries()) {
      if (readEndpoint(upstream) === undefined)
        refuse(`upstreams[${i}]`, `want an address such as 192.0.2.1 or [2001:db8::1]:53, not '${upstream}'`);
    }
  }
  if (options.domain.length > 200 || !domainPattern.test(options.domain))
    refuse("domain", `want a domain name such as 'warren', not '${options.domain}'`);
  for (const [i, subnet] of options.reverseSubnets.entries()) {
    if (parseIpv4Subnet(subnet) === undefined)
      refuse(`reverseSubnets[${i}]`, `want an IPv4 subnet such as 10.77.0.0/16, not '${subnet}'`);
  }
  checkWhole("ttlSeconds", options.ttlSeconds, 0, 86_400);
  checkWhole("maxUdpBytes", options.maxUdpBytes, 512, 65_000);
  for (const [group, values] of Object.entries({ cache: options.cache, forward: options.forward, tcp: options.tcp })) {
    for (const [field, value] of Object.entries(values))
      checkWhole(`${group}.${field}`, value, group === "cache" ? 0 : 1, most);
  }
}
