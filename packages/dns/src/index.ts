/**
 * The name server of a node: names of services and tasks from a `Resolver`, forwarding and a cache for the rest.
 *
 * - `server.ts`         startDnsServer: listens, and owns all that follows
 * - `service-names.ts`  ServiceNames: the Resolver over a snapshot of services; pure
 * - `node-names.ts`    NodeNames: the node's own names, which its resolver has on loopback
 * - `types.ts`          Resolver, options, DnsServer
 * - `errors.ts`         DnsError
 * - `responder.ts`      bytes of a question → bytes of its reply
 * - `own-names.ts`      replies about the cluster's names
 * - `forwarder.ts`      questions upstream, coalesced, retried, remembered
 * - `answer-cache.ts`, `cached-answer.ts`  what is remembered, and replies from it
 * - `exchange.ts`       one question over UDP or TCP
 * - `resolv-conf.ts`    upstreams from a file, watched
 * - `udp-listener.ts`, `tcp-listener.ts`  the sockets
 * - `message.ts`, `reply.ts`  messages as bytes: reading, writing
 * - `options.ts`, `metrics.ts`
 * - `testing/`          as `@warren/dns/testing`
 */
export { startDnsServer } from "./server.ts";
export { ServiceNames, type NamedService, type NamedTask, type ServiceNamesOptions } from "./service-names.ts";
export { NodeNames, namesOfMachine, namesOfNode } from "./node-names.ts";
export { DnsError, type DnsFailure } from "./errors.ts";
export type {
  Client,
  DnsServer,
  DnsServerDependencies,
  DnsServerOptions,
  ListenAddress,
  Resolved,
  Resolver,
  Upstreams,
} from "./types.ts";
