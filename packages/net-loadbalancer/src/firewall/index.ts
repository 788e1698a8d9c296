/**
 * Whole tables of rules, kept in place: what `@warren/net-loadbalancer` itself and `@warren/net-attachment` put their
 * rules through.
 *
 * - `firewall.ts`  startFirewall: applies tables, and puts them back
 * - `nft.ts`       nftables
 * - `iptables.ts`  iptables, where there is no nft
 * - `run.ts`       running their programs
 * - `types.ts`     Firewall, RuleTable, and the seams
 */
export { startFirewall, type FirewallDependencies, type FirewallOptions } from "./firewall.ts";
export { runProgram } from "./run.ts";
export type {
  Backend as FirewallBackend,
  Chain,
  Firewall,
  Hook,
  IptablesRules,
  RulesEvents,
  RuleTable,
  Run,
} from "./types.ts";
