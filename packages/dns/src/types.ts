import type { Clock, Logger, Metrics, Random } from "@warren/std";

/** The client that asks a question. */
export interface Client {
  readonly address: string;
}

/**
 * - `undefined`: not a name of the cluster; it is asked upstream.
 * - `"NXDOMAIN"`: a name of the cluster that does not exist for this client; it is not asked upstream.
 * - addresses, IPv4 and IPv6 in any order: a name of the cluster. None of the asked family, or none at all: NODATA.
 */
export type Resolved = readonly string[] | "NXDOMAIN" | undefined;

/** Looks up names of the cluster, synchronously, once for each question. */
export interface Resolver {
  /** `name` is in lower case and without its last dot. */
  resolve(name: string, client: Client): Resolved;
  /** The name of one of the cluster's addresses, without the last dot. */
  reverse?(address: string, client: Client): string | undefined;
}

export interface ListenAddress {
  /** An address of this machine; replies come from it, and from no other. */
  readonly address: string;
  /** 0 draws a free one, the same for UDP and TCP. @default 53 */
  readonly port?: number;
}

/** Where other names are asked: addresses such as `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`, or a resolv.conf. */
export type Upstreams = readonly string[] | { readonly resolvConf: string };

export interface DnsServerOptions {
  /** @default [{ address: "169.254.1.1" }] */
  readonly listen?: readonly ListenAddress[];
  /**
   * In the order of preference. A resolv.conf is read again whenever it changes; while it is missing, or has no server in
   * it, the last servers stay. This server's own addresses are skipped.
   *
   * @default { resolvConf: "/etc/resolv.conf" }
   */
  readonly upstreams?: Upstreams;
  /** Names under it are ours alone and never asked upstream. @default "warren" */
  readonly domain?: string;
  /** IPv4 subnets whose addresses are ours: their names are never asked upstream. @default the cluster's pools, 10.77.0.0/16 and 10.96.0.0/16 */
  readonly reverseSubnets?: readonly string[];
  /** How long a client may cache a name of the cluster, or its absence, seconds. @default 5: a VIP changes seldom, a task's address with every restart */
  readonly ttlSeconds?: number;
  /** Longest reply over UDP, bytes. @default 1232: passes unfragmented wherever IPv6 does */
  readonly maxUdpBytes?: number;
  readonly cache?: {
    /** Memory for answers from upstream, bytes; the least recently used go first. @default 4 MiB */
    readonly bytes?: number;
    /** No answer is fresh for longer, seconds. @default 86400 */
    readonly maxTtlSeconds?: number;
    /** The same for "there is none", seconds. @default 900 */
    readonly maxNegativeTtlSeconds?: number;
    /** How long after its end an answer still serves while no upstream answers, seconds (RFC 8767). @default 259200 (3 days) */
    readonly staleSeconds?: number;
  };
  readonly forward?: {
    /** After this long without an answer another upstream is asked as well, ms; late answers still count. @default 1000 */
    readonly retryMs?: number;
    /** The client gets SERVFAIL after this long, ms; below the 5 s after which most clients give up. @default 4500 */
    readonly timeoutMs?: number;
    /** Questions under way at once. @default 1024 */
    readonly pending?: number;
    /** The same for one client. @default 128 */
    readonly pendingPerClient?: number;
  };
  readonly tcp?: {
    /** Connections at once; a further one is closed. @default 256 */
    readonly connections?: number;
    /** The same for one client. @default 32 */
    readonly connectionsPerClient?: number;
    /** A connection that brings no whole question for this long is closed, ms. @default 10000 */
    readonly idleMs?: number;
    /** Questions of a connection under way at once; it is not read further until one is answered. @default 64 */
    readonly pipelined?: number;
  };
}

export interface DnsServerDependencies {
  readonly resolver: Resolver;
  /**
   * Where names that are not ours are asked for this client, in the form and order of `DnsServerOptions.upstreams`. It
   * changes nothing about which names are ours. Empty, or none that can be asked: those of the options.
   *
   * @default none
   */
  readonly upstreamsOf?: (client: Client) => readonly string[];
  /** @default the system's */
  readonly clock?: Clock;
  /** Ids of questions upstream, and the order of addresses. @default the system's */
  readonly random?: Random;
  readonly log?: Logger;
  readonly metrics?: Metrics;
}

/** A name server that runs. */
export interface DnsServer extends AsyncDisposable {
  /** Where it listens, with UDP and TCP. */
  readonly addresses: readonly { readonly address: string; readonly port: number }[];
  /** Abrupt: questions under way are not answered. Idempotent. */
  close(): Promise<void>;
}
