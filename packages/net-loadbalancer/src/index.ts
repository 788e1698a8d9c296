/**
 * Load balancing of VIPs and published ports on a node, with weights and draining, as rules in its kernel.
 *
 * - `balancer.ts`  LoadBalancer: takes services, applies their table, ends stale flows
 * - `table.ts`     services → rules, for nft and for iptables; pure
 * - `flows.ts`     which UDP flows a change leaves stale; pure
 * - `host-ports.ts`, `port-conflicts.ts`  ports that the node needs itself, which are not published
 * - `options.ts`   checks of options and services
 * - `types.ts`     BalancedService and its parts
 * - `errors.ts`    LoadBalancerError
 */
export { LoadBalancer, type LoadBalancerDependencies } from "./balancer.ts";
export { LoadBalancerError, type LoadBalancerFailure } from "./errors.ts";
export type {
  BalancedService,
  Flows,
  LoadBalancerOptions,
  PortUse,
  PublishedPort,
  ServiceBackend,
  WithheldPort,
} from "./types.ts";
