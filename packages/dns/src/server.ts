import { silentLogger, systemClock, systemRandom, type Logger } from "@warren/std";
import { DnsError } from "./errors.ts";
import { Forwarder } from "./forwarder.ts";
import { DnsMetrics } from "./metrics.ts";
import { readEndpoint, resolveOptions, type Endpoint, type ResolvedOptions } from "./options.ts";
import { OwnNames } from "./own-names.ts";
import { WatchedResolvConf } from "./resolv-conf.ts";
import { Responder } from "./responder.ts";
import { TcpListener } from "./tcp-listener.ts";
import type { DnsServer, DnsServerDependencies, DnsServerOptions } from "./types.ts";
import { UdpListener } from "./udp-listener.ts";

/** How often another random port is tried where the one of UDP is taken for TCP. */
const portDraws = 8;

/**
 * Listens on every address, with UDP and TCP, and answers from when it resolves.
 *
 * @throws DnsError `DNS_OPTIONS_INVALID`, `DNS_LISTEN_FAILED`; then nothing listens
 */
export async function startDnsServer(
  dependencies: DnsServerDependencies,
  options: DnsServerOptions = {},
  { signal }: { readonly signal?: AbortSignal } = {},
): Promise<DnsServer> {
  signal?.throwIfAborted();
  const resolved = resolveOptions(options);
  const { clock = systemClock, random = systemRandom } = dependencies;
  const log = (dependencies.log ?? silentLogger).child({ component: "dns" });
  const metrics = new DnsMetrics(clock, dependencies.metrics);
  const forwarder = new Forwarder({ clock, random, log, metrics }, resolved);
  const names = new OwnNames(dependencies.resolver, random, resolved);
  const responder = new Responder(names, forwarder, metrics, log, resolved.maxUdpBytes);
  await using started = new AsyncDisposableStack();
  started.defer(() => {
    forwarder.close();
    metrics.close();
  });
  const addresses: Endpoint[] = [];
  for (const endpoint of resolved.listen) {
    const [udp, tcp] = await listen(endpoint, async (at) => {
      const udpListener = await UdpListener.open(at, responder, metrics, log);
      try {
        return [
          udpListener,
          await TcpListener.open(udpListener.endpoint, responder, clock, metrics, log, resolved.tcp),
        ];
      } catch (error) {
        await udpListener.close();
        throw error;
      }
    });
    started.defer(() => udp.close());
    started.defer(() => tcp.close());
    addresses.push(udp.endpoint);
  }
  const watched = await openUpstreams(resolved, addresses, forwarder, log);
  started.defer(async () => watched?.close());
  log.info("listening", { addresses });
  const owned = started.move();
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    signal?.removeEventListener("abort", onAbort);
    closing ??= owned.disposeAsync();
    return closing;
  };
  const onAbort = (): void => void close();
  signal?.addEventListener("abort", onAbort, { once: true });
  if (signal?.aborted === true) await close();
  signal?.throwIfAborted();
  return { addresses, close, [Symbol.asyncDispose]: close };
}

async function listen(
  endpoint: Endpoint,
  open: (endpoint: Endpoint) => Promise<[UdpListener, TcpListener]>,
): Promise<[UdpListener, TcpListener]> {
  for (let draw = 1; ; draw += 1) {
    try {
      return await open(endpoint);
    } catch (cause) {
      const reason = (cause as NodeJS.ErrnoException).code ?? "unknown";
      if (reason === "EADDRINUSE" && endpoint.port === 0 && draw < portDraws) continue;
      const hint = reason === "EADDRNOTAVAIL" ? "; no interface of this machine has the address" : "";
      throw new DnsError(
        { code: "DNS_LISTEN_FAILED", address: endpoint.address, port: endpoint.port, reason },
        `cannot listen on ${endpoint.address} port ${endpoint.port}: ${reason}${hint}`,
        { cause },
      );
    }
  }
}

async function openUpstreams(
  { upstreams }: ResolvedOptions,
  own: readonly Endpoint[],
  forwarder: Forwarder,
  log: Logger,
): Promise<WatchedResolvConf | undefined> {
  const set = (servers: readonly Endpoint[]): void =>
    forwarder.setUpstreams(
      servers.filter(({ address, port }) => !own.some((each) => each.address === address && each.port === port)),
    );
  if ("resolvConf" in upstreams) return WatchedResolvConf.open(upstreams.resolvConf, log, set);
  set(upstreams.flatMap((text) => readEndpoint(text) ?? []));
  return undefined;
}
