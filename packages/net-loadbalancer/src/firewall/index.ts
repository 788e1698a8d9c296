/**
 * Whole tables of rules, kept in place: what `@warren/net-loadbalancer` itself and `@warren/net-attachment` put their
 * rules through.
 *
 * - `firewall.ts`  startFirewall: applies tables, and puts them back
 * - `nft.ts`       nftables
 * - `nft-change.ts` the transaction that leads from one table to another; pure
 * - `iptables.ts`  iptables, where there is no nft
 * - `run.ts`       running their programs
 * - `types.ts`     Firewall, RuleTable, and the seams
 */
export { startFirewall, type FirewallDependencies, type FirewallOptions } from "./firewall.ts";
export { nftTable } from "./nft-change.ts";
export { runProgram } from "./run.ts";
export type {
  Backend as FirewallBackend,
  Chain,
  Firewall,
  Hook,
  IptablesRules,
  NftObject,
  RulesEvents,
  RuleTable,
  Run,
} from "./types.ts";
