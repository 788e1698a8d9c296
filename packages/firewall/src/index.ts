/**
 * The one owner of Warren's firewall rules: whole tables, applied in one transaction and kept in place.
 *
 * - `firewall.ts`   startFirewall: applies tables, restores those that others changed, removes another backend's
 * - `nft.ts`        the nftables applier
 * - `nft-change.ts` the transaction that turns one table into another; pure
 * - `iptables.ts`   the iptables applier, for machines without nft
 * - `foreign.ts`    foreignFirewall: which program owns the machine's other rules
 * - `run.ts`        running nft and iptables
 * - `types.ts`      Firewall, RuleTable, and the seams
 * - `errors.ts`     FirewallError
 * - `testing/`      FakeFirewall and the contract of a Firewall, as `@warren/firewall/testing`
 */
export { startFirewall, type FirewallDependencies, type FirewallOptions } from "./firewall.ts";
export { FirewallError, type FirewallFailure } from "./errors.ts";
export { nftTable } from "./nft-change.ts";
export { foreignFirewall, type ForeignFirewall } from "./foreign.ts";
export { runProgram, withoutNft } from "./run.ts";
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
